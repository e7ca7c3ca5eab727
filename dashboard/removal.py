"""Removing a data set, and what was made from it."""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from core.captures.catalogue import forget
from core.captures.dataset import remove_dataset
from core.config import PROTOCOLS
from core.errors import DatasetError, InputError
from core.jobs.registry import JobRegistry
from dashboard.datasets import not_in_use
from dashboard.formatting import size


@dataclass(frozen=True)
class Made:
    """Something on disk that was made from a data set."""

    what: str
    paths: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """Size on disk of all of it."""
        return sum(bytes_of(path) for path in self.paths)

    def __str__(self) -> str:
        return f"{self.what} ({size(self.bytes)})"


def made_from(dataset: str, jobs: JobRegistry) -> list[Made]:
    """What lies in the workspace that was made from a data set and loses its origin with it."""
    workspace = jobs.workspace
    candidates = [
        *(
            Made(f"prediction cache, {protocol}", (workspace.prediction_cache(dataset, protocol),))
            for protocol in PROTOCOLS
        ),
        *(
            Made(f"detectors, {protocol}", (workspace.detectors(dataset, protocol),))
            for protocol in PROTOCOLS
        ),
        Made("fusion agent and policy", (workspace.agent(dataset), workspace.policy(dataset))),
        Made("checkpoints of the fusion agent", (workspace.checkpoints(dataset),)),
        Made("training logs", (workspace.logs / f"fusion_{dataset}",)),
    ]
    return [made for made in candidates if any(path.exists() for path in made.paths)]


def runs_with(dataset: str, jobs: JobRegistry) -> int:
    """How many finished runs worked on a data set; their results stay readable without it."""
    return sum(run.dataset == dataset and not run.active for run in jobs.runs())


def remove(dataset: str, jobs: JobRegistry, *, and_what_was_made: bool) -> None:
    """Remove a data set and, if asked, the caches, detectors and agents made from it.

    Raises:
        InputError: if a run is using it, or the system refuses.
    """
    not_in_use(dataset, jobs)
    made = made_from(dataset, jobs) if and_what_was_made else []
    with contextlib.suppress(DatasetError):  # What cannot be listed can still be removed.
        forget(dataset, jobs.workspace)
    remove_dataset(dataset, jobs.workspace)
    for path in (path for part in made for path in part.paths):
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"cannot delete {path}: {error.strerror or error}") from error


def bytes_of(path: Path) -> int:
    """Size of a file, or of all files below a folder."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return path.stat().st_size if path.is_file() else 0
