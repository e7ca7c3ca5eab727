"""Whether a data set's detectors and prediction cache still fit its captures and settings.

Knows nothing of torch: a page asks this at every view.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from core.cache.fingerprint import changes, code_version, read_fingerprint
from core.captures.dataset import Dataset
from core.config import DetectorConfig, FusionDataConfig
from core.errors import CacheError
from core.files import content_hash
from core.workspace import Workspace

Status = Literal["missing", "fresh", "stale", "corrupt"]

NOT_IN_SCORES = ("device",)
"""Settings that do not change what the scores are."""


def detector_status(
    dataset: Dataset, config: DetectorConfig, workspace: Workspace
) -> tuple[Status, list[str]]:
    """State of a data set's detectors, and what has changed where they are stale."""
    path = workspace.detectors(dataset.name, config.protocol) / "detectors.json"
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8"))["fingerprint"])
    except FileNotFoundError:
        return "missing", []
    except (OSError, ValueError, KeyError, TypeError) as error:
        return "corrupt", [f"{path}: {error}"]
    reasons = changes(detector_fingerprint(dataset, config), found)
    return ("stale", reasons) if reasons else ("fresh", [])


def cache_status(
    dataset: Dataset, config: FusionDataConfig, workspace: Workspace
) -> tuple[Status, list[str]]:
    """State of a data set's prediction cache, and what has changed where it is stale."""
    path = workspace.prediction_cache(dataset.name, config.detector.protocol)
    if not path.exists():
        return "missing", []
    try:
        found = read_fingerprint(path)
    except CacheError as error:
        return "corrupt", [str(error)]
    reasons = changes(cache_fingerprint(dataset, config, workspace), found)
    return ("stale", reasons) if reasons else ("fresh", [])


def detector_fingerprint(dataset: Dataset, config: DetectorConfig) -> dict[str, Any]:
    """What a data set's detectors are made from: training captures, settings, code."""
    return {
        "captures": {c.key: c.content for c in dataset.train},
        "settings": _flat(asdict(config)),
        "code of features and detectors": code_version(),
    }


def cache_fingerprint(
    dataset: Dataset, config: FusionDataConfig, workspace: Workspace
) -> dict[str, Any]:
    """What a data set's prediction cache is made from: all captures, settings, weights, code."""
    folder = workspace.detectors(dataset.name, config.detector.protocol)
    weights = {
        path.relative_to(folder).as_posix(): content_hash(path)
        for path in sorted(folder.glob("*/*.safetensors"))
    }
    given = {"autoencoder": config.autoencoder, "classifier": config.classifier}
    for name, file in given.items():
        if file:
            weights[f"given {name}"] = _hash_of_given(Path(file))
    if all(given.values()) and not config.detector.extra_names:
        weights = {name: value for name, value in weights.items() if name.startswith("given")}
    return {
        "captures": {c.key: c.content for c in dataset.captures},
        "settings": _flat(asdict(config.detector)),
        "weights": weights,
        "code of features and detectors": code_version(),
    }


def _hash_of_given(path: Path) -> str:
    return content_hash(path) if path.is_file() else "missing"


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name, without those that do not change the scores."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if name in NOT_IN_SCORES:
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
