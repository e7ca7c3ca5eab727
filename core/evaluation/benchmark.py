"""Whole runs over data sets, arrangements of their captures, protocols and seeds.

Each run is kept as it is finished, with what it was made from, and is not made again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import joblib
import pyarrow as pa
import pyarrow.compute as pc

import core
from core.cache.fingerprint import code_version
from core.captures.dataset import TEST, Dataset, open_dataset
from core.config import FusionConfig, create_fusion_config, override
from core.errors import ConfigError, DatasetError, InputError
from core.evaluation.rearrange import ARRANGEMENTS, Traffic
from core.evaluation.scenario import measure_scenario
from core.files import write_json
from core.graphs.cached import graph_store
from core.pipeline import train_fusion
from core.progress import Reporter, SilentReporter
from core.workspace import Workspace

CODE = ("config.py", "pipeline.py", "cache/predictions.py", "evaluation", "fusion")
"""Parts of ``core`` whose source decides, besides that of the scores, what a run finds."""
NOT_IN_RUNS = ("evaluation/report.py",)
GIVEN = "given"
T = TypeVar("T")


@dataclass(frozen=True)
class RunWorkspace(Workspace):
    """A run's own folder; graphs, which do not depend on how captures are dealt out, are shared."""

    shared: Workspace

    @property
    def graphs(self) -> Path:
        return self.shared.graphs


@dataclass(frozen=True)
class Part:
    """One run to be made."""

    source: str
    """Name of the data set."""
    arrangement: str
    left_out: str
    """Vehicle or attack that is only tested on; empty where the folders are as given."""
    dataset: Dataset
    config: FusionConfig

    @property
    def about(self) -> dict[str, Any]:
        """What tells this run from the others."""
        return {
            "dataset": self.source,
            "arrangement": self.arrangement,
            "left_out": self.left_out,
            "protocol": self.config.data.detector.protocol,
            "seed": self.config.training.seed,
        }

    @property
    def title(self) -> str:
        """The same for people."""
        return ", ".join(f"{value}" for value in self.about.values() if value != "")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides what the run finds: captures, settings, code."""
        settings = self.config.to_dict()
        del settings["data"]["dataset"], settings["data"]["jobs"], settings["data"]["backend"]
        del settings["data"]["detector"]["device"], settings["training"]["device"]
        captures = {c.key: c.content for c in self.dataset.captures}
        return _digest([self.about, captures, settings, sources_version()])


def benchmark(
    datasets: Sequence[str],
    workspace: Workspace,
    *,
    arrangements: Sequence[str] = tuple(ARRANGEMENTS),
    protocols: Sequence[str] = ("commissioned",),
    seeds: Sequence[int] = (0,),
    device: str = "auto",
    jobs: int = 1,
    in_sample: bool = True,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Make, or find, all runs.

    Args:
        datasets: folders of split folders, or names of data sets.
        seeds: of all runs.
        workspace: where finished runs and graphs are kept.
        jobs: runs made at the same time, each in a process of its own.
        in_sample: also train the agent on scores of detectors that knew the windows.

    Returns:
        ``runs`` (what tells each apart, ``device, seconds, validation, scenarios, summary,
        in_sample``, or ``error``) and ``notes`` on what could not be run; fit for JSON.

    Raises:
        InputError: on a data set that cannot be used, or where not a single run could be made.
        JobStopped: if the reporter says so; finished runs stay.
    """
    reporter = reporter or SilentReporter()
    opened = [open_dataset(str(name), workspace, reporter) for name in datasets]
    if len({dataset.name for dataset in opened}) < len(opened):
        raise ConfigError(
            f"expected data sets of different names, got {', '.join(d.name for d in opened)}"
        )
    parts, notes = [], []
    for dataset in opened:
        config = create_fusion_config(
            str(dataset.root),
            data={"detector": {"device": device}},
            training={"device": device},
        )
        traffic = _traffic(dataset, config, workspace, reporter)
        for arrangement in arrangements:
            try:
                arranged = ARRANGEMENTS[arrangement](dataset, traffic)
            except DatasetError as error:
                notes.append(str(error))
                continue
            parts += [
                Part(
                    dataset.name,
                    arrangement,
                    left_out,
                    captures,
                    override(
                        config,
                        {
                            "data.detector.protocol": protocol,
                            "data.detector.seed": seed,
                            "training.seed": seed,
                        },
                    ),
                )
                for protocol in protocols
                for seed in seeds
                for left_out, captures in arranged.items()
            ]
    for note in notes:
        reporter.log(f"warning: {note}")
    runs, failed = [], []
    for number, (part, found) in enumerate(
        zip(parts, _all_runs(parts, workspace, in_sample, jobs, reporter), strict=True), 1
    ):
        if isinstance(found, InputError):
            # One arrangement may lack what a run needs; hours of others are not thrown away.
            failed.append(found)
            notes.append(f"{part.title}: {found}")
            reporter.log(f"warning: {notes[-1]}")
        else:
            runs.append(part.about | found)
        reporter.progress("benchmark", number / len(parts), f"done: {part.title}")
    if not runs:
        raise failed[0] if failed else DatasetError("; ".join(notes))
    return {"runs": runs, "notes": notes}


def _all_runs(
    parts: Sequence[Part], workspace: Workspace, in_sample: bool, jobs: int, reporter: Reporter
) -> Iterator[dict[str, Any] | InputError]:
    """What each run found, or why it could not be made, in order."""
    if jobs == 1:
        for part in parts:
            reporter.check()
            yield _run(part, workspace, in_sample, reporter)
        return
    made = joblib.Parallel(n_jobs=jobs, return_as="generator", batch_size=1, pre_dispatch=jobs)(
        joblib.delayed(_run)(part, workspace, in_sample, SilentReporter()) for part in parts
    )
    for found in made:
        yield found
        reporter.check()


def _run(
    part: Part, workspace: Workspace, in_sample: bool, reporter: Reporter
) -> dict[str, Any] | InputError:
    try:
        return _found(part, workspace, in_sample, reporter)
    except InputError as error:
        return error


def _found(part: Part, workspace: Workspace, in_sample: bool, reporter: Reporter) -> dict[str, Any]:
    captures = [part.source, *sorted(c.content for c in part.dataset.captures)]
    folder = workspace.root / "runs" / _digest([part.about, captures])[:16]
    own = RunWorkspace(folder / "workspace", shared=workspace)

    def cross_fitted() -> dict[str, Any]:
        return _train(part, part.config, own, folder / "run", reporter)

    def knowing() -> dict[str, Any] | None:
        detectors = own.detectors(part.dataset.name, part.config.data.detector.protocol) / "final"
        vgae, gat = (detectors / f"{name}.safetensors" for name in ("vgae", "gat"))
        if not gat.is_file():
            return None
        changes = {"data.autoencoder": str(vgae), "data.classifier": str(gat)}
        config, place = override(part.config, changes), folder / "in_sample"
        elsewhere = RunWorkspace(place / "workspace", shared=workspace)
        return _train(part, config, elsewhere, place / "run", reporter)

    found = _kept(folder / "results.json", part.fingerprint, cross_fitted)
    found["in_sample"] = (
        _kept(folder / "in_sample.json", part.fingerprint, knowing)
        if in_sample and part.arrangement == GIVEN
        else None
    )
    return found


def _train(
    part: Part, config: FusionConfig, workspace: Workspace, run_dir: Path, reporter: Reporter
) -> dict[str, Any]:
    results = train_fusion(config, workspace, run_dir, reporter, part.dataset)
    scenarios = results["scenarios"]
    if part.arrangement != GIVEN:
        scenarios = {part.left_out: _pooled(results, config, run_dir / "predictions.arrow")}
    kept = ("device", "seconds", "validation", "warnings")
    summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
    return {name: results[name] for name in kept} | {"scenarios": scenarios, "summary": summary}


def _pooled(results: dict[str, Any], config: FusionConfig, predictions: Path) -> dict[str, Any]:
    """All test captures as one scenario; each is named by the folder that it comes from."""
    table = pa.ipc.open_file(pa.memory_map(str(predictions))).read_all()
    tested = table.filter(pc.starts_with(table["split"].cast(pa.string()), TEST))
    window = config.data.detector.window
    pooled = measure_scenario(
        tested, config.evaluation.threshold, frames=None if window.duration_s else window.size
    )
    pooled["captures"] = {n.removeprefix(TEST): c for n, c in pooled["captures"].items()}
    spent = (s["commissioning_windows"] for s in results["scenarios"].values())
    return pooled | {"commissioning_windows": sum(spent)}


def _kept(path: Path, fingerprint: str, compute: Callable[[], T]) -> T:
    """What was computed before from the same, else what is computed now."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["fingerprint"] == fingerprint:
            return found["value"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # Missing or damaged: it is made anew.
    value = compute()
    write_json(path, {"fingerprint": fingerprint, "value": value})
    return value


def _traffic(
    dataset: Dataset, config: FusionConfig, workspace: Workspace, reporter: Reporter
) -> dict[str, Traffic]:
    found = {}
    for number, capture in enumerate(dataset.captures):
        reporter.check()
        reporter.progress("graphs", number / len(dataset.captures), capture.key)
        store = graph_store(capture, config.data.detector.window, workspace, reporter)
        if store is not None:
            found[capture.key] = Traffic.of(store)
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@cache
def sources_version() -> str:
    """SHA-256 over the source of everything that decides what a run finds."""
    root = Path(core.__file__).parent
    digest = hashlib.sha256(code_version().encode())
    for part in CODE:
        for path in sorted([root / part] if part.endswith(".py") else (root / part).glob("*.py")):
            name = path.relative_to(root).as_posix()
            if name not in NOT_IN_RUNS:
                digest.update(name.encode() + path.read_bytes())
    return digest.hexdigest()
