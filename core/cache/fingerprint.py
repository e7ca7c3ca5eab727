"""What a prediction cache was made from, and which part of that has changed since.

Knows nothing of torch: a page asks this at every view.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

import core
from core.errors import CacheError

METADATA_KEY = b"canfusion"
CODE = (
    "captures/arrow_io.py",
    "captures/formats",
    "captures/frame_table.py",
    "captures/readers.py",
    "captures/rehearsal.py",
    "captures/rows.py",
    "captures/text.py",
    "graphs",
    "detectors",
    "cache/builder.py",
)
"""Parts of ``core`` whose source decides what the scores are."""
NOT_IN_SCORES = ("explanation.py",)
"""Files of these that decide no score."""


@cache
def code_version() -> str:
    """SHA-256 over the source of everything that stands between a capture and its scores."""
    root = Path(core.__file__).parent
    digest = hashlib.sha256()
    for part in CODE:
        for path in sorted([root / part] if part.endswith(".py") else (root / part).glob("*.py")):
            if path.name in NOT_IN_SCORES:
                continue
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def changes(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs between two fingerprints, in words; empty where nothing does.

    A fingerprint maps names to values or to nested mappings (``captures``: file -> content hash).
    """
    reasons = []
    for name in sorted(expected.keys() | found.keys()):
        new, old = expected.get(name), found.get(name)
        if new == old:
            continue
        if isinstance(new, Mapping) and isinstance(old, Mapping):
            reasons += [f"{name}: {text}" for text in _entries(new, old)]
        else:
            reasons.append(f"{name} changed")
    return reasons


def read_fingerprint(path: Path) -> dict[str, Any]:
    """Fingerprint kept in a prediction cache; reads the file's schema only.

    Raises:
        CacheError: if the file is missing, truncated, or no prediction cache.
    """
    try:
        with pa.memory_map(str(path)) as source:
            metadata = pa.ipc.open_file(source).schema.metadata or {}
        return dict(json.loads(metadata[METADATA_KEY])["fingerprint"])
    except FileNotFoundError as error:
        raise CacheError(f"{path}: no prediction cache there") from error
    except (OSError, pa.ArrowException, KeyError, ValueError, TypeError) as error:
        raise CacheError(f"{path}: not a prediction cache, or damaged ({error})") from error


def _entries(new: Mapping[str, Any], old: Mapping[str, Any]) -> Iterable[str]:
    for name in sorted(new.keys() | old.keys()):
        if name not in old:
            yield f"{name} added"
        elif name not in new:
            yield f"{name} removed"
        elif new[name] != old[name]:
            detail = ""
            if isinstance(new[name], int | float) and isinstance(old[name], int | float):
                detail = f" from {old[name]} to {new[name]}"
            yield f"{name} changed{detail}"
