"""The prediction cache: which detectors score which rows, and what a failed write leaves."""

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.cache.builder import PredictionCacheBuilder
from core.cache.predictions import SCHEMA, FusionPredictionCache
from core.detectors.capture_scores import score_capture
from core.detectors.crossfit import train_stack
from core.detectors.folds import assign_folds
from core.detectors.prepare import PreparedCapture
from core.detectors.stack import FINAL, Detectors, DetectorStack
from core.detectors.vgae import COMPONENTS
from core.errors import DatasetError, JobStopped, StorageError
from core.pipeline import build_cache
from core.progress import SilentReporter
from tests.core.detectors.toy import CPU, Recorder, config, prepared, untrained_gat, untrained_vgae
from tests.core.small_dataset import Recorder as PipelineRecorder
from tests.core.small_dataset import SmallRun

METADATA = {"fingerprint": {"made": "of this"}, "dataset": "toy", "protocol": "commissioned"}


def captures() -> list[PreparedCapture]:
    return [
        prepared("train_01/clean-a", seed=1),
        prepared("train_02/attack-a", attacked=slice(30, 45), seed=3),
        prepared("train_02/attack-b", attacked=slice(40, 55), seed=4),
        prepared("test_01/attack-a", windows=50, attacked=slice(20, 45), seed=5),
        prepared("test_02/clean", windows=40, seed=6),
    ]


@pytest.fixture(scope="module")
def stack() -> DetectorStack:
    settings = config(**{"vgae.epochs": 1, "gat.epochs": 1})
    return train_stack(captures()[:3], settings, CPU, Recorder())


def build(stack: DetectorStack, some: list[PreparedCapture], path: Path) -> FusionPredictionCache:
    builder = PredictionCacheBuilder(stack, some, config(), CPU)
    return builder.build(path, METADATA, SilentReporter())


def rows_of(cache: FusionPredictionCache, key: str) -> np.ndarray:
    return np.flatnonzero(np.array(cache.capture_names)[cache.capture] == key)


def test_every_scored_window_has_a_row(stack: DetectorStack, tmp_path: Path) -> None:
    some = captures()
    cache = build(stack, some, tmp_path / "c.arrow")
    assert list(cache.capture_names) == [c.key for c in some]
    assert (np.diff(cache.capture) >= 0).all()
    for capture in some:
        part = cache.select(rows_of(cache, capture.key))
        store, windows = capture.store, capture.scored
        assert part.window.tolist() == windows.tolist() == list(range(10, len(store)))
        assert part.label.tolist() == store.y[windows].tolist()
        np.testing.assert_array_equal(part.start_time, store.start_time[windows])
        np.testing.assert_array_equal(part.end_time, store.end_time[windows])
        np.testing.assert_array_equal(part.first_frame, 20 * windows)
        attack = np.array(cache.attack_names)[part.attack]
        assert attack.tolist() == ["fuzzing" if y else "" for y in part.label]
        assert {cache.split_names[code] for code in part.split} == {capture.split}


def test_the_file_has_the_agreed_form(stack: DetectorStack, tmp_path: Path) -> None:
    cache = build(stack, captures(), tmp_path / "c.arrow")
    with pa.memory_map(str(tmp_path / "c.arrow")) as source:
        table = pa.ipc.open_file(source).read_all()
    assert [f.name for f in table.schema] == [*SCHEMA.names, *(f"vgae_{n}" for n in COMPONENTS)]
    about = json.loads(table.schema.metadata[b"canfusion"])
    assert about["version"] == 1
    assert {name: about[name] for name in METADATA} == METADATA
    assert about["commissioning_windows"] == {c.key: 10 for c in captures()}
    assert cache.metadata == about


def test_rows_hold_the_scores_of_their_fold(stack: DetectorStack, tmp_path: Path) -> None:
    some = captures()
    cache = build(stack, some, tmp_path / "c.arrow")
    assigned = assign_folds([c.store.y for c in some[:3]], config().folds)
    for number, capture in enumerate(some):
        part = cache.select(rows_of(cache, capture.key))
        fold = int(assigned[number][0]) if number < 3 else FINAL
        assert set(part.fold) == {fold}
        scores = score_capture(stack.of(fold), capture, CPU)
        np.testing.assert_allclose(part.anomaly_score, scores.anomaly_score, atol=1e-6)
        np.testing.assert_allclose(part.gat_prob, scores.gat_prob, atol=1e-6)
        for i, name in enumerate(COMPONENTS):
            np.testing.assert_allclose(
                part.components[f"vgae_{name}"], scores.components[:, i], atol=1e-5
            )


def test_a_folds_detectors_score_its_rows_and_no_other(
    stack: DetectorStack, tmp_path: Path
) -> None:
    before = build(stack, captures(), tmp_path / "a.arrow")
    changed = DetectorStack(
        stack.final, (Detectors(untrained_vgae(5), untrained_gat(5)), stack.folds[1])
    )
    after = build(changed, captures(), tmp_path / "b.arrow")
    mine = before.fold == 0
    assert mine.any()
    assert not mine.all()
    for name in ("anomaly_score", "gat_prob"):
        differs = getattr(before, name) != getattr(after, name)
        assert not differs[~mine].any()
        assert differs[mine].mean() > 0.9


def test_a_single_capture_is_scored_by_both_halves(tmp_path: Path) -> None:
    capture = prepared("train_02/attack", attacked=slice(30, 50))
    stack = train_stack([capture], config(), CPU, Recorder())
    cache = build(stack, [capture], tmp_path / "c.arrow")
    assert cache.fold.tolist() == [0] * 30 + [1] * 20  # windows 10 to 39, 40 to 59
    for fold in (0, 1):
        scores = score_capture(stack.folds[fold], capture, CPU)
        rows = cache.fold == fold
        np.testing.assert_allclose(cache.gat_prob[rows], scores.gat_prob[rows], atol=1e-6)


def test_a_stack_without_folds_scores_everything(tmp_path: Path) -> None:
    stack = DetectorStack(Detectors(untrained_vgae(), None))
    cache = build(stack, captures(), tmp_path / "c.arrow")
    assert set(cache.fold) == {FINAL}
    assert (cache.gat_prob == 0.5).all()


def test_a_capture_spent_on_commissioning_is_left_out(tmp_path: Path) -> None:
    stack = DetectorStack(Detectors(untrained_vgae(), None))
    short = prepared("test_01/short", windows=1)
    assert len(short.scored) == 0
    cache = build(stack, [*captures(), short], tmp_path / "c.arrow")
    assert short.key not in cache.capture_names
    assert cache.metadata["commissioning_windows"][short.key] == 1
    with pytest.raises(DatasetError, match="no window to score"):
        build(stack, [short], tmp_path / "d.arrow")
    assert not (tmp_path / "d.arrow").exists()


class StopAt(SilentReporter):
    def __init__(self, checks: int) -> None:
        self.checks = checks

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise JobStopped("stopped")


def test_a_stop_leaves_the_old_cache(stack: DetectorStack, tmp_path: Path) -> None:
    path = tmp_path / "c.arrow"
    build(stack, captures(), path)
    old = path.read_bytes()
    builder = PredictionCacheBuilder(stack, captures()[:2], config(), CPU)
    with pytest.raises(JobStopped):
        builder.build(path, METADATA, StopAt(1))
    assert path.read_bytes() == old


def no_space(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("failure", ["opening", "half-way", "killed"])
def test_a_failed_write_leaves_the_old_cache(
    stack: DetectorStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    path = tmp_path / "c.arrow"
    build(stack, captures(), path)
    old = path.read_bytes()
    expected: type[BaseException] = StorageError
    if failure == "opening":
        monkeypatch.setattr(pa, "OSFile", no_space)
    else:
        writer = pa.ipc.new_file

        def breaks(sink: Any, schema: Any) -> Any:
            writer(sink, schema)
            sink.write(b"half of it")
            if failure == "killed":
                raise KeyboardInterrupt
            no_space()

        monkeypatch.setattr(pa.ipc, "new_file", breaks)
        expected = KeyboardInterrupt if failure == "killed" else StorageError
    with pytest.raises(expected):
        build(stack, captures()[:2], path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["c.arrow"]
    assert len(FusionPredictionCache.load(path)) > 0


@pytest.mark.parametrize("damage", ["empty", "junk", "truncated", "scores"])
def test_a_damaged_cache_is_built_anew(small_run: SmallRun, damage: str) -> None:
    path = small_run.workspace.prediction_cache(small_run.dataset.name, "commissioned")
    whole = FusionPredictionCache.load(path)
    content = path.read_bytes()
    path.unlink()  # It is mapped: it must not be written over.
    if damage == "scores":
        # Readable and of the right fingerprint, but holds what cannot be.
        table = whole.to_table()
        place = table.schema.get_field_index("gat_prob")
        wrong = pa.array(np.full(len(table), 7.0, np.float32))
        table = table.set_column(place, "gat_prob", wrong)
        about = {b"canfusion": json.dumps(whole.metadata).encode()}
        table = table.replace_schema_metadata(about)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        path.write_bytes(
            {"empty": b"", "junk": b"\0" * 900, "truncated": content[: len(content) * 3 // 4]}[
                damage
            ]
        )
    recorder = PipelineRecorder()
    again = build_cache(small_run.config.data, small_run.workspace, recorder)
    assert any("prediction cache is corrupt" in message for message in recorder.messages)
    assert not recorder.trained_detectors
    np.testing.assert_array_equal(again.anomaly_score, whole.anomaly_score)
    assert path.read_bytes() == content
