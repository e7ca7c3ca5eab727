"""What the dashboard can start: thin functions over :mod:`core.pipeline`, one per kind of run.

torch and what stands on it are imported inside the functions, in the job's thread: the dashboard
starts, and shows runs, without them.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.config import FusionConfig
from core.errors import ConfigError
from core.jobs.registry import JobRegistry
from core.progress import Reporter
from core.workspace import Workspace

KINDS = {
    "demo": "Demo, end to end",
    "detectors": "Detector training",
    "cache": "Prediction cache",
    "fusion": "Fusion training",
    "import": "Import of a data set",
    "catalogue": "Catalogue of a data set",
}
"""Kind of run -> what a person reads."""

_DETECTORS = {"graphs": 6.0, "vgae": 74.0, "gat": 105.0}
_CACHE = {**_DETECTORS, "cache": 4.0}
_FUSION = {**_CACHE, "fusion": 3.0, "compare": 1.0}
PLANS: dict[str, dict[str, float]] = {
    "detectors": _DETECTORS,
    "cache": _CACHE,
    "fusion": _FUSION,
    "demo": {"demo data": 2.0, "catalogue": 2.0, **_FUSION},
    "import": {"import": 1.0, "catalogue": 2.0},
    "catalogue": {"catalogue": 1.0},
}
"""Kind -> step -> expected share of the time, until a run of that kind has been measured."""


def start(jobs: JobRegistry, kind: str, config: FusionConfig) -> str:
    """Start a run of ``kind``, or find the unfinished one that does the same; returns its id.

    Raises:
        ConfigError: if there is no such kind.
        StorageError: if the run's folder cannot be written.
    """
    functions = {"demo": demo, "fusion": fusion, "detectors": detectors, "cache": cache}
    if kind not in functions:
        raise ConfigError(f"no kind of run is called {kind!r}; there are {', '.join(functions)}")
    work = functions[kind]
    workspace = jobs.workspace

    def job(reporter: Reporter, run_dir: Path) -> None:
        _cap_threads()
        work(config, workspace, reporter, run_dir)

    params = {
        "dataset": config.data.dataset,
        "protocol": config.data.detector.protocol,
        "config": _plain(config.to_dict()),
    }
    return jobs.submit(
        kind,
        KINDS[kind],
        params,
        job,
        device=queue_of(config.training.device),
        plan=PLANS[kind],
        join=True,
    )


def start_import(jobs: JobRegistry, source: Path, name: str, drop_duplicates: bool = False) -> str:
    """Copy a folder on this machine into the workspace as data set ``name``, and catalogue it.

    Args:
        drop_duplicates: leave out test captures with the same content as a training capture.

    Returns:
        The run's id.

    Raises:
        StorageError: if the run's folder cannot be written.
    """
    workspace = jobs.workspace

    def job(reporter: Reporter, run_dir: Path) -> None:
        from core.captures.catalogue import build_catalogue
        from core.captures.dataset_import import import_dataset

        dataset = import_dataset(source, name, workspace, reporter, drop_duplicates=drop_duplicates)
        build_catalogue(dataset.name, workspace, reporter, _readers())

    params = {"dataset": name, "source": str(source), "drop_duplicates": drop_duplicates}
    # Copying does not compute: it need not wait for a training run.
    return jobs.submit(
        "import", KINDS["import"], params, job, device="disk", plan=PLANS["import"], join=True
    )


def start_catalogue(jobs: JobRegistry, name: str) -> str:
    """Look at the captures of a data set that are new or have changed; returns the run's id.

    Raises:
        StorageError: if the run's folder cannot be written.
    """
    workspace = jobs.workspace

    def job(reporter: Reporter, run_dir: Path) -> None:
        from core.captures.catalogue import build_catalogue

        build_catalogue(name, workspace, reporter, _readers())

    return jobs.submit(
        "catalogue",
        KINDS["catalogue"],
        {"dataset": name},
        job,
        device="disk",
        plan=PLANS["catalogue"],
        join=True,
    )


def fusion(config: FusionConfig, workspace: Workspace, reporter: Reporter, run_dir: Path) -> None:
    """The whole way: data set, detectors and cache where they are missing, agent, comparison."""
    from core.pipeline import train_fusion

    train_fusion(config, workspace, run_dir, reporter)


def demo(config: FusionConfig, workspace: Workspace, reporter: Reporter, run_dir: Path) -> None:
    """The same, and the captures are looked at first, as those of an import are."""
    from core.captures.catalogue import build_catalogue

    build_catalogue(config.data.dataset, workspace, reporter)
    fusion(config, workspace, reporter, run_dir)


def detectors(
    config: FusionConfig, workspace: Workspace, reporter: Reporter, run_dir: Path
) -> None:
    """Train both detectors on a data set, anew."""
    from core.pipeline import train_detectors

    train_detectors(config.data, workspace, reporter)


def cache(config: FusionConfig, workspace: Workspace, reporter: Reporter, run_dir: Path) -> None:
    """Build a data set's prediction cache; detectors are trained where they are missing."""
    from core.pipeline import build_cache

    build_cache(config.data, workspace, reporter)


def queue_of(device: str) -> str:
    """Name of the queue for a configured device; asks the system, as torch is slow to load."""
    if device == "auto":
        return "cuda" if Path("/dev/nvidia0").exists() else "cpu"
    return device


def _readers() -> int:
    """Processes that read captures: each may need the memory of a large one."""
    import joblib

    return min(joblib.cpu_count(), 8)


def _cap_threads() -> None:
    """Leave a core to the pages; small tensors are no faster with more threads anyway."""
    import torch

    torch.set_num_threads(max(1, min(4, (os.cpu_count() or 2) - 1)))


def _plain(value: Any) -> Any:
    """What JSON would give back, so that parameters compare equal after a restart."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
