"""What lies in the workspace for a data set: captures, detectors, prediction caches.

Only names, sizes and times of files are read here, so that a page is quick; nothing is hashed.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core.captures import demo
from core.captures.dataset import capture_files, list_datasets
from core.config import PROTOCOLS
from core.errors import DatasetError, InputError
from core.jobs.registry import JobRegistry
from core.workspace import Workspace, valid_name
from dashboard.formatting import DASH, ago, size

DEMO = demo.NAME


@dataclass(frozen=True)
class CacheFile:
    """A prediction cache on disk."""

    protocol: str
    path: Path
    bytes: int
    changed: float
    """Unix seconds; 0 when it is missing."""

    @property
    def exists(self) -> bool:
        return self.changed > 0


def names_of_datasets(workspace: Workspace) -> list[str]:
    """Data sets in the workspace by name; the demo is always offered, and comes first."""
    return [DEMO, *(name for name in list_datasets(workspace) if name != DEMO)]


def is_simulated(workspace: Workspace, name: str) -> bool:
    """Whether a data set comes from the simulator."""
    return name == DEMO or (workspace.datasets / name / demo.MARKER).is_file()


def is_present(workspace: Workspace, name: str) -> bool:
    """Whether a data set's captures are on disk (the demo's are made on first use)."""
    return bool(captures(workspace, name))


def captures(workspace: Workspace, name: str) -> dict[str, list[Path]]:
    """Split folder -> its capture files; empty when the data set is not on disk, or unreadable."""
    splits: dict[str, list[Path]] = {}
    root = workspace.datasets / valid_name(name)
    with contextlib.suppress(DatasetError):  # The catalogue of this data set says why.
        for split, file in capture_files(root) if root.is_dir() else []:
            if file.is_file():
                splits.setdefault(split, []).append(file)
    return splits


def overview(workspace: Workspace) -> pd.DataFrame:
    """One row per data set, for a table."""
    rows = []
    for name in names_of_datasets(workspace):
        splits = captures(workspace, name)
        files = [file for group in splits.values() for file in group]
        built = [cache.protocol for cache in caches(workspace, name) if cache.exists]
        rows.append(
            {
                "Data set": name,
                "Origin": "simulated" if is_simulated(workspace, name) else "recorded",
                "Training captures": _number_in(splits, "train_"),
                "Test captures": _number_in(splits, "test_"),
                "Size": size(sum(f.stat().st_size for f in files)) if files else "on first use",
                "Prediction cache": ", ".join(built) or "none",
            }
        )
    return pd.DataFrame(rows)


def _number_in(splits: dict[str, list[Path]], kind: str) -> str:
    files = [len(group) for name, group in splits.items() if name.startswith(kind)]
    return f"{sum(files)} in {len(files)} split{'s' if len(files) != 1 else ''}" if files else DASH


def caches(workspace: Workspace, name: str) -> list[CacheFile]:
    """The prediction cache of each protocol, there or not."""
    found = []
    for protocol in PROTOCOLS:
        path = workspace.prediction_cache(name, protocol)
        try:
            stat = path.stat()
            found.append(CacheFile(protocol, path, stat.st_size, stat.st_mtime))
        except OSError:
            found.append(CacheFile(protocol, path, 0, 0.0))
    return found


def describe(cache: CacheFile) -> str:
    """Size and age of a cache, in words."""
    return f"{size(cache.bytes)}, built {ago(cache.changed)}" if cache.exists else "not built yet"


def delete_cache(cache: CacheFile, dataset: str, jobs: JobRegistry) -> None:
    """Remove a prediction cache; detectors and data stay.

    Raises:
        InputError: if a run is using it, or the system refuses.
    """
    not_in_use(dataset, jobs)
    try:
        cache.path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot delete {cache.path}: {error.strerror or error}") from error


def not_in_use(dataset: str, jobs: JobRegistry) -> None:
    """Make sure that no run works on a data set.

    Raises:
        InputError: if one does.
    """
    for run in jobs.runs():
        if run.active and run.dataset == dataset:
            raise InputError(f"{run.title} on {dataset} is {run.state}: stop it first")


def detectors_trained(workspace: Workspace, name: str) -> float | None:
    """When detectors were last trained on a data set (Unix seconds), None if never."""
    times = [
        file.stat().st_mtime
        for protocol in PROTOCOLS
        for file in workspace.detectors(name, protocol).glob("detectors.json")
        if file.is_file()
    ]
    return max(times, default=None)


def import_roots() -> list[Path]:
    """Folders below which captures may be imported from; empty: wherever the server may read."""
    named = os.environ.get("CANFUSION_IMPORT_ROOTS", "").split(os.pathsep)
    return [Path(root).expanduser().resolve() for root in named if root.strip()]


def source_folder(text: str) -> Path:
    """A folder typed by the user, if it can be imported.

    Raises:
        DatasetError: if it is no absolute path of a folder with split folders, or lies outside the
            folders that ``CANFUSION_IMPORT_ROOTS`` names.
    """
    path = Path(text.strip()).expanduser()
    if not text.strip() or "\0" in text or not path.is_absolute():
        raise DatasetError(f"expected the absolute path of a folder, got {text!r}")
    roots = import_roots()
    # Links are followed first: one below a root must not lead out of it.
    if roots and not any(path.resolve().is_relative_to(root) for root in roots):
        raise DatasetError(
            f"{path} may not be imported: this server allows folders below "
            f"{', '.join(map(str, roots))}"
        )
    if not path.is_dir():
        raise DatasetError(f"there is no folder {path} on this machine")
    if not any(f.is_dir() and f.name.startswith("train_") for f in path.iterdir()):
        raise DatasetError(
            f"{path} holds no training split: expected folders named train_01_attack_free, "
            "train_02_with_attacks, test_..."
        )
    return path
