"""The whole way from capture files to compared methods, on a few seconds of traffic."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.cache.predictions import FusionPredictionCache
from core.cache.status import cache_status
from core.captures.dataset import open_dataset
from core.config import create_fusion_config, override
from core.detectors.checkpoint import weights_hash
from core.detectors.prepare import PreparedCapture
from core.detectors.stack import DetectorStack
from core.errors import (
    CaptureError,
    CheckpointError,
    ConfigError,
    DatasetError,
    JobStopped,
    StorageError,
)
from core.fusion.agent import FusionAgent
from core.graphs.profiles import saved_vehicles
from core.graphs.store import GraphStoreWriter
from core.pipeline import (
    build_cache,
    create_fusion_prediction_cache,
    graph_store,
    prepare,
    reproduce,
    train_detectors,
    train_fusion,
)
from core.workspace import Workspace
from tests.core.small_dataset import (
    ATTACKED,
    CLEAN,
    TEST_1,
    TEST_2,
    Recorder,
    SmallRun,
    recording,
    small_config,
    write,
)

METHODS = ["vgae", "gat", "fixed_alpha", "stacking", "fusion", "oracle"]
METRICS = [
    "accuracy",
    "precision",
    "recall",
    "f1",
    "mcc",
    "auroc",
    "auprc",
    "fpr",
    "tp",
    "fp",
    "tn",
    "fn",
]
SCENARIO = ["windows", "attack_windows", "methods"]


def go(
    dataset: Path, folder: Path, recorder: Recorder | None = None, **changes: Any
) -> dict[str, Any]:
    """The whole way in a workspace of its own."""
    config = small_config(dataset, **changes)
    return train_fusion(config, Workspace(folder / "workspace"), folder / "run", recorder)


def weights(workspace: Workspace, dataset: Path, protocol: str = "commissioned") -> list[str]:
    """Hashes of all detectors of a data set."""
    stack = DetectorStack.load(workspace.detectors(dataset.name, protocol))
    return [
        weights_hash(model)
        for detectors in (stack.final, *stack.folds)
        for model in (detectors.vgae, detectors.gat)
        if model is not None
    ]


def assert_metrics(measured: dict[str, Any], windows: int) -> None:
    assert list(measured) == METRICS
    assert sum(measured[name] for name in ("tp", "fp", "tn", "fn")) == windows
    rates = (measured[name] for name in METRICS[:8])
    assert all(rate is None or -1 <= rate <= 1 for rate in rates)


class TestOutputs:
    def test_results_have_the_agreed_keys(self, shared_run: SmallRun) -> None:
        results = shared_run.results
        assert json.loads((shared_run.run_dir / "results.json").read_text()) == results
        assert {"protocol", "seed", "device", "seconds", "scenarios"} <= set(results)
        assert {"validation", "dataset", "simulated", "warnings"} <= set(results)
        about = {name: results[name] for name in ("protocol", "seed", "device", "dataset")}
        assert about == {
            "protocol": "commissioned", "seed": 0, "device": "cpu", "dataset": "small",
        }  # fmt: skip
        assert results["simulated"] is False
        assert list(results["seconds"]) == ["graphs", "detectors", "cache", "fusion", "compare"]
        assert list(results["scenarios"]) == [TEST_1, TEST_2]
        for scenario in (results["validation"], *results["scenarios"].values()):
            assert set(scenario) >= {*SCENARIO, "commissioning_windows", "captures"}
            assert list(scenario["methods"]) == METHODS
            parts = scenario["captures"].values()
            for part in (scenario, *parts):
                assert set(part) >= {*SCENARIO, "intervals", "fusion_gain"}
                for measured in part["methods"].values():
                    assert_metrics(measured, part["windows"])
            assert sum(p["windows"] for p in parts) == scenario["windows"]
            assert sum(p["attack_windows"] for p in parts) == scenario["attack_windows"]
        test_1 = results["scenarios"][TEST_1]
        assert sorted(test_1["captures"]) == ["DoS-b.csv", "fuzzing-a.csv"]
        assert test_1["commissioning_windows"] == 20
        # Stacking is no weighted mean of the two scores: the oracle does not bound it.
        bounded = set(METHODS) - {"oracle", "stacking"}
        assert test_1["methods"]["oracle"]["accuracy"] >= max(
            test_1["methods"][name]["accuracy"] for name in bounded
        )

    def test_windows_of_test_folders_are_all_counted(self, shared_run: SmallRun) -> None:
        """Whole windows of the captures, less ten that commission each one."""
        expected = sum(
            len(recording(vehicle, attack=attack, seed=seed)) // 100 - 10
            for vehicle, attack, seed in ((1, "DoS", 5), (0, "fuzzing", 6))
        )
        assert shared_run.results["scenarios"][TEST_1]["windows"] == expected

    def test_a_folder_without_attacks_is_measured_as_far_as_can_be(
        self, shared_run: SmallRun
    ) -> None:
        measured = shared_run.results["scenarios"][TEST_2]["methods"]["fusion"]
        assert measured["auroc"] is None
        assert measured["recall"] is None
        assert measured["fpr"] is not None
        assert any(TEST_2 in warning for warning in shared_run.results["warnings"])

    def test_all_files_are_written(self, shared_run: SmallRun) -> None:
        assert sorted(p.name for p in shared_run.run_dir.iterdir()) == [
            "agent.pth",
            "config.json",
            "policy.npy",
            "policy_epochs.arrow",
            "policy_map.arrow",
            "predictions.arrow",
            "results.json",
            "summary.json",
        ]
        space, name = shared_run.workspace, "small"
        kept = json.loads((shared_run.run_dir / "config.json").read_text())
        assert override(create_fusion_config(), kept) == shared_run.config
        policy = np.load(shared_run.run_dir / "policy.npy", allow_pickle=False)
        assert policy.shape == (8, 8)
        np.testing.assert_array_equal(policy, np.load(space.policy(name)))
        assert len(pd.read_feather(shared_run.run_dir / "policy_map.arrow")) == 64
        epochs = pd.read_feather(shared_run.run_dir / "policy_epochs.arrow")
        assert epochs["epoch"].tolist() == [0, 1]
        assert epochs["alpha"].map(len).tolist() == [64, 64]
        agent = FusionAgent.load(space.agent(name))
        alpha = agent.alpha(np.array([0.2]), np.array([0.9]))
        assert 0 <= alpha[0] <= 1
        own = FusionAgent.load(shared_run.run_dir / "agent.pth")
        np.testing.assert_array_equal(own.alpha([0.2], [0.9]), alpha)
        assert list(space.checkpoints(name).glob("*.ckpt"))
        (version,) = (space.logs / "fusion_small").iterdir()
        names = {p.name for p in version.iterdir()}
        assert {"metrics.csv", "hparams.yaml"} <= names
        assert any(n.startswith("events.out.tfevents") for n in names)

    def test_predictions_hold_what_was_counted(self, shared_run: SmallRun) -> None:
        table = pd.read_feather(shared_run.run_dir / "predictions.arrow")
        for name, scenario in shared_run.results["scenarios"].items():
            rows = table[table.split == name]
            assert len(rows) == scenario["windows"]
            fused = (1 - rows.alpha) * rows.anomaly_score + rows.alpha * rows.gat_prob
            np.testing.assert_allclose(rows.fused, fused, atol=1e-5)
            found = scenario["methods"]["fusion"]
            assert int(((rows.fused >= 0.5) & (rows.label == 1)).sum()) == found["tp"]
            assert int(((rows.fused >= 0.5) & (rows.label == 0)).sum()) == found["fp"]

    def test_steps_are_reported_by_their_names(self, shared_run: SmallRun) -> None:
        steps = ["graphs", "vgae", "gat", "cache", "fusion", "compare"]
        assert shared_run.recorder.steps == steps
        curves = {"vgae", "vgae fold 1", "vgae fold 2", "gat", "gat fold 1", "fusion"}
        assert curves <= set(shared_run.recorder.curves)


def without_seconds(results: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in results.items() if name != "seconds"}


class TestRepetition:
    def test_a_second_run_uses_what_is_there(self, small_run: SmallRun, tmp_path: Path) -> None:
        recorder = Recorder()
        again = train_fusion(small_run.config, small_run.workspace, tmp_path / "run", recorder)
        assert not recorder.trained_detectors
        assert recorder.steps == ["fusion", "compare"]
        assert any("prediction cache is fresh" in message for message in recorder.messages)
        assert without_seconds(again) == without_seconds(small_run.results)
        versions = small_run.workspace.logs / "fusion_small"
        assert sorted(p.name for p in versions.iterdir()) == ["version_0", "version_1"]

    def test_the_same_seed_gives_the_same_results(
        self, shared_run: SmallRun, tmp_path: Path
    ) -> None:
        again = go(shared_run.dataset, tmp_path)
        assert without_seconds(again) == without_seconds(shared_run.results)
        policy = np.load(tmp_path / "run" / "policy.npy")
        np.testing.assert_array_equal(policy, np.load(shared_run.run_dir / "policy.npy"))

    def test_another_seed_of_the_detectors_trains_anew(self, small_run: SmallRun) -> None:
        before = weights(small_run.workspace, small_run.dataset)
        recorder = Recorder()
        config = override(small_run.config, {"data.detector.seed": 1})
        build_cache(config.data, small_run.workspace, recorder)
        assert recorder.trained_detectors
        after = weights(small_run.workspace, small_run.dataset)
        assert all(a != b for a, b in zip(before, after, strict=True))
        assert any("settings: seed changed" in message for message in recorder.messages)

    def test_damaged_detectors_are_trained_anew(self, small_run: SmallRun) -> None:
        before = weights(small_run.workspace, small_run.dataset)
        folder = small_run.workspace.detectors("small", "commissioned")
        (folder / "fold_0" / "gat.safetensors").unlink()
        (folder / "final" / "vgae.safetensors").write_bytes(b"junk")
        recorder = Recorder()
        build_cache(small_run.config.data, small_run.workspace, recorder)
        assert any("detectors are corrupt" in message for message in recorder.messages)
        assert weights(small_run.workspace, small_run.dataset) == before

    def test_folders_of_one_name_do_not_take_turns(self, small_run: SmallRun) -> None:
        first, workspace = small_run.config.data, small_run.workspace
        second = override(
            first, {"dataset": str(small_run.dataset.parent / "other" / small_run.dataset.name)}
        )
        for key, seed in ((f"{CLEAN}/a.csv", 60), (f"{CLEAN}/b.csv", 61), (f"{TEST_1}/c.csv", 62)):
            write(Path(second.dataset), key, recording(0, 2.0, seed=seed))
        for data in (first, second, first):
            cache = build_cache(data, workspace)
            dataset = open_dataset(data.dataset, workspace)
            assert cache.metadata["dataset"] == dataset.name
            assert set(cache.capture_names) <= {capture.key for capture in dataset.captures}
        for data in (first, second):
            dataset = open_dataset(data.dataset, workspace)
            assert cache_status(dataset, data, workspace) == ("fresh", [])

    def test_damaged_graphs_are_built_anew(self, small_run: SmallRun) -> None:
        capture = open_dataset(str(small_run.dataset), small_run.workspace).train[0]
        window = small_run.config.data.detector.window
        whole = graph_store(capture, window, small_run.workspace)
        assert whole is not None
        for file in small_run.workspace.graphs.glob("*/x.npy"):
            file.write_bytes(b"junk")
        again = graph_store(capture, window, small_run.workspace)
        assert again is not None
        assert len(again) == len(whole)
        assert np.isfinite(again.x).all()

    def test_graphs_are_kept_by_content_and_window(self, small_run: SmallRun) -> None:
        capture = open_dataset(str(small_run.dataset), small_run.workspace).train[0]
        window = small_run.config.data.detector.window
        before = set(small_run.workspace.graphs.iterdir())
        moved = dataclasses.replace(capture, path=Path("gone"))
        assert graph_store(moved, window, small_run.workspace) is not None  # not read again
        assert set(small_run.workspace.graphs.iterdir()) == before
        half = graph_store(capture, override(window, {"size": 50}), small_run.workspace)
        assert half is not None
        assert half.end_time[0] < graph_store(capture, window, small_run.workspace).end_time[0]  # type: ignore[union-attr]


class TestTestFoldersAreOnlyForTesting:
    def test_they_change_neither_detectors_nor_agent(
        self, shared_run: SmallRun, small_run: SmallRun, tmp_path: Path
    ) -> None:
        write(small_run.dataset, f"{TEST_1}/DoS-b.csv", recording(2, 2.0, "spoofing", seed=50))
        write(small_run.dataset, f"{TEST_2}/more.csv", recording(3, 2.0, "replay", seed=51))
        folder = tmp_path / "new"
        results = go(small_run.dataset, folder)
        workspace = Workspace(folder / "workspace")
        assert weights(workspace, small_run.dataset) == weights(
            shared_run.workspace, shared_run.dataset
        )
        policy = np.load(folder / "run" / "policy.npy")
        np.testing.assert_array_equal(policy, np.load(shared_run.run_dir / "policy.npy"))
        assert results["validation"] == shared_run.results["validation"]
        for name in ("fixed_alpha", "stacking"):
            assert results[name] == shared_run.results[name]
        assert results["scenarios"][TEST_1] != shared_run.results["scenarios"][TEST_1]
        captures = results["scenarios"][TEST_1]["captures"]
        unchanged = shared_run.results["scenarios"][TEST_1]["captures"]
        assert captures["fuzzing-a.csv"] == unchanged["fuzzing-a.csv"]

    @pytest.mark.parametrize("protocol", ["commissioned", "zero-shot"])
    def test_their_labels_do_not_change_their_scores(
        self, small_run: SmallRun, protocol: str
    ) -> None:
        frames = recording(1, attack="DoS", seed=5)
        label = np.zeros_like(frames.label)
        label[: len(label) // 3] = 1  # of the commissioning windows too
        relabelled = dataclasses.replace(
            frames, label=label, attack=np.where(label, 0, -1).astype(np.int16)
        )
        data = override(small_run.config, {"data.detector.protocol": protocol}).data
        before = build_cache(data, small_run.workspace).by_split()[TEST_1]
        write(small_run.dataset, f"{TEST_1}/DoS-b.csv", relabelled)
        recorder = Recorder()
        after = build_cache(data, small_run.workspace, recorder).by_split()[TEST_1]
        assert not recorder.trained_detectors
        assert before.window.tolist() == after.window.tolist()
        np.testing.assert_array_equal(before.anomaly_score, after.anomaly_score)
        np.testing.assert_array_equal(before.gat_prob, after.gat_prob)
        assert before.label.tolist() != after.label.tolist()

    def test_zero_shot_looks_only_back(self, small_run: SmallRun) -> None:
        data = override(small_run.config, {"data.detector.protocol": "zero-shot"}).data
        frames = recording(1, attack="DoS", seed=5)
        other = recording(2, 4.0, seed=60)
        half = len(frames) // 200 * 100
        changed = dataclasses.replace(
            frames,
            **{
                name: np.concatenate([getattr(frames, name)[:half], getattr(other, name)[:2000]])
                for name in (
                    "timestamp", "arbitration_id", "flags", "length", "payload", "label", "attack",
                )
            },
        )  # fmt: skip
        key = f"{TEST_1}/DoS-b.csv"
        caches = []
        for capture in (frames, changed):
            write(small_run.dataset, key, capture)
            caches.append(build_cache(data, small_run.workspace).by_capture()[key])
        before, after = (cache.select(cache.window < half // 100) for cache in caches)
        assert len(before) == half // 100  # every window is scored
        np.testing.assert_allclose(before.anomaly_score, after.anomaly_score, atol=1e-5)
        np.testing.assert_allclose(before.gat_prob, after.gat_prob, atol=1e-5)


class TestGivenDetectors:
    def given(self, run: SmallRun, name: str, fold: str = "final") -> str:
        folder = run.workspace.detectors("small", "commissioned")
        return str(folder / fold / f"{name}.safetensors")

    def test_both_given_nothing_is_trained(self, shared_run: SmallRun, tmp_path: Path) -> None:
        recorder = Recorder()
        results = go(
            shared_run.dataset,
            tmp_path,
            recorder,
            data__autoencoder=self.given(shared_run, "vgae"),
            data__classifier=self.given(shared_run, "gat"),
        )
        assert not recorder.trained_detectors
        assert any("not cross-fitted" in warning for warning in results["warnings"])
        # The final detectors score test folders, given or not.
        for name in ("vgae", "gat"):
            for test in (TEST_1, TEST_2):
                assert (
                    results["scenarios"][test]["methods"][name]
                    == shared_run.results["scenarios"][test]["methods"][name]
                )
        again = Recorder()
        train_fusion(
            small_config(
                shared_run.dataset,
                data__autoencoder=self.given(shared_run, "vgae"),
                data__classifier=self.given(shared_run, "gat"),
            ),
            Workspace(tmp_path / "workspace"),
            tmp_path / "run2",
            again,
        )
        assert again.steps == ["fusion", "compare"]

    @pytest.mark.parametrize("which", ["autoencoder", "classifier"])
    def test_one_given_replaces_its_kind(self, small_run: SmallRun, which: str) -> None:
        kind, column = {
            "autoencoder": ("vgae", "anomaly_score"),
            "classifier": ("gat", "gat_prob"),
        }[which]
        given = {f"data.{which}": self.given(small_run, kind, "fold_1")}
        before = build_cache(small_run.config.data, small_run.workspace)
        recorder = Recorder()
        data = override(small_run.config, given).data
        after = build_cache(data, small_run.workspace, recorder)
        assert not recorder.trained_detectors
        assert any("not cross-fitted" in warning for warning in after.metadata["warnings"])
        same = getattr(before, column) == getattr(after, column)
        assert same[before.fold == 1].all()  # scored by that very detector before
        assert not same[before.fold == -1].all()
        other = "gat_prob" if column == "anomaly_score" else "anomaly_score"
        np.testing.assert_array_equal(getattr(before, other), getattr(after, other))

    def test_a_missing_or_wrong_one_is_refused_before_work(
        self, shared_run: SmallRun, tmp_path: Path
    ) -> None:
        recorder = Recorder()
        with pytest.raises(CheckpointError, match="nowhere"):
            go(shared_run.dataset, tmp_path, recorder, data__autoencoder="nowhere")
        assert recorder.steps == []
        with pytest.raises(CheckpointError, match="expected a VGAE"):
            go(
                shared_run.dataset,
                tmp_path,
                recorder,
                data__autoencoder=self.given(shared_run, "gat"),
            )
        assert not recorder.trained_detectors


class TestUnusualDatasets:
    def test_without_attacks_the_gat_is_undecided_and_it_is_said(self, tmp_path: Path) -> None:
        root = tmp_path / "clean"
        write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
        write(root, f"{CLEAN}/b.csv", recording(1, seed=2))
        write(root, f"{TEST_1}/DoS.csv", recording(1, attack="DoS", seed=5))
        recorder = Recorder()
        results = go(root, tmp_path, recorder)
        assert any("GAT could not be trained" in warning for warning in results["warnings"])
        assert any("stacking was not learnt" in warning for warning in results["warnings"])
        assert any("no attacked window to learn from" in m for m in recorder.messages)
        cache = FusionPredictionCache.load(
            Workspace(tmp_path / "workspace").prediction_cache("clean", "commissioned")
        )
        assert (cache.gat_prob == 0.5).all()
        assert results["scenarios"][TEST_1]["methods"]["vgae"]["auroc"] is not None

    def test_without_test_folders(self, tmp_path: Path) -> None:
        root = tmp_path / "train_only"
        write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
        write(root, f"{ATTACKED}/DoS.csv", recording(0, attack="DoS", seed=3))
        results = go(root, tmp_path)
        assert results["scenarios"] == {}
        assert results["validation"]["attack_windows"] > 0

    def test_a_single_attacked_capture(self, tmp_path: Path) -> None:
        root = tmp_path / "one"
        write(root, f"{ATTACKED}/DoS.csv", recording(0, attack="DoS", seed=3))
        results = go(root, tmp_path)
        assert results["validation"]["windows"] > 0

    def test_attacked_from_the_first_frame(self, tmp_path: Path) -> None:
        root = tmp_path / "early"
        write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
        write(root, f"{CLEAN}/b.csv", recording(1, seed=2))
        burst = (0.0, 1.0)
        write(root, f"{ATTACKED}/DoS.csv", recording(0, 2.0, "DoS", burst, seed=3))
        write(root, f"{ATTACKED}/fuzzing.csv", recording(1, 3.0, "fuzzing", seed=3))
        write(root, f"{TEST_1}/DoS.csv", recording(1, 2.0, "DoS", burst, seed=5))
        results = go(root, tmp_path)
        scenario = results["scenarios"][TEST_1]
        assert scenario["attack_windows"] == scenario["windows"] > 0
        assert scenario["methods"]["fusion"]["fpr"] is None
        cache = FusionPredictionCache.load(
            Workspace(tmp_path / "workspace").prediction_cache("early", "commissioned")
        )
        # Nothing in it is clean, so that nothing of it is spent on a profile.
        attacked = cache.by_capture()[f"{ATTACKED}/DoS.csv"]
        assert attacked.window[0] == 0
        assert attacked.label.all()

    def test_a_test_capture_that_starts_under_attack_is_told(self, tmp_path: Path) -> None:
        root = tmp_path / "start"
        write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
        write(root, f"{ATTACKED}/DoS.csv", recording(0, attack="DoS", seed=3))
        write(root, f"{ATTACKED}/fuzzing.csv", recording(1, attack="fuzzing", seed=4))
        start = (0.0, 0.5)
        write(root, f"{TEST_1}/known.csv", recording(0, 2.0, "malfunction", start, seed=5))
        write(root, f"{TEST_2}/unknown.csv", recording(2, 2.0, "malfunction", start, seed=6))
        results = go(root, tmp_path)
        (known,) = (w for w in results["warnings"] if f"{TEST_1}/known.csv: " in w)
        assert "10 of the first 10 windows look attacked" in known
        assert "the profile of start-vehicle-1 is used" in known
        (unknown,) = (w for w in results["warnings"] if f"{TEST_2}/unknown.csv: " in w)
        assert "no known vehicle has its ids" in unknown
        assert any(
            "No vehicle in the training" in w and "unknown.csv" in w for w in results["warnings"]
        )
        # What is left out of the score is as with a clean start.
        for folder in (TEST_1, TEST_2):
            assert results["scenarios"][folder]["commissioning_windows"] == 10
        vehicles, problems = saved_vehicles(Workspace(tmp_path / "workspace").profiles)
        assert [v.name for v in vehicles] == ["start-vehicle-1", "start-vehicle-2"]
        assert [set(v.captures) for v in vehicles] == [
            {f"{CLEAN}/a.csv"},
            {f"{ATTACKED}/fuzzing.csv"},
        ]
        assert problems == []

    @pytest.mark.parametrize("protocol", ["commissioned", "zero-shot"])
    def test_short_captures(self, tmp_path: Path, protocol: str) -> None:
        root = tmp_path / "short"
        write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
        write(root, f"{CLEAN}/tiny.csv", first(recording(1, seed=2), 99))
        write(root, f"{ATTACKED}/DoS.csv", recording(0, attack="DoS", seed=3))
        write(root, f"{ATTACKED}/fuzzing.csv", recording(1, attack="fuzzing", seed=4))
        write(root, f"{TEST_1}/one_window.csv", first(recording(0, seed=6), 150))
        write(root, f"{TEST_1}/three_windows.csv", first(recording(1, seed=7), 300))
        write(root, f"{TEST_2}/tiny.csv", first(recording(0, seed=8), 50))
        recorder = Recorder()
        results = go(root, tmp_path, recorder, data__detector__protocol=protocol)
        for key in (f"{CLEAN}/tiny.csv", f"{TEST_2}/tiny.csv"):
            assert any(key in w and "shorter than one window" in w for w in results["warnings"])
        assert results["scenarios"][TEST_2]["windows"] == 0
        assert results["scenarios"][TEST_2]["methods"]["fusion"]["f1"] is None
        captures = results["scenarios"][TEST_1]["captures"]
        counts = {name: part["windows"] for name, part in captures.items()}
        too_short = [w for w in results["warnings"] if "commission" in w]
        if protocol == "zero-shot":
            assert too_short == []
            assert counts == {"one_window.csv": 1, "three_windows.csv": 3}
        else:
            # One window commissions; there is none left of the first capture.
            assert counts == {"one_window.csv": 0, "three_windows.csv": 2}
            assert results["scenarios"][TEST_1]["commissioning_windows"] == 2
            assert len(too_short) == 1
            assert f"{TEST_1}/one_window.csv" in too_short[0]

    def test_only_short_captures_to_train_on(self, tmp_path: Path) -> None:
        root = tmp_path / "short"
        write(root, f"{CLEAN}/a.csv", first(recording(0, seed=1), 99))
        write(root, f"{TEST_1}/a.csv", recording(0, seed=2))
        with pytest.raises(DatasetError, match="at least one window of 100 frames"):
            go(root, tmp_path)

    def test_only_attacked_windows_to_train_on(self, tmp_path: Path) -> None:
        root = tmp_path / "attacked"
        for number in range(2):
            frames = recording(number, 2.0, "DoS", (0.0, 1.0), seed=number)
            write(root, f"{ATTACKED}/DoS-{number}.csv", all_attacked(frames))
        with pytest.raises(DatasetError, match="no attack-free window"):
            go(root, tmp_path)

    def test_zero_shot_scores_every_window(self, small_dataset: Path, tmp_path: Path) -> None:
        results = go(small_dataset, tmp_path, data__detector__protocol="zero-shot")
        assert results["protocol"] == "zero-shot"
        scenario = results["scenarios"][TEST_1]
        assert scenario["commissioning_windows"] == 0
        expected = len(recording(1, attack="DoS", seed=5)) // 100
        assert scenario["captures"]["DoS-b.csv"]["windows"] == expected


def first(frames: Any, count: int) -> Any:
    """The first frames of a capture."""
    columns = ("timestamp", "arbitration_id", "flags", "length", "payload", "label", "attack")
    return dataclasses.replace(frames, **{n: getattr(frames, n)[:count] for n in columns})


def all_attacked(frames: Any) -> Any:
    return dataclasses.replace(
        frames, label=np.ones_like(frames.label), attack=np.zeros_like(frames.attack)
    )


class TestFailures:
    def test_a_stop_keeps_what_was_saved(self, small_run: SmallRun, tmp_path: Path) -> None:
        class Stop(Recorder):
            def check(self) -> None:
                if "vgae" in self.steps:
                    raise JobStopped("stopped")

        before = weights(small_run.workspace, small_run.dataset)
        path = small_run.workspace.prediction_cache("small", "commissioned")
        old = path.read_bytes()
        config = override(small_run.config, {"data.detector.seed": 8})
        with pytest.raises(JobStopped):
            train_fusion(config, small_run.workspace, tmp_path / "run", Stop())
        assert weights(small_run.workspace, small_run.dataset) == before
        assert path.read_bytes() == old
        assert list((tmp_path / "run").iterdir()) == []

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (OSError(28, "No space left on device"), "No space left on device"),
            # As numpy says it.
            (OSError("100 requested and 20 written"), "is there space left"),
        ],
    )
    def test_no_space_for_graphs_is_said(
        self,
        shared_run: SmallRun,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        error: OSError,
        expected: str,
    ) -> None:
        def full(*args: Any, **kwargs: Any) -> None:
            raise error

        monkeypatch.setattr(GraphStoreWriter, "append", full)
        with pytest.raises(StorageError, match=expected):
            go(shared_run.dataset, tmp_path)
        assert list((tmp_path / "workspace" / "graphs").iterdir()) == []

    def test_a_missing_device_is_said_before_work(
        self, shared_run: SmallRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        for name in ("training__device", "data__detector__device"):
            recorder = Recorder()
            with pytest.raises(ConfigError, match="cuda"):
                go(shared_run.dataset, tmp_path, recorder, **{name: "cuda"})
            assert recorder.steps == []


class TestParts:
    def test_detectors_alone(self, small_run: SmallRun, tmp_path: Path) -> None:
        workspace = Workspace(tmp_path / "other")
        folder = train_detectors(small_run.config.data, workspace)
        assert sorted(p.name for p in folder.iterdir()) == [
            "detectors.json",
            "final",
            "fold_0",
            "fold_1",
        ]
        assert weights(workspace, small_run.dataset) == weights(
            small_run.workspace, small_run.dataset
        )
        recorder = Recorder()
        build_cache(small_run.config.data, workspace, recorder)
        assert not recorder.trained_detectors

    def test_a_cache_by_settings(self, small_run: SmallRun) -> None:
        detector = dataclasses.asdict(small_run.config.data.detector)
        recorder = Recorder()
        cache = create_fusion_prediction_cache(
            str(small_run.dataset), small_run.workspace, recorder, detector=detector
        )
        assert not recorder.trained_detectors
        assert cache.metadata["dataset"] == "small"
        with pytest.raises(ConfigError, match="nonsense"):
            create_fusion_prediction_cache(str(small_run.dataset), small_run.workspace, nonsense=1)

    def test_reproduce_takes_a_folder_named_like_the_demo(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []

        def spy(config: Any, workspace: Workspace, out: Path, reporter: Any) -> dict[str, Any]:
            seen.append(config.data.dataset)
            assert workspace.root == out / "workspace"
            assert config.data.detector.protocol == "zero-shot"
            assert (config.data.detector.seed, config.training.seed) == (5, 5)
            assert (config.data.detector.device, config.training.device) == ("cpu", "cpu")
            return {}

        monkeypatch.setattr("core.pipeline.train_fusion", spy)
        monkeypatch.chdir(tmp_path)
        (tmp_path / "demo").mkdir()
        reproduce("demo", tmp_path / "out", "zero-shot", "cpu", 5)
        assert seen == [str(tmp_path / "demo")]


class TestJobs:
    def prepared(
        self, root: Path, folder: Path, recorder: Recorder, **settings: Any
    ) -> list[PreparedCapture]:
        config = small_config(root, **settings).data
        workspace = Workspace(folder)
        captures, _ = prepare(
            open_dataset(str(root), workspace).captures, config, workspace, recorder
        )
        return captures

    def test_any_number_of_jobs_gives_the_same(self, small_dataset: Path, tmp_path: Path) -> None:
        one = self.prepared(small_dataset, tmp_path / "one", Recorder())
        for backend in ("loky", "threading"):
            recorder = Recorder()
            settings = {"data__jobs": 2, "data__backend": backend}
            two = self.prepared(small_dataset, tmp_path / backend, recorder, **settings)
            assert recorder.steps == ["graphs"]
            assert [c.key for c in two] == [c.key for c in one]
            for a, b in zip(one, two, strict=True):
                np.testing.assert_array_equal(a.store.x, b.store.x)
                np.testing.assert_array_equal(a.relative.x, b.relative.x)

    def test_jobs_are_no_part_of_what_makes_a_cache_stale(self, shared_run: SmallRun) -> None:
        config = override(shared_run.config, {"data.jobs": 3, "data.backend": "threading"}).data
        dataset = open_dataset(str(shared_run.dataset), shared_run.workspace)
        assert cache_status(dataset, config, shared_run.workspace) == ("fresh", [])

    def test_an_unknown_back_end_is_refused(self, small_dataset: Path, tmp_path: Path) -> None:
        settings = {"data__jobs": 2, "data__backend": "nowhere"}
        with pytest.raises(ConfigError, match="no joblib back end 'nowhere'"):
            self.prepared(small_dataset, tmp_path, Recorder(), **settings)

    def test_a_capture_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        root = tmp_path / "damaged"
        write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
        (root / CLEAN / "junk.csv").write_bytes(bytes(range(256)) * 20)
        with pytest.raises(CaptureError, match=r"junk\.csv"):
            self.prepared(root, tmp_path / "workspace", Recorder(), data__jobs=2)

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_a_stop_ends_the_other_jobs(
        self, small_dataset: Path, tmp_path: Path, backend: str
    ) -> None:
        class Stopping(Recorder):
            def progress(self, step: str, fraction: float, message: str = "") -> None:
                if fraction > 0:
                    raise JobStopped("stopped")

        settings = {"data__jobs": 2, "data__backend": backend}
        with pytest.raises(JobStopped):
            self.prepared(small_dataset, tmp_path, Stopping(), **settings)
