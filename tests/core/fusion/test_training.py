"""The trainer learns what can be learnt, repeats and resumes exactly, and keeps what it saved."""

import csv
import signal
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import cache as cached
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from core.cache.predictions import FusionPredictionCache
from core.config import FusionConfig, override
from core.errors import CheckpointError, ConfigError, JobStopped, ScoresError, StorageError
from core.fusion.reward import fuse
from core.fusion.training import TrainedAgent, train_agent
from core.progress import SilentReporter
from tests.core.fusion.caches import (
    each_right_in_half,
    gat_right,
    small_config,
    useless,
    vgae_right,
)

KEYS = {
    "epoch",
    "updates",
    "train_loss",
    "train_reward",
    "val_reward",
    "val_accuracy",
    "val_f1",
    "epsilon",
    "alpha_mean",
    "alpha_std",
    "q_spread",
    "gap_closed",
}


class Recorder(SilentReporter):
    """Keeps what it is told, and asks to stop at the given check."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.points: list[dict[str, float]] = []
        self.fractions: list[float] = []
        self.logs: list[str] = []
        self.checks = 0
        self.stop_at = stop_at

    def log(self, message: str) -> None:
        self.logs.append(message)

    def metrics(self, step: str, values: Mapping[str, float]) -> None:
        assert step == "fusion"
        self.points.append(dict(values))

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        self.fractions.append(fraction)

    def check(self) -> None:
        self.checks += 1
        if self.checks == self.stop_at:
            raise JobStopped("stop")


def train_on(
    scores: FusionPredictionCache, config: FusionConfig, **options: Any
) -> tuple[TrainedAgent, FusionPredictionCache]:
    train, validation = scores.train_validation_split(0.25, config.training.seed)
    return train_agent(train, validation, config, **options), validation


@cached
def learnt(table: Callable[[], FusionPredictionCache], **agent: Any) -> TrainedAgent:
    config = override(small_config(), {"agent": agent})
    return train_on(table(), config)[0]


def verdicts(trained: TrainedAgent, scores: FusionPredictionCache) -> np.ndarray:
    alpha = trained.agent.alpha(scores.anomaly_score, scores.gat_prob)
    return fuse(scores.anomaly_score, scores.gat_prob, alpha) >= 0.5


def accuracy(trained: TrainedAgent, scores: FusionPredictionCache) -> float:
    return float(np.mean(verdicts(trained, scores) == (scores.label == 1)))


def same_weights(first: TrainedAgent, second: TrainedAgent) -> bool:
    other = second.agent.q_network.state_dict()
    return all(
        torch.equal(value, other[name])
        for name, value in first.agent.q_network.state_dict().items()
    )


@pytest.mark.parametrize("table", [gat_right, vgae_right])
@pytest.mark.parametrize("mode", ["all_actions", "sampled"])
def test_the_detector_that_is_always_right_is_followed(
    table: Callable[..., FusionPredictionCache], mode: str
) -> None:
    trained = learnt(table, update_mode=mode)
    assert accuracy(trained, table(seed=99)) >= 0.985
    assert trained.reward_best_single == trained.reward_oracle == 1.0
    assert trained.gap_closed is None


@pytest.mark.parametrize("mode", ["all_actions", "sampled"])
def test_where_each_is_right_in_half_of_the_plane_fusion_beats_every_fixed_alpha(mode: str) -> None:
    trained, fresh = learnt(each_right_in_half, update_mode=mode), each_right_in_half(seed=99)
    fixed = max(
        np.mean((fuse(fresh.anomaly_score, fresh.gat_prob, alpha) >= 0.5) == (fresh.label == 1))
        for alpha in np.linspace(0, 1, 21)
    )
    assert fixed < 0.8
    assert accuracy(trained, fresh) >= 0.97
    assert trained.gap_closed is not None
    assert trained.gap_closed > 0.9
    assert trained.alpha_std > 0.1


def test_both_ways_to_update_come_to_the_same_verdicts() -> None:
    fresh = each_right_in_half(seed=99)
    one, other = (learnt(each_right_in_half, update_mode=m) for m in ("all_actions", "sampled"))
    assert np.mean(verdicts(one, fresh) == verdicts(other, fresh)) >= 0.97


@pytest.mark.parametrize("mode", ["all_actions", "sampled"])
def test_the_greedy_policy_does_not_depend_on_gamma(mode: str) -> None:
    fresh = each_right_in_half(seed=99)
    one, other = (learnt(each_right_in_half, update_mode=mode, gamma=gamma) for gamma in (0.0, 0.9))
    assert np.mean(verdicts(one, fresh) == verdicts(other, fresh)) >= 0.96


def test_useless_scores_bring_no_gain() -> None:
    trained = learnt(useless)
    assert accuracy(trained, useless(seed=99)) == pytest.approx(0.5, abs=0.05)


def test_costs_decide_where_labels_are_a_matter_of_chance() -> None:
    # Same scores, attacked in 3 windows of 10: calling it pays only if misses are dear.
    # Mean rewards with miss cost 1: benign .7 - .3, attack .3 - .7; with 10: .7 - 3, .3 - .7.
    rng = np.random.default_rng(0)
    label = rng.random(4000) < 0.3
    scores = FusionPredictionCache.from_arrays(np.full(4000, 0.2), np.full(4000, 0.9), label)
    for miss_cost, expected in ((1.0, False), (10.0, True)):
        config = override(small_config(max_epochs=5), {"agent.miss_cost": miss_cost})
        trained, validation = train_on(scores, config)
        assert set(verdicts(trained, validation)) == {expected}


def test_same_seed_twice_is_equal_and_another_seed_is_not() -> None:
    # Something else draws from torch's global generator in between.
    first, _ = train_on(gat_right(), small_config(max_epochs=3))
    torch.rand(17)
    again, _ = train_on(gat_right(), small_config(max_epochs=3))
    other, _ = train_on(gat_right(), small_config(max_epochs=3, seed=1))
    assert same_weights(first, again)
    assert not same_weights(first, other)
    assert first.history == again.history


@pytest.mark.parametrize("mode", ["all_actions", "sampled"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, mode: str) -> None:
    scores = each_right_in_half(2000)
    config = override(
        small_config(max_epochs=6, updates_per_epoch=20),
        {"agent": {"update_mode": mode, "gamma": 0.5, "target_update": 30, "buffer_size": 3000}},
    )
    whole, _ = train_on(scores, config)
    first_half = override(config, {"training.max_epochs": 3})
    train_on(scores, first_half, checkpoints=tmp_path)
    recorder = Recorder()
    resumed, _ = train_on(
        scores,
        override(config, {"training.resume_from": str(tmp_path / "last.ckpt")}),
        reporter=recorder,
    )
    assert [point["epoch"] for point in recorder.points] == [3, 4, 5]
    assert resumed.updates == whole.updates == 120
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.history == whole.history[3:]
    assert same_weights(resumed, whole)


def test_a_finished_run_resumed_gives_its_best_agent(tmp_path: Path) -> None:
    config = small_config(max_epochs=3, updates_per_epoch=20)
    whole, _ = train_on(gat_right(), config, checkpoints=tmp_path)
    config = override(config, {"training.resume_from": str(tmp_path / "last.ckpt")})
    resumed, _ = train_on(gat_right(), config)
    assert resumed.history == []
    assert same_weights(resumed, whole)


def test_the_best_epoch_is_restored() -> None:
    recorder = Recorder()
    config = override(small_config(updates_per_epoch=3), {"agent.fusion_lr": 0.03})
    trained, _ = train_on(each_right_in_half(), config, reporter=recorder)
    rewards = [point["val_reward"] for point in recorder.points]
    assert trained.reward == pytest.approx(max(rewards))
    assert rewards[trained.best_epoch] == max(rewards)


def test_checkpoints_and_logs_lie_where_promised(tmp_path: Path) -> None:
    recorder = Recorder()
    config = small_config(max_epochs=5, updates_per_epoch=20, save_top_k=2)
    folders = {"checkpoints": tmp_path / "ckpt", "log_root": tmp_path / "logs"}
    trained, _ = train_on(
        each_right_in_half(), config, **folders, log_name="fusion_toy", reporter=recorder
    )
    names = sorted(path.name for path in (tmp_path / "ckpt").iterdir())
    assert len(names) == 3
    assert names[-1] == "last.ckpt"
    best = recorder.points[trained.best_epoch]
    expected = f"fusion_epoch{trained.best_epoch:02d}_val_accuracy{best['val_accuracy']:.3f}.ckpt"
    assert expected in names
    log_dir = tmp_path / "logs" / "fusion_toy" / "version_0"
    assert trained.log_dir == log_dir
    kinds = sorted(path.name.split(".")[0] for path in log_dir.iterdir())
    assert kinds == ["events", "hparams", "metrics"]
    with (log_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 2, 3, 4]
    assert float(rows[-1]["val_reward"]) == pytest.approx(recorder.points[-1]["val_reward"])
    settings = yaml.safe_load((log_dir / "hparams.yaml").read_text())
    assert settings["agent"]["hidden_dims"] == [64, 64]
    again, _ = train_on(
        each_right_in_half(), config, **folders, log_name="fusion_toy", reporter=recorder
    )
    assert again.log_dir == tmp_path / "logs" / "fusion_toy" / "version_1"


def test_every_epoch_is_reported() -> None:
    recorder = Recorder()
    train_on(each_right_in_half(), small_config(max_epochs=3), reporter=recorder)
    assert [point["epoch"] for point in recorder.points] == [0, 1, 2]
    assert [point["updates"] for point in recorder.points] == [50, 100, 150]
    assert [point["epsilon"] for point in recorder.points] == pytest.approx([1.0, 0.9, 0.81])
    assert all(set(point) == KEYS for point in recorder.points)
    assert recorder.fractions == sorted(recorder.fractions)
    assert recorder.fractions[-1] == 1.0


def test_training_stops_early_when_nothing_gets_better() -> None:
    trained, _ = train_on(useless(), small_config(max_epochs=60, updates_per_epoch=5, patience=2))
    assert trained.epochs < 60


def test_a_stop_leaves_what_was_saved(tmp_path: Path) -> None:
    folders = {"checkpoints": tmp_path / "ckpt", "log_root": tmp_path / "logs"}
    config = small_config(max_epochs=10, updates_per_epoch=20)
    with pytest.raises(JobStopped):
        train_on(each_right_in_half(), config, **folders, reporter=Recorder(stop_at=4))
    with (tmp_path / "logs" / "fusion" / "version_0" / "metrics.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3
    config = override(config, {"training.resume_from": str(tmp_path / "ckpt" / "last.ckpt")})
    recorder = Recorder()
    train_on(each_right_in_half(), config, reporter=recorder)
    assert recorder.points[0]["epoch"] == 3


def test_it_runs_quietly_in_a_thread_and_leaves_no_trace(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_num_threads(), signal.getsignal(signal.SIGTERM), list(warnings.filters)
    results: list[TrainedAgent] = []
    config = small_config(max_epochs=2)

    def work() -> None:
        trained, _ = train_on(gat_right(), config, checkpoints=tmp_path, log_root=tmp_path / "logs")
        results.append(trained)

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert len(results) == 2
    after = torch.get_num_threads(), signal.getsignal(signal.SIGTERM), list(warnings.filters)
    assert after == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_trained_without_a_gap_or_f1(label: int) -> None:
    rng = np.random.default_rng(0)
    scores = FusionPredictionCache.from_arrays(
        rng.random(200), rng.random(200), np.full(200, label)
    )
    recorder = Recorder()
    trained, _ = train_on(scores, small_config(max_epochs=8), reporter=recorder)
    assert trained.reward >= trained.reward_best_single
    assert all(np.isfinite(list(point.values())).all() for point in recorder.points)


def test_four_windows_are_enough_to_run() -> None:
    scores = FusionPredictionCache.from_arrays(
        [0.1, 0.9, 0.2, 0.8], [0.1, 0.9, 0.9, 0.1], [0, 1, 0, 1]
    )
    trained, validation = train_on(scores, small_config(max_epochs=2))
    assert len(validation) >= 1
    assert trained.updates == 100


def damaged(path: Path, kind: str) -> Path:
    content = path.read_bytes()
    if kind == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif kind == "junk":
        path.write_bytes(b"not a checkpoint")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "other":
        torch.save({"state_dict": {}}, path)
    elif kind == "code":
        torch.save({"fusion": threading.Thread}, path)
    else:
        path.unlink()
    return path


@pytest.mark.parametrize("kind", ["truncated", "junk", "empty", "other", "code", "missing"])
def test_a_file_that_cannot_be_resumed_is_refused(tmp_path: Path, kind: str) -> None:
    config = small_config(max_epochs=1, updates_per_epoch=1)
    train_on(gat_right(200), config, checkpoints=tmp_path)
    path = damaged(tmp_path / "last.ckpt", kind)
    with pytest.raises(CheckpointError, match=r"last\.ckpt"):
        train_on(gat_right(200), override(config, {"training.resume_from": str(path)}))


@pytest.mark.parametrize(
    "other", [{"alpha_steps": 5}, {"hidden_dims": (64,)}, {"update_mode": "sampled"}]
)
def test_a_checkpoint_of_another_agent_is_refused(tmp_path: Path, other: dict[str, Any]) -> None:
    config = small_config(max_epochs=1, updates_per_epoch=1)
    train_on(gat_right(200), config, checkpoints=tmp_path)
    resume = {"agent": other, "training.resume_from": str(tmp_path / "last.ckpt")}
    with pytest.raises(CheckpointError, match=r"expected .*got .*"):
        train_on(gat_right(200), override(config, resume))


def test_nothing_to_learn_from_is_refused() -> None:
    nothing = gat_right(100).select(slice(0, 0))
    with pytest.raises(ScoresError, match="windows for validation"):
        train_agent(gat_right(100), nothing, small_config())


def test_an_unwritable_log_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file, not a folder")
    with pytest.raises(StorageError, match="logs"):
        train_on(gat_right(200), small_config(), log_root=tmp_path / "logs")
    with pytest.raises(StorageError, match="checkpoints"):
        train_on(gat_right(200), small_config(), checkpoints=tmp_path / "logs" / "ckpt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match="cuda"):
        train_on(gat_right(200), small_config(device="cuda"))
