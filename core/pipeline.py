"""The way of the data, one function per arrow.

::

    capture files -> graphs -> detectors -> prediction cache -> agent -> comparison

The command lines, the dashboard's jobs and the tests all call these functions.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.cache.builder import PredictionCacheBuilder
from core.cache.predictions import FusionPredictionCache
from core.cache.status import (
    cache_fingerprint,
    cache_status,
    detector_fingerprint,
    detector_status,
)
from core.captures.dataset import Capture, Dataset, open_dataset
from core.config import DetectorConfig, FusionConfig, FusionDataConfig, create_fusion_config
from core.detectors.checkpoint import load_gat, load_vgae, save_detector
from core.detectors.crossfit import train_stack
from core.detectors.distillation import LARGEST_SHARE, lessons_of, student_settings
from core.detectors.prepare import PreparedCapture, prepare_capture
from core.detectors.protocol import further_kinds
from core.detectors.stack import Detectors, DetectorStack
from core.device import resolve_device
from core.errors import CacheError, CheckpointError, ConfigError, DatasetError
from core.evaluation.comparison import compare
from core.evaluation.students import compare_students
from core.evaluation.summary import training_summary
from core.files import atomic_path, make_folder, write_json
from core.fusion.policy import policy_map, save_policy
from core.fusion.training import train_agent
from core.graphs.cached import build_in_parallel, graph_store
from core.graphs.profiles import KnownVehicle, learn_vehicles, save_vehicle
from core.graphs.rehearsed import SPLIT, plan_rehearsals, rehearsed_store
from core.graphs.store import GraphStore
from core.progress import Reporter, SilentReporter
from core.workspace import Workspace


def prepare(
    captures: Sequence[Capture],
    config: FusionDataConfig,
    workspace: Workspace,
    reporter: Reporter,
    dataset: str = "",
) -> tuple[list[PreparedCapture], list[str]]:
    """Graphs of every capture relative to its own habit, and warnings about those left out.

    With the name of a ``dataset``, the profiles of the vehicles in its training captures are kept
    in the workspace.

    Raises:
        CaptureError: if a capture cannot be read.
        ConfigError: if joblib does not know the back end.
        JobStopped: if the reporter says so; graphs built before stay.
    """
    prepared: list[PreparedCapture] = []
    warnings: list[str] = []
    stores: dict[str, GraphStore] = {}
    window = config.detector.window
    with closing(build_in_parallel(captures, config, workspace)) as built:
        for number, capture in enumerate(captures):
            reporter.check()
            reporter.progress("graphs", number / len(captures), capture.key)
            next(built)
            store = graph_store(capture, window, workspace, reporter)
            if store is None:
                warnings.append(
                    f"{capture.key}: left out, shorter than one window of {window.length}"
                )
                continue
            for warning in store.warnings:
                reporter.log(f"{capture.key}: {warning}")
            stores[capture.key] = store
    known = _known_vehicles(captures, stores, config.detector, workspace, dataset, warnings)
    for key, store in stores.items():
        prepared.append(prepare_capture(key, store, config.detector, known=known))
        warnings += prepared[-1].notes
        if not len(prepared[-1].scored):
            warnings.append(f"{key}: too short to commission a profile and be scored")
    tested = [c for c in prepared if len(c.commissioning) and not c.split.startswith("train_")]
    if strangers := [c.key for c in tested if known and not c.vehicle]:
        warnings.append(
            "No vehicle in the training captures has these ids and this timing, so that the "
            f"profile comes from the capture's own first windows alone: {', '.join(strangers)}"
        )
    prepared += _rehearsed(captures, prepared, config.detector, workspace, reporter)
    reporter.progress("graphs", 1.0, f"{sum(len(c.store) for c in prepared)} windows")
    return prepared, warnings


def _known_vehicles(
    captures: Sequence[Capture],
    stores: Mapping[str, GraphStore],
    config: DetectorConfig,
    workspace: Workspace,
    dataset: str,
    warnings: list[str],
) -> list[KnownVehicle]:
    """Profiles of the vehicles in the training captures; none in the zero-shot protocol."""
    if config.protocol != "commissioned":
        return []
    train = {
        capture.key: (capture.content, stores[capture.key])
        for capture in captures
        if capture.key in stores and capture.split.startswith("train_")
    }
    known, noticed = learn_vehicles(train, config.window, f"{dataset}-" if dataset else "")
    warnings += noticed
    return [save_vehicle(v, workspace.profiles) for v in known] if dataset else known


def _rehearsed(
    captures: Sequence[Capture],
    prepared: Sequence[PreparedCapture],
    config: DetectorConfig,
    workspace: Workspace,
    reporter: Reporter,
) -> Iterator[PreparedCapture]:
    """Attacks acted out on the clean training captures; where there are none, on clean stretches
    of the attacked ones."""
    train = [c for c in prepared if c.split.startswith("train_")]
    usable = [c.key for c in train if not c.store.y.any()] or [c.key for c in train]
    by_key = {capture.key: capture for capture in captures}
    for rehearsal in plan_rehearsals(
        usable, config.rehearsals, config.seed, config.rehearsals_for_gat
    ):
        reporter.check()
        capture = by_key[rehearsal.of]
        store = rehearsed_store(rehearsal, capture, config.window, workspace, config.seed)
        if store is not None:
            yield prepare_capture(rehearsal.key, store, config, rehearsal)


def train_detectors(
    config: FusionDataConfig, workspace: Workspace, reporter: Reporter | None = None
) -> Path:
    """Train both detectors on a data set's training captures and save them.

    Returns:
        The folder with ``final/`` and ``fold_*/``, each with ``vgae.safetensors`` and, where there
        were attacks to learn from, ``gat.safetensors``.

    Raises:
        DatasetError: if there is no data set, or nothing in it to learn from.
        CaptureError: if a capture cannot be read.
        JobStopped: if the reporter says so; detectors saved before stay.
    """
    reporter = reporter or SilentReporter()
    dataset = open_dataset(config.dataset, workspace, reporter)
    captures, warnings = prepare(dataset.train, config, workspace, reporter, dataset.name)
    for warning in warnings:
        reporter.log(warning)
    return _train(dataset, captures, config, workspace, reporter)


def build_cache(
    config: FusionDataConfig, workspace: Workspace, reporter: Reporter | None = None
) -> FusionPredictionCache:
    """A data set's prediction cache; made, with the detectors, where it is missing or stale.

    Raises:
        DatasetError, CaptureError, CheckpointError: on what the user can mend.
        JobStopped: if the reporter says so; what was saved before stays.
    """
    reporter = reporter or SilentReporter()
    dataset = open_dataset(config.dataset, workspace, reporter)
    return _cache(dataset, config, workspace, reporter, {})


def create_fusion_prediction_cache(
    dataset: str = "demo",
    workspace: Workspace | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> FusionPredictionCache:
    """:func:`build_cache` with default settings and changes by (dotted) name.

    Raises:
        ConfigError: on a setting that does not exist or cannot be.
    """
    config = create_fusion_config(dataset, data=settings) if settings else None
    data = (config or create_fusion_config(dataset)).data
    return build_cache(data, workspace or Workspace.default(), reporter)


def train_fusion(
    config: FusionConfig,
    workspace: Workspace,
    run_dir: Path,
    reporter: Reporter | None = None,
    dataset: Dataset | None = None,
) -> dict[str, Any]:
    """The whole way from capture files to compared methods.

    Args:
        dataset: taken instead of the one that ``config`` names.

    Writes ``config.json, results.json, summary.json, predictions.arrow, agent.pth, policy.npy,
    policy_map.arrow`` and ``policy_epochs.arrow`` into ``run_dir``; agent, policy, checkpoints and
    logs into the workspace.

    Returns:
        What ``results.json`` holds.

    Raises:
        InputError: on what the user can mend.
        JobStopped: if the reporter says so; what was saved before stays.
    """
    reporter = reporter or SilentReporter()
    seconds: dict[str, float] = {}
    device = resolve_device(config.training.device)
    dataset = dataset or open_dataset(config.data.dataset, workspace, reporter)
    make_folder(run_dir)  # Before the work, which would be in vain.
    cache = _cache(dataset, config.data, workspace, reporter, seconds)
    train, validation = cache.training().train_validation_split(
        config.data.val_fraction, config.training.seed
    )
    with _timed(seconds, "fusion"):
        trained = train_agent(
            train,
            validation,
            config,
            checkpoints=workspace.checkpoints(dataset.name),
            log_root=workspace.logs,
            log_name=f"fusion_{dataset.name}",
            policy_epochs=run_dir / "policy_epochs.arrow",
            reporter=reporter,
        )
    with _timed(seconds, "compare"):
        reporter.progress("compare", 0.0, "all methods on validation and test folders")
        nothing = cache.select(slice(0, 0))
        scored = cache.by_split()
        # A folder without a single scored window is listed too, with 0 windows.
        tests = {name: scored.get(name, nothing) for name in dataset.tests}
        commissioning = cache.metadata["commissioning_windows"]
        comparison = compare(train, validation, tests, trained.agent, config, commissioning)
        policy = policy_map(trained.agent, config.evaluation.policy_grid, train)
    warnings = [*dataset.warnings, *cache.metadata["warnings"], *comparison.results["warnings"]]
    for warning in warnings:
        reporter.log(f"warning: {warning}")
    warnings += trained.warnings  # Told when they came up.
    comparison.results["validation"]["rehearsed_windows"] = _rehearsed_windows(validation)
    results = {
        "dataset": dataset.name,
        "simulated": dataset.simulated,
        "protocol": config.data.detector.protocol,
        "seed": config.training.seed,
        "device": str(device),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        **comparison.results,
        "warnings": warnings,
    }
    about = {
        "dataset": dataset.name,
        "protocol": config.data.detector.protocol,
        "cache_fingerprint": cache.fingerprint,
        "best_epoch": trained.best_epoch,
    }
    trained.agent.save(workspace.agent(dataset.name), about)
    trained.agent.save(run_dir / "agent.pth")
    save_policy(policy, npy=workspace.policy(dataset.name))
    save_policy(policy, npy=run_dir / "policy.npy", arrow=run_dir / "policy_map.arrow")
    _write_table(run_dir / "predictions.arrow", comparison.predictions)
    write_json(run_dir / "config.json", config.to_dict())
    summary = training_summary(trained, train, validation, config)
    write_json(run_dir / "summary.json", summary)
    write_json(run_dir / "results.json", results)
    reporter.progress("compare", 1.0, "done")
    return results


def distil(
    config: FusionConfig,
    workspace: Workspace,
    out: Path,
    share: float = LARGEST_SHARE,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Teach small detectors what a data set's own say, and compare them on its test folders.

    Writes ``vgae.safetensors``, ``gat.safetensors`` and ``distillation.json`` into ``out``. Like
    their teachers, students are calibrated on captures that students of the same kind left out;
    test folders are only scored.

    Args:
        share: of a teacher's parameters that its student may have.

    Returns:
        What ``distillation.json`` holds: ``dataset, simulated, protocol, seed, device, share,
        settings`` (of the students), ``warnings`` and what
        :func:`core.evaluation.students.compare_students` finds.

    Raises:
        InputError: on what the user can mend.
        JobStopped: if the reporter says so; the teachers stay.
    """
    reporter = reporter or SilentReporter()
    data = config.data
    if data.autoencoder or data.classifier:
        raise ConfigError(
            "distillation needs teachers of every fold: expected those of the data set, "
            f"got {data.autoencoder or data.classifier}"
        )
    student = student_settings(data.detector, share)
    dataset = open_dataset(data.dataset, workspace, reporter)
    device = resolve_device(data.detector.device)
    make_folder(out)  # Before the work, which would be in vain.
    captures, warnings = prepare(dataset.captures, data, workspace, reporter, dataset.name)
    teachers = _stack(dataset, captures, data, workspace, reporter)
    if teachers.final.gat is None:
        raise DatasetError(
            f"{dataset.root}: no attack in the training captures, so that there is no GAT to learn "
            "from; expected labelled attacks in train_02_with_attacks"
        )
    train = [c for c in captures if c.split.startswith("train_")]
    lessons = lessons_of(teachers, device)
    students = train_stack(train, student, device, reporter, lessons=lessons)
    assert students.final.gat is not None  # It learnt from the same windows.
    save_detector(students.final.vgae, out / "vgae.safetensors")
    save_detector(students.final.gat, out / "gat.safetensors")
    reporter.progress("compare", 0.0, "teachers and students on test folders")
    tests = [c for c in captures if c.split.startswith("test_")]
    threshold = config.evaluation.threshold
    report = {
        "dataset": dataset.name,
        "simulated": dataset.simulated,
        "protocol": data.detector.protocol,
        "seed": data.detector.seed,
        "device": str(device),
        "share": share,
        "settings": {"vgae": student.vgae.to_dict(), "gat": student.gat.to_dict()},
        **compare_students(teachers.final, students.final, tests, device, threshold),
        "warnings": [*dataset.warnings, *warnings],
    }
    write_json(out / "distillation.json", report)
    reporter.progress("compare", 1.0, "done")
    return report


def _rehearsed_windows(cache: FusionPredictionCache) -> int:
    """Windows whose attacks were acted out, not recorded."""
    rehearsed = np.array([n.startswith(f"{SPLIT}/") for n in cache.capture_names], bool)
    return int(rehearsed[cache.capture].sum())


def reproduce(
    dataset_dir: str | Path,
    out: Path,
    protocol: str = "commissioned",
    device: str = "auto",
    seed: int = 0,
    reporter: Reporter | None = None,
    jobs: int = 1,
) -> dict[str, Any]:
    """From capture files to ``OUT/results.json`` with default settings.

    Everything made on the way lies below ``out``. What it holds already and still fits is used
    again.

    Raises:
        InputError: on what the user can mend.
    """
    root = Path(dataset_dir)
    # Unlike Path.is_dir this is just false for a path that cannot even be asked.
    if not os.path.isdir(dataset_dir):  # noqa: PTH112
        root = open_dataset(str(dataset_dir), Workspace.default(), reporter).root
    config = create_fusion_config(
        # Absolute: a name would be looked up in the new workspace, and "demo" made there.
        str(root.absolute()),
        data={
            "detector": {"protocol": protocol, "device": device, "seed": seed},
            "jobs": jobs,
        },
        training={"device": device, "seed": seed},
    )
    return train_fusion(config, Workspace(out / "workspace"), out, reporter)


def _cache(
    dataset: Dataset,
    config: FusionDataConfig,
    workspace: Workspace,
    reporter: Reporter,
    seconds: dict[str, float],
) -> FusionPredictionCache:
    path = workspace.prediction_cache(dataset.name, config.detector.protocol)
    given = [file for file in (config.autoencoder, config.classifier) if file]
    if missing := [file for file in given if not Path(file).is_file()]:
        raise CheckpointError(f"{missing[0]}: no such checkpoint")
    further_kinds(config.detector)  # Before the work, which would be in vain.
    own = len(given) < 2 or config.detector.extra_names
    untrained = own and detector_status(dataset, config.detector, workspace)
    status, reasons = cache_status(dataset, config, workspace)
    if status == "fresh" and (not untrained or untrained[0] == "fresh"):
        try:
            cache = FusionPredictionCache.load(path)
            reporter.log(f"prediction cache is fresh: {len(cache)} windows")
            return cache
        except CacheError as error:
            status, reasons = "corrupt", [str(error)]
    for reason in reasons:
        reporter.log(f"prediction cache is {status}: {reason}")
    device = resolve_device(config.detector.device)
    with _timed(seconds, "graphs"):
        captures, warnings = prepare(dataset.captures, config, workspace, reporter, dataset.name)
    with _timed(seconds, "detectors"):
        stack = _stack(dataset, captures, config, workspace, reporter)
    if given:
        names = " and ".join(
            name
            for name, file in (("VGAE", config.autoencoder), ("GAT", config.classifier))
            if file
        )
        warnings.append(
            f"{names} given: such scores of training captures are not cross-fitted, and look "
            "better than they are if the detector was trained on them"
        )
    recorded = (c for c in captures if c.split.startswith("train_") and c.rehearsal is None)
    if not any(c.store.y.any() for c in recorded):
        warnings.append(
            "no attacked window in the training captures: the GAT "
            + (
                "could not be trained, its probability is 0.5 everywhere"
                if stack.final.gat is None
                else "knows rehearsed attacks only"
            )
        )
    metadata = {
        "fingerprint": cache_fingerprint(dataset, config, workspace),
        "dataset": dataset.name,
        "protocol": config.detector.protocol,
        "overlap": config.detector.window.overlap,
        "warnings": warnings,
    }
    with _timed(seconds, "cache"):
        builder = PredictionCacheBuilder(stack, captures, config.detector, device)
        return builder.build(path, metadata, reporter)


def _stack(
    dataset: Dataset,
    captures: Sequence[PreparedCapture],
    config: FusionDataConfig,
    workspace: Workspace,
    reporter: Reporter,
) -> DetectorStack:
    """The detectors given by the user, or those of the data set, trained if need be."""
    vgae = load_vgae(Path(config.autoencoder)) if config.autoencoder else None
    gat = load_gat(Path(config.classifier)) if config.classifier else None
    if vgae and gat and not config.detector.extra_names:
        return DetectorStack(Detectors(vgae, gat))
    folder = workspace.detectors(dataset.name, config.detector.protocol)
    status, reasons = detector_status(dataset, config.detector, workspace)
    if status == "fresh":
        try:
            stack = DetectorStack.load(folder)
        except CheckpointError as error:
            status, reasons = "corrupt", [str(error)]
    if status != "fresh":
        for reason in reasons:
            reporter.log(f"detectors are {status}: {reason}")
        train = [c for c in captures if c.split.startswith("train_")]
        _train(dataset, train, config, workspace, reporter)
        stack = DetectorStack.load(folder)
    if not vgae and not gat:
        return stack

    def with_given(detectors: Detectors) -> Detectors:
        return replace(detectors, vgae=vgae or detectors.vgae, gat=gat or detectors.gat)

    return DetectorStack(with_given(stack.final), tuple(map(with_given, stack.folds)))


def _train(
    dataset: Dataset,
    captures: Sequence[PreparedCapture],
    config: FusionDataConfig,
    workspace: Workspace,
    reporter: Reporter,
) -> Path:
    if not any(len(c.scored) for c in captures):
        raise DatasetError(
            f"{dataset.root}: no training capture of at least one window of "
            f"{config.detector.window.length}"
        )
    device = resolve_device(config.detector.device)
    folder = workspace.detectors(dataset.name, config.detector.protocol)
    fingerprint = detector_fingerprint(dataset, config.detector)
    digest = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    unfinished = folder.parent / f".{folder.name}-unfinished" / digest
    stack = train_stack(captures, config.detector, device, reporter, unfinished)
    stack.save(folder, fingerprint)
    # With it go those of other settings, which nobody went on with.
    shutil.rmtree(unfinished.parent, ignore_errors=True)
    return folder


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start


def _write_table(path: Path, table: pa.Table) -> None:
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
