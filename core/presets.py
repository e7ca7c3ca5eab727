"""Named configurations, Hydra-style overrides and sweeps.

The only module that imports hydra-zen: it reads the dataclasses of :mod:`core.config`, which know
nothing of it.
"""

import functools
import importlib.util
import itertools
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from hydra_zen import ZenStore, instantiate, just, launch
from omegaconf import DictConfig

from core.config import FusionConfig, create_fusion_config, override
from core.errors import ConfigError

DATASETS = ("demo", "hcrl_ch", "hcrl_sa", "set_01", "set_02", "set_03", "set_04")
"""Data sets with a preset of their own."""

GROUP = "preset"

LAUNCHERS = {
    "joblib": ("joblib", "hydra_joblib_launcher", "n_jobs"),
    "slurm": ("submitit_slurm", "hydra_submitit_launcher", "array_parallelism"),
    "submitit-local": ("submitit_local", "hydra_submitit_launcher", ""),
    # Hydra's own plugin for Ray (1.2.2) asks for a cloudpickle that joblib 1.6 refuses, so jobs go
    # to Ray by joblib's back end for it.
    "ray": ("joblib", "hydra_joblib_launcher", "n_jobs"),
}
"""Where the jobs of a sweep run -> Hydra's name for it, its plugin, and how many at a time.

``submitit-local`` starts the jobs as Slurm would, but on this machine: to rehearse."""
LAUNCHER_OPTION = "hydra.launcher."
"""Overrides that begin so are for the launcher (``hydra.launcher.partition=gpu``)."""

T = TypeVar("T")


@functools.cache
def _store() -> ZenStore:
    store = ZenStore("canfusion")
    for dataset in DATASETS:
        # "all": tuples stay tuples on the way through OmegaConf, which knows only its own lists.
        config = just(create_fusion_config(dataset), hydra_convert="all")
        store(config, group=GROUP, name=f"fusion_{dataset}")
    return store


def list_presets() -> list[str]:
    """Names that :func:`preset` knows, sorted."""
    return sorted(str(name) for _, name in _store()[GROUP])


def preset(name: str) -> FusionConfig:
    """The configuration of that name.

    Raises:
        ConfigError: if there is none; the valid names are listed.
    """
    names = list_presets()
    if name not in names:
        raise ConfigError(f"no preset {name!r}; there are {', '.join(names)}")
    config: FusionConfig = instantiate(_store()[GROUP, name])
    return config


def apply_overrides(config: FusionConfig, overrides: Sequence[str]) -> FusionConfig:
    """A copy of ``config`` changed by Hydra-style overrides (``agent.fusion_lr=0.002``).

    Raises:
        ConfigError: on what Hydra's grammar does not read, several values for one setting, an
            unknown name, a wrong type or a value out of range.
    """
    changes = {}
    for item in _parse(overrides):
        if item.is_sweep_override():
            raise ConfigError(
                f"{item.input_line!r} gives several values for one setting; "
                "a list is written [1,2], a sweep needs --multirun"
            )
        changes[item.key_or_group] = _plain(item.value())
    return override(config, changes)


def expand_sweep(config: FusionConfig, overrides: Sequence[str]) -> list[FusionConfig]:
    """Every combination of the values that the overrides give (``agent.gamma=0,0.5``), checked.

    In the order of :func:`run_sweep`'s jobs: the last override changes fastest.

    Raises:
        ConfigError: as :func:`apply_overrides`, for any of the combinations.
    """
    parsed = _parse(launcher_options(overrides)[0])
    names = [item.key_or_group for item in parsed]
    values = [
        [_plain(v) for v in item.sweep_iterator()]
        if item.is_sweep_override()
        else [_plain(item.value())]
        for item in parsed
    ]
    return [
        override(config, dict(zip(names, combination, strict=True)))
        for combination in itertools.product(*values)
    ]


def swept(overrides: Sequence[str]) -> list[str]:
    """Names of the settings that get several values.

    Raises:
        ConfigError: on what Hydra's grammar does not read.
    """
    parsed = _parse(launcher_options(overrides)[0])
    return [str(item.key_or_group) for item in parsed if item.is_sweep_override()]


def launcher_options(overrides: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides of settings, and those that the launcher gets."""
    options = [item for item in overrides if item.startswith(LAUNCHER_OPTION)]
    return [item for item in overrides if item not in options], options


def check_launcher(launcher: str) -> None:
    """Refuse a launcher whose plugin is not installed, or whose cluster is not there.

    Raises:
        ConfigError: saying how to install it, or which launchers there are.
    """
    if launcher not in LAUNCHERS:
        raise ConfigError(f"no launcher {launcher!r}; there are {', '.join(LAUNCHERS)}")
    _, plugin, _ = LAUNCHERS[launcher]
    if importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
        raise ConfigError(
            f"launcher {launcher}: {plugin.replace('_', '-')} is not installed; expected "
            f".venv/bin/python -m pip install -e '.[{launcher.partition('-')[0]}]' before"
        )
    if launcher == "ray" and importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "launcher ray: ray is not installed; expected "
            ".venv/bin/python -m pip install -e '.[ray]' before"
        )
    if launcher == "ray":
        _join_ray()  # A cluster that is not there is told before the work, which would be in vain.
    if launcher == "slurm" and shutil.which("srun") is None:
        raise ConfigError(
            "launcher slurm: this machine has no srun; expected to be on a node of a Slurm "
            "cluster (submitit-local rehearses the same here)"
        )


def run_sweep(
    config: FusionConfig,
    overrides: Sequence[str],
    task: Callable[[FusionConfig, int], T],
    folder: Path,
    parallel: int = 1,
    launcher: str = "joblib",
) -> list[T]:
    """Call ``task(configuration, job number)`` for every combination, through Hydra's multirun.

    Args:
        overrides: those that begin with ``hydra.launcher.`` are options of the launcher.
        task: importable from its module; it runs in a process of its own where ``parallel`` > 1.
        folder: each job's Hydra records go to its subfolder ``0``, ``1``, ...
        parallel: jobs at the same time.
        launcher: one of :data:`LAUNCHERS`.

    Returns:
        What the tasks returned, in the order of :func:`expand_sweep`.

    Raises:
        ConfigError: as :func:`expand_sweep`; on a launcher or an option of it that is not there.
    """
    expand_sweep(config, overrides)
    check_launcher(launcher)
    name, _, how_many = LAUNCHERS[launcher]
    settings, options = launcher_options(overrides)
    if how_many:
        options.insert(0, f"{LAUNCHER_OPTION}{how_many}={parallel}")
    if launcher == "ray":
        options.insert(0, f"{LAUNCHER_OPTION}backend=ray")
    try:
        batches = launch(
            just(config, hydra_convert="all"),
            functools.partial(_hydra_task, task),
            overrides=[
                *settings,
                f"hydra/launcher={name}",
                # Hydra would report on standard output, where the results go.
                "hydra/hydra_logging=none",
                "hydra/job_logging=none",
                *options,
                f"hydra.sweep.dir={_quoted(str(folder))}",
            ],
            multirun=True,
            version_base="1.3",
            job_name="fusion",
            with_log_configuration=False,
        )
    except HydraException as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"launcher {launcher}: {reason}") from error
    return [job.return_value for batch in batches for job in batch]


def _join_ray() -> None:
    """Let joblib run jobs on the Ray cluster that ``RAY_ADDRESS`` names, or that runs here.

    Raises:
        ConfigError: if there is none.
    """
    import ray
    from ray.util.joblib import register_ray

    address = os.environ.get("RAY_ADDRESS") or "auto"
    try:
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"launcher ray: no cluster at {address} ({error}); expected one started with "
            "`ray start --head`, or RAY_ADDRESS to name one"
        ) from error
    register_ray()


def _hydra_task(task: Callable[[FusionConfig, int], T], config: DictConfig) -> T:
    return task(instantiate(config), int(HydraConfig.get().job.num))


def _parse(overrides: Sequence[str]) -> list[Override]:
    parser = OverridesParser.create()
    parsed = []
    for text in overrides:
        try:
            item = parser.parse_override(text)
        except HydraException as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"expected SETTING=VALUE, got {text!r} ({reason})") from error
        if item.is_add() or item.is_force_add() or item.is_delete() or not item.key_or_group:
            raise ConfigError(
                f"expected SETTING=VALUE, got {text!r}; settings are neither added nor removed"
            )
        parsed.append(item)
    return parsed


def _plain(value: Any) -> Any:
    """Hydra's values without its own types."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
