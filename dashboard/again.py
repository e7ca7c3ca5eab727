"""Runs started anew: with the settings of an earlier one, or on from where it was cut off."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.config import FusionConfig, override
from core.errors import ConfigError, InputError
from core.jobs.registry import JobRegistry
from core.jobs.run import FAILED, INTERRUPTED, STOPPED, Run
from core.jobs.tasks import start, start_catalogue, start_import

STARTABLE = ("demo", "fusion", "detectors", "cache")
ENDED_EARLY = (INTERRUPTED, STOPPED, FAILED)


def settings_of_run(run: Run, run_dir: Path) -> FusionConfig | None:
    """The settings that a run was started with; None where they are not known.

    Raises:
        InputError: if they are of another version of the program.
    """
    given: Any = run.params.get("config")
    if given is None:
        try:
            given = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
    if not isinstance(given, Mapping):
        return None
    try:
        return override(FusionConfig(), given)
    except ConfigError as error:
        raise InputError(f"the settings of {run.id} are of another version: {error}") from error


def can_go_on(run: Run) -> bool:
    """Whether a run ended before it was done, and could be started again."""
    return run.state in ENDED_EARLY and (
        run.kind in STARTABLE or run.kind in ("catalogue", "import")
    )


def last_checkpoint(run: Run, jobs: JobRegistry) -> Path | None:
    """The fusion checkpoint that a run left, unless another run on its data set may have."""
    started = run.started
    if run.step != "fusion" or started is None or not run.dataset:
        return None
    path = jobs.workspace.checkpoints(run.dataset) / "last.ckpt"
    if not path.is_file() or path.stat().st_mtime < started:
        return None
    later = [
        other
        for other in jobs.runs()
        if other.dataset == run.dataset and other.id != run.id and (other.started or 0) > started
    ]
    return None if later else path


def go_on(run: Run, jobs: JobRegistry) -> str:
    """Start a run that ended early again; returns the id of the new one.

    What it had finished (graphs, detectors, the prediction cache) is found again; fusion goes on
    from its last checkpoint.

    Raises:
        InputError: if its settings are not known.
    """
    if run.kind == "catalogue":
        return start_catalogue(jobs, run.dataset)
    if run.kind == "import":
        source = Path(str(run.params.get("source", "")))
        return start_import(jobs, source, run.dataset, bool(run.params.get("drop_duplicates")))
    config = settings_of_run(run, jobs.workspace.runs / run.id)
    if config is None or run.kind not in STARTABLE:
        raise InputError(f"the settings of {run.id} were not kept: start a new run below")
    checkpoint = last_checkpoint(run, jobs)
    if checkpoint is not None:
        config = override(config, {"training.resume_from": str(checkpoint)})
    return start(jobs, run.kind, config)


def differences(config: FusionConfig, base: FusionConfig) -> list[tuple[str, Any, Any]]:
    """Settings (dotted name, in ``base``, in ``config``) that are not the same."""
    new, old = dict(flat_settings(config.to_dict())), dict(flat_settings(base.to_dict()))
    return [(name, old[name], value) for name, value in new.items() if old[name] != value]


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings as dotted names and values."""
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found += flat_settings(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
