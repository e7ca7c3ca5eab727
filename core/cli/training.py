"""What the two training scripts share: options, runs, sweeps and the closing lines."""

import argparse
import functools
import json
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from core.captures.dataset import list_datasets
from core.cli.foreground import LabelledReporter, run_in_foreground
from core.config import DEVICES, PROTOCOLS, FusionConfig, override
from core.errors import CheckpointError, ConfigError, DatasetError, InputError
from core.progress import Reporter, StreamReporter
from core.workspace import Workspace

TITLES = {"fusion": "Fusion training", "detectors": "Detector training"}
"""Kind of run -> what the dashboard calls it."""


@dataclass(frozen=True)
class SweepWorkspace(Workspace):
    """A workspace whose agent, policy, checkpoints and logs go to a folder of their own.

    Jobs of a sweep share data sets, detectors and prediction caches, but not what they train.
    """

    outputs: Path

    @property
    def logs(self) -> Path:
        return self.outputs / "logs"

    def checkpoints(self, dataset: str) -> Path:
        return Workspace(self.outputs).checkpoints(dataset)

    def agent(self, dataset: str) -> Path:
        return Workspace(self.outputs).agent(dataset)

    def policy(self, dataset: str) -> Path:
        return Workspace(self.outputs).policy(dataset)


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that both scripts take; ``overrides`` may stand anywhere among the options."""
    parser.add_argument("--protocol", choices=PROTOCOLS, help="what is known of a test vehicle")
    parser.add_argument("--device", choices=DEVICES, help="where to compute")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random")
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="SETTING=VALUE",
        help="any setting in Hydra's notation, such as agent.fusion_lr=0.002",
    )


def common_changes(parsed: argparse.Namespace) -> dict[str, Any]:
    """The settings that the options of :func:`add_common_arguments` mean."""
    return {
        "data.detector.protocol": parsed.protocol,
        "data.detector.device": parsed.device,
        "training.device": parsed.device,
        "data.detector.seed": parsed.seed,
        "training.seed": parsed.seed,
    }


def changed(config: FusionConfig, changes: Mapping[str, Any]) -> FusionConfig:
    """``config`` with those changes that are not None.

    Raises:
        ConfigError: on a value out of range.
    """
    return override(config, {name: value for name, value in changes.items() if value is not None})


def require_inputs(config: FusionConfig, workspace: Workspace) -> None:
    """Refuse what is not there before a run is started that would notice only after minutes.

    Raises:
        DatasetError: if the data set is neither in the workspace nor a folder; says how to get it.
        CheckpointError: if a checkpoint to use or to go on from is missing.
    """
    name, names = config.data.dataset, list_datasets(workspace)
    if name not in names and not Path(name).is_dir():
        raise DatasetError(
            f"no data set {name!r}: {workspace.datasets} has {', '.join(names)}; "
            f"`python -m core datasets {shlex.quote(name)} --import FOLDER` copies one from the "
            "folder that holds its folders (train_01_attack_free, train_02_with_attacks, test_*) "
            f"to {workspace.datasets / name}, and the path of that folder does for a name"
        )
    for path in (config.data.autoencoder, config.data.classifier, config.training.resume_from):
        if path and not Path(path).is_file():
            raise CheckpointError(f"no checkpoint at {path}")


def train(
    config: FusionConfig,
    kind: str = "fusion",
    workspace: Workspace | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Train the fusion agent (or the detectors) as a run that the dashboard lists too.

    Args:
        workspace: where outputs go; the run itself is always listed in its root.

    Returns:
        The run's folder.

    Raises:
        InputError: on whatever the user can mend.
    """
    workspace = workspace or Workspace.default()

    def job(reporter: Reporter, run_dir: Path) -> None:
        # Here and not above: the pipeline loads torch, and ``--help`` need not wait for that.
        from core import pipeline

        if kind == "detectors":
            pipeline.train_detectors(config.data, workspace, reporter)
        else:
            pipeline.train_fusion(config, workspace, run_dir, reporter)

    params = {
        "dataset": config.data.dataset,
        "protocol": config.data.detector.protocol,
        "config": json.loads(json.dumps(config.to_dict())),
    }
    return run_in_foreground(
        Workspace(workspace.root), kind, TITLES[kind], params, job, reporter=reporter
    )


def train_and_tell(config: FusionConfig, kind: str = "fusion") -> None:
    """Train, then say on standard output what came of it and where it lies."""
    workspace = Workspace.default()
    require_inputs(config, workspace)
    run_dir = train(config, kind, workspace)
    if kind == "fusion":
        results = json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
        print(f"data set      {results['dataset']}{' (simulated)' * results['simulated']}")
        print(scores_table(results))
        print(f"saved models  {workspace.saved_models}")
    print(f"run           {run_dir}")


def scores_table(results: Mapping[str, Any], metric: str = "f1") -> str:
    """One line per scenario, one column per method."""
    scenarios = {"validation": results["validation"], **results["scenarios"]}
    methods = list(results["validation"]["methods"])
    width = max(len(name) for name in (*scenarios, metric))
    lines = [f"{metric:<{width}}  " + "".join(f"{name:>13}" for name in methods)]
    for name, scenario in scenarios.items():
        values = [scenario["methods"][method][metric] for method in methods]
        cells = "".join(f"{'-' if v is None else format(v, '.4f'):>13}" for v in values)
        lines.append(f"{name:<{width}}  {cells}")
    return "\n".join(lines)


def sweep_and_tell(
    config: FusionConfig,
    overrides: Sequence[str],
    parallel: int | None,
    launcher: str = "joblib",
) -> None:
    """Train once per combination of the overrides' values and tell how each did.

    What the jobs share (data set, detectors, prediction cache) is made first, so that parallel
    jobs only read it. A data set has one cache: where the sweep goes over what the cache depends
    on, each job makes it anew, and they run one after the other.

    Raises:
        InputError: on whatever the user can mend; jobs that did not fail are told first.
    """
    from core import pipeline
    from core.presets import check_launcher, expand_sweep, run_sweep, swept

    check_launcher(launcher)
    workspace = Workspace.default()
    configs = expand_sweep(config, overrides)
    if parallel is not None and parallel < 1:
        raise ConfigError(f"expected --jobs of at least 1, got {parallel}")
    for found in configs:
        require_inputs(found, workspace)
    cached = {replace(c.data, val_fraction=config.data.val_fraction) for c in configs}
    shared = len(cached) == len({data.dataset for data in cached})
    if shared:
        for data in cached:
            pipeline.build_cache(data, workspace, StreamReporter())
    # A cluster has its own queue; this machine has its cores.
    usual = os.cpu_count() if launcher == "joblib" else len(configs)
    parallel = min(len(configs), parallel or usual or 1) if shared else 1

    folder = workspace.root / "multirun" / time.strftime("%Y%m%d-%H%M%S")
    task = functools.partial(sweep_job, str(workspace.root), str(folder))
    outcomes = run_sweep(config, overrides, task, folder, parallel, launcher)
    print(f"outputs of job N in {folder}/N")
    for number, (outcome, found) in enumerate(zip(outcomes, configs, strict=True)):
        values = [f"{name}={attrgetter(name)(found)}" for name in swept(overrides)]
        told = outcome.error or f"validation f1 {outcome.f1}, run {outcome.run_id}"
        print(f"job {number}: {' '.join(values)}: {told}")
    failed = [o.error for o in outcomes if o.error]
    if failed:
        raise InputError(f"{len(failed)} of {len(outcomes)} jobs failed, the first: {failed[0]}")


def sweep_job(root: str, folder: str, config: FusionConfig, number: int) -> "SweepOutcome":
    """One job of a sweep, in whatever process."""
    workspace = SweepWorkspace(Path(root), outputs=Path(folder) / str(number))
    reporter = LabelledReporter(f"job {number}: ", min_interval_s=5.0)
    try:
        run_dir = train(config, "fusion", workspace, reporter)
    except InputError as error:
        # Hydra would add lines of its own to an error that it sees.
        return SweepOutcome(error=str(error))
    results = json.loads((run_dir / "results.json").read_text(encoding="utf-8"))
    f1 = results["validation"]["methods"]["fusion"]["f1"]
    return SweepOutcome(run_dir.name, f1)


@dataclass(frozen=True)
class SweepOutcome:
    """What one job of a sweep came to: a run and its F1 on validation, or an error."""

    run_id: str = ""
    f1: float | None = None
    error: str = ""
