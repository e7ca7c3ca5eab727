"""One run on disk: its folder, its manifest, and whether a living process owns it."""

import fcntl
import json
import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from core.errors import StorageError
from core.files import write_json

QUEUED, RUNNING, PAUSED, STOPPING = "queued", "running", "paused", "stopping"
DONE, FAILED, INTERRUPTED, STOPPED = "done", "failed", "interrupted", "stopped"
ACTIVE = (QUEUED, RUNNING, PAUSED, STOPPING)
"""States of a run that some process works on, or will."""


@dataclass(frozen=True)
class Run:
    """A snapshot of one run; ``manifest.json`` in its folder holds the same."""

    id: str
    kind: str
    title: str
    params: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    state: str = QUEUED
    created: float = 0.0
    """Unix seconds, like ``started`` and ``finished``."""
    started: float | None = None
    finished: float | None = None
    error: str = ""
    """One line: why it failed."""
    step: str = ""
    fraction: float = 0.0
    """Share of the whole run that is done, 0 to 1."""
    message: str = ""
    remaining_s: float | None = None
    """Estimated seconds to go; None while unknown."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Step -> seconds spent in it."""

    @property
    def active(self) -> bool:
        """Whether some process works on it, or will."""
        return self.state in ACTIVE

    @property
    def dataset(self) -> str:
        """Name of the data set it works on, or an empty string."""
        return str(self.params.get("dataset", ""))


def new_folder(runs: Path) -> Path:
    """Create an empty run folder with an id that sorts by time and exists only once.

    Raises:
        StorageError: if the operating system refuses (no space, no permission).
    """
    while True:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        folder = runs / f"{stamp}-{secrets.token_hex(2)}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise StorageError(f"cannot create {folder}: {error.strerror or error}") from error
        return folder


def save_manifest(folder: Path, run: Run) -> None:
    """Write ``manifest.json``, atomically; a folder that was deleted is not made anew.

    Raises:
        StorageError: if it cannot be written.
    """
    if not folder.is_dir():
        raise StorageError(f"cannot write the manifest: {folder} is gone")
    write_json(folder / "manifest.json", asdict(run))


def load_manifest(folder: Path) -> Run:
    """The run of a folder; one whose manifest cannot be read is shown as failed."""
    try:
        values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        known = {f.name for f in fields(Run)}
        run = Run(**{name: value for name, value in values.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return Run(
            id=folder.name,
            kind="unknown",
            title="Unreadable run",
            state=FAILED,
            error=f"its manifest.json cannot be read: {error}",
        )
    # The folder's name is the id: a copied folder must not pass for the original.
    return replace(run, id=folder.name)


def lock(folder: Path) -> int | None:
    """Claim a run for this process; returns the held descriptor, None if another one holds it.

    The operating system lets go of the claim when the process ends, however it ends, so that a
    manifest that says "running" without a claim is known to be left over.
    """
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
