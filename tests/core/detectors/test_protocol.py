"""A third detector, known by its name: cross-fitted, cached and compared like the others."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.metrics import roc_auc_score

from core.cache.predictions import FusionPredictionCache
from core.cache.status import cache_status
from core.captures.dataset import open_dataset
from core.config import DetectorConfig, override
from core.detectors import protocol
from core.detectors.capture_scores import score_capture
from core.detectors.crossfit import train_stack
from core.detectors.folds import assign_folds
from core.detectors.pca import PCADetector
from core.detectors.prepare import PreparedCapture
from core.detectors.protocol import Lesson, further_kinds, known_detectors, register
from core.detectors.stack import DetectorStack
from core.errors import CheckpointError, ConfigError
from core.evaluation.metrics import window_metrics
from core.pipeline import build_cache, train_fusion
from core.progress import SilentReporter
from tests.core.detectors.toy import CPU, config, prepared
from tests.core.small_dataset import TEST_1, SmallRun


class Counter:
    """Remembers how many windows it learnt from, and says the same of every window."""

    def __init__(self, windows: npt.NDArray[Any]) -> None:
        self.windows = windows

    @classmethod
    def fit(
        cls, lessons: Sequence[Lesson], config: DetectorConfig, device: torch.device
    ) -> "Counter":
        return cls(np.array([len(lesson.windows) for lesson in lessons]))

    @classmethod
    def restore(cls, state: Mapping[str, npt.NDArray[Any]]) -> "Counter":
        return cls(state["windows"])

    def state(self) -> dict[str, npt.NDArray[Any]]:
        return {"windows": self.windows}

    def score(self, capture: PreparedCapture, device: torch.device) -> npt.NDArray[np.float64]:
        # A number that tells by which fold's detector it was said, and of which window.
        said = 1.0 / (1.0 + self.windows.sum())
        return said + 1e-6 * np.arange(len(capture.store))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "_REGISTRY", dict(protocol._REGISTRY))
    register("counter", Counter)


def captures() -> list[PreparedCapture]:
    return [
        prepared("train_01/clean", seed=1),
        prepared("train_02/first", attacked=slice(30, 45), seed=3),
        prepared("train_02/second", attacked=slice(40, 55), seed=4),
    ]


def trained(extra: str) -> DetectorStack:
    settings = config(**{"vgae.epochs": 1, "gat.epochs": 1, "extra": extra})
    return train_stack(captures(), settings, CPU, SilentReporter())


def test_an_unknown_name_is_refused_with_those_there_are() -> None:
    assert known_detectors() == ("counter", "pca")
    with pytest.raises(ConfigError, match="no detector 'forest'; there are counter, pca"):
        further_kinds(config(extra="pca, forest"))
    assert list(further_kinds(config(extra=" pca,counter, pca"))) == ["pca", "counter"]
    assert further_kinds(config()) == {}


@pytest.mark.parametrize("name", ["gat", "fusion", "", "Two", "a/b", "../x", "score:x"])
def test_a_name_that_would_be_mistaken_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a detector's name"):
        register(name, Counter)


def test_a_further_detector_is_cross_fitted_saved_and_read_again(tmp_path: Path) -> None:
    stack = trained("counter,pca")
    fold = [int(some[0]) for some in assign_folds([c.store.y for c in captures()], 3)]
    for number in (-1, *range(len(stack.folds))):
        counter = stack.of(number).extra["counter"]
        left_out = [i for i, of in enumerate(fold) if of == number]
        seen = [0 if i in left_out else len(c.taught) for i, c in enumerate(captures())]
        assert counter.state()["windows"].tolist() == seen
    stack.save(tmp_path / "detectors", {})
    again = DetectorStack.load(tmp_path / "detectors")
    for number in (-1, 0, 1):
        scores = [score_capture(s.of(number), captures()[1], CPU) for s in (stack, again)]
        for name in ("counter", "pca"):
            np.testing.assert_array_equal(scores[0].extra[name], scores[1].extra[name])
            assert len(scores[0].extra[name]) == len(captures()[1].scored)
    (tmp_path / "detectors" / "final" / "pca.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no such pca checkpoint"):
        DetectorStack.load(tmp_path / "detectors")


def test_a_third_detector_is_in_cache_and_results(small_run: SmallRun) -> None:
    dataset = open_dataset(str(small_run.dataset), small_run.workspace)
    asked = override(small_run.config, {"data.detector.extra": "counter"})
    assert cache_status(dataset, small_run.config.data, small_run.workspace) == ("fresh", [])
    status, reasons = cache_status(dataset, asked.data, small_run.workspace)
    assert (status, reasons) == ("stale", ["settings: extra changed"])
    results = train_fusion(asked, small_run.workspace, small_run.run_dir.parent / "third")
    assert cache_status(dataset, asked.data, small_run.workspace) == ("fresh", [])

    cache = build_cache(asked.data, small_run.workspace)
    score = cache.extra_scores["counter"]
    assert score.dtype == np.float32
    per_fold = [np.unique(score[cache.fold == n].round(3)) for n in np.unique(cache.fold)]
    assert all(len(values) <= 2 for values in per_fold)
    assert len(np.unique(np.concatenate(per_fold))) > 1
    test = cache.by_split()[TEST_1]
    expected = window_metrics(test.label, test.extra_scores["counter"])
    scenario = results["scenarios"][TEST_1]
    assert list(scenario["methods"])[-2:] == ["oracle", "counter"]
    assert scenario["methods"]["counter"] == expected
    assert "counter" in results["validation"]["methods"]
    # The others are what they were.
    before = small_run.results["scenarios"][TEST_1]["methods"]
    assert before["vgae"] == scenario["methods"]["vgae"]


def test_a_third_detector_is_fitted_where_both_others_are_given(
    small_run: SmallRun, tmp_path: Path
) -> None:
    name = small_run.dataset.name
    final = small_run.workspace.detectors(name, "commissioned") / "final"
    given = shutil.copytree(final, tmp_path / "given")
    asked = override(
        small_run.config,
        {
            "data.autoencoder": str(given / "vgae.safetensors"),
            "data.classifier": str(given / "gat.safetensors"),
            "data.detector.extra": "counter",
        },
    )
    cache = build_cache(asked.data, small_run.workspace)
    assert len(np.unique(cache.extra_scores["counter"].round(3))) > 1
    dataset = open_dataset(str(small_run.dataset), small_run.workspace)
    assert cache_status(dataset, asked.data, small_run.workspace) == ("fresh", [])


def test_an_unknown_name_stops_a_run_before_any_work(small_run: SmallRun) -> None:
    asked = override(small_run.config, {"data.detector.extra": "forest"})
    with pytest.raises(ConfigError, match="no detector 'forest'"):
        build_cache(asked.data, small_run.workspace)


def test_columns_of_further_scores_are_kept_and_checked(tmp_path: Path) -> None:
    from core.cache.predictions import write_predictions

    plain = FusionPredictionCache.from_arrays([0.1, 0.9, 0.2], [0.2, 0.8, 0.3], [0, 1, 0])
    table = plain.to_table().append_column("score:other", [np.array([0.5, 1.0, 0.0], np.float32)])
    write_predictions(tmp_path / "c.arrow", table, {})
    cache = FusionPredictionCache.load(tmp_path / "c.arrow")
    assert cache.extra_scores["other"].tolist() == [0.5, 1.0, 0.0]
    assert cache.select(np.array([2, 0])).extra_scores["other"].tolist() == [0.0, 0.5]
    assert cache.to_table().column("score:other").to_pylist() == [0.5, 1.0, 0.0]
    wrong = table.set_column(
        table.column_names.index("score:other"), "score:other", [np.array([0.5, 1.5, 0], "f4")]
    )
    write_predictions(tmp_path / "d.arrow", wrong, {})
    with pytest.raises(Exception, match="score:other must be a number in"):
        FusionPredictionCache.load(tmp_path / "d.arrow")


class TestPCA:
    def fit(self) -> PCADetector:
        lessons = [Lesson(c, c.taught) for c in captures()]
        return PCADetector.fit(lessons, config(), CPU)

    def test_it_tells_attacked_windows_of_an_unseen_capture(self) -> None:
        unseen = prepared("test_01/other", 80, slice(30, 60), seed=9)
        score = self.fit().score(unseen, CPU)[unseen.scored]
        label = unseen.store.y[unseen.scored]
        assert roc_auc_score(label, score) > 0.95
        assert (score[label == 0] >= 0.5).mean() < 0.1
        assert (score[label == 1] >= 0.5).mean() > 0.8
        assert ((score >= 0) & (score <= 1)).all()

    def test_attacked_windows_teach_it_nothing(self) -> None:
        lessons = [Lesson(c, c.taught) for c in captures()]
        clean = [Lesson(c, w[c.store.y[w] == 0]) for c, w in lessons]
        state, other = self.fit().state(), PCADetector.fit(clean, config(), CPU).state()
        assert all(np.array_equal(state[name], other[name]) for name in state)

    def test_a_state_that_lacks_something_is_refused(self, tmp_path: Path) -> None:
        from core.detectors.checkpoint import save_arrays

        state = self.fit().state()
        del state["plane"]
        save_arrays("pca", state, tmp_path / "pca.safetensors")
        with pytest.raises(CheckpointError, match="not what a pca detector learns"):
            protocol.restored("pca", tmp_path / "pca.safetensors")
