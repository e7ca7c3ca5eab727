"""The agent's options: each learns the toy tables, repeats and resumes like the default."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, override
from core.errors import CheckpointError, ConfigError, JobStopped, StaleCacheError, StorageError
from core.fusion import lightning_module
from core.fusion.agent import FusionAgent
from core.fusion.dqn import learn
from core.fusion.policy import policy_map
from core.fusion.reward import confidence, shaping
from core.fusion.training import stuck_policy
from tests.core.fusion.caches import each_right_in_half, gat_right, small_config, useless
from tests.core.fusion.test_training import (
    Recorder,
    accuracy,
    learnt,
    same_weights,
    train_on,
    verdicts,
)

SAMPLED = {"update_mode": "sampled"}
OPTIONS: dict[str, dict[str, Any]] = {
    "dueling": {"dueling": True},
    "boltzmann": {**SAMPLED, "exploration": "boltzmann"},
    "prioritised": {**SAMPLED, "replay": "prioritised", "buffer_size": 3000},
    "all of them": {
        **SAMPLED,
        **{"exploration": "boltzmann", "replay": "prioritised", "dueling": True},
        **{"gamma": 0.5, "tau": 0.01, "target_update": 1, "double_q": False},
    },
}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_learns_what_no_fixed_alpha_can(name: str) -> None:
    trained, fresh = learnt(each_right_in_half, **OPTIONS[name]), each_right_in_half(seed=99)
    assert accuracy(trained, fresh) >= 0.95
    default = learnt(each_right_in_half)
    assert np.mean(verdicts(trained, fresh) == verdicts(default, fresh)) >= 0.95


@pytest.mark.parametrize("name", ["boltzmann", "prioritised", "all of them"])
def test_every_option_repeats_and_resumes_exactly(tmp_path: Path, name: str) -> None:
    scores = each_right_in_half(1500)
    config = override(small_config(max_epochs=4, updates_per_epoch=15), {"agent": OPTIONS[name]})
    whole, _ = train_on(scores, config)
    train_on(scores, override(config, {"training.max_epochs": 2}), checkpoints=tmp_path)
    last = {"training.resume_from": str(tmp_path / "last.ckpt")}
    resumed, _ = train_on(scores, override(config, last))
    assert resumed.history == whole.history[2:]
    assert same_weights(resumed, whole)
    assert resumed.transitions == whole.transitions == 60 * 256


def test_boltzmann_logs_its_temperature() -> None:
    recorder = Recorder()
    config = override(
        small_config(max_epochs=3, updates_per_epoch=2),
        {"agent": OPTIONS["boltzmann"] | {"temperature": 0.5, "temperature_min": 0.42}},
    )
    train_on(gat_right(300), config, reporter=recorder)
    assert [p["temperature"] for p in recorder.points] == pytest.approx([0.5, 0.45, 0.42])
    assert "epsilon" not in recorder.points[0]


@pytest.mark.parametrize("option", [{"replay": "prioritised"}, {"exploration": "boltzmann"}])
def test_options_of_sampled_updates_are_refused_without_them(option: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="needs update_mode=sampled"):
        FusionAgentConfig(**option)


def test_shaping_by_hand() -> None:
    sure = confidence(torch.tensor([0.5, 0.9, 0.4]), torch.tensor([0.5, 0.2, 1.0]))
    assert sure.tolist() == pytest.approx([0.0, 0.8, 1.0])
    term = shaping(sure, sure.flip(0), torch.tensor([1.0, 1.0, 0.0]), 0.5)
    assert term.tolist() == pytest.approx([0.5, -0.4, -1.0])


@pytest.mark.parametrize("gamma", [0.0, 0.5])
def test_a_term_for_sure_scores_changes_no_verdict_worth_speaking_of(gamma: float) -> None:
    fresh = each_right_in_half(seed=99)
    shaped = learnt(each_right_in_half, gamma=gamma, confidence_weight=1.0)
    plain = learnt(each_right_in_half)
    assert np.mean(verdicts(shaped, fresh) == verdicts(plain, fresh)) >= 0.95
    # What is reported is the reward proper.
    assert shaped.reward_oracle == plain.reward_oracle == 1.0
    assert shaped.reward <= 1.0


def test_the_term_moves_all_alphas_alike() -> None:
    scores = each_right_in_half(400)
    rewards = []
    for weight in (0.0, 3.0):
        config = override(small_config(), {"agent": {"confidence_weight": weight, "gamma": 0.5}})
        module = lightning_module.FusionLightningModule(
            config.agent, config.training, config.evaluation, scores, scores
        )
        rewards.append(module._transitions(torch.arange(400)).rewards * module.scale)
    term = rewards[1] - rewards[0]
    assert term.abs().max() > 0.5
    torch.testing.assert_close(term, term[:, :1].expand_as(term), atol=1e-5, rtol=0)


def a_third_feature_decides(windows: int = 4000, seed: int = 0) -> FusionPredictionCache:
    """Which of the two detectors is right, only a component of the VGAE's score tells."""
    rng = np.random.default_rng(seed)
    side = rng.random(windows) < 0.5
    anomaly, gat_prob = rng.random(windows), rng.random(windows)
    label = np.where(side, anomaly >= 0.5, gat_prob >= 0.5)
    cache = FusionPredictionCache.from_arrays(anomaly, gat_prob, label)
    values = np.where(side, -300.0, 500.0) + 10 * rng.standard_normal(windows)
    cache.components["vgae_side"] = values.astype(np.float32)
    return cache


def test_what_the_two_scores_do_not_tell_another_feature_may() -> None:
    fresh = a_third_feature_decides(seed=99)
    seeing = ("anomaly", "gat_prob", "vgae_side")
    for state, low, high in ((("anomaly", "gat_prob"), 0.6, 0.8), (seeing, 0.97, 1.0)):
        trained = learnt(a_third_feature_decides, state=state)
        alpha = trained.agent.alpha_of(fresh)
        fused = (1 - alpha) * fresh.anomaly_score + alpha * fresh.gat_prob
        assert low < np.mean((fused >= 0.5) == (fresh.label == 1)) <= high


def test_an_agent_of_three_features_is_saved_loaded_and_cut(tmp_path: Path) -> None:
    trained = learnt(a_third_feature_decides, state=("anomaly", "gat_prob", "vgae_side"))
    trained.agent.save(tmp_path / "agent.pth")
    loaded = FusionAgent.load(tmp_path / "agent.pth", expected=trained.agent.agent_config)
    fresh = a_third_feature_decides(200, seed=5)
    np.testing.assert_array_equal(loaded.alpha_of(fresh), trained.agent.alpha_of(fresh))
    low, high = (policy_map(loaded, 11, at={"vgae_side": value}).alpha for value in (-300.0, 500.0))
    # Off the middle, where one detector is surely wrong, the cuts tell whom to trust.
    corner = (1, 9)
    assert low[corner] < 0.5 < high[corner]
    with pytest.raises(CheckpointError, match="state: expected"):
        FusionAgent.load(tmp_path / "agent.pth", expected=FusionAgentConfig())
    with pytest.raises(ConfigError, match=r"no 'vgae_side'; it has"):
        loaded.alpha_of(each_right_in_half(10))
    with pytest.raises(ConfigError, match=r"agent\.state: the prediction cache has no"):
        train_on(each_right_in_half(100), override(small_config(), {"agent.state": ("x",)}))


def test_shuffled_labels_bring_no_gain() -> None:
    scores = each_right_in_half(4000)
    label = np.random.default_rng(1).permutation(scores.label)
    shuffled = FusionPredictionCache.from_arrays(scores.anomaly_score, scores.gat_prob, label)
    trained, _ = train_on(shuffled, small_config())
    fresh = each_right_in_half(seed=99)
    other = np.random.default_rng(2).permutation(fresh.label)
    found = np.mean(verdicts(trained, fresh) == (other == 1))
    constant = max(np.mean(other == 1), np.mean(other == 0))
    assert found <= constant + 0.03


def test_a_stuck_policy_is_told() -> None:
    cfg = FusionAgentConfig()
    measured = {"reward": 0.5, "alpha_mean": 0.5, "alpha_std": 0.0, "q_spread": 0.3}
    (warning,) = stuck_policy(measured, best_single=0.5, oracle=1.0, cfg=cfg)
    assert "alpha is 0.50 everywhere" in warning
    assert "0% of the gap" in warning
    flat = measured | {"alpha_std": 0.2, "q_spread": 1e-5}
    (warning,) = stuck_policy(flat, best_single=0.5, oracle=1.0, cfg=cfg)
    assert "every alpha seems worth the same" in warning
    assert not stuck_policy(measured, best_single=0.5, oracle=0.5, cfg=cfg), "no gap"
    assert not stuck_policy(measured | {"reward": 0.99}, 0.5, 1.0, cfg), "it works"


def test_a_policy_that_is_not_let_learn_is_told_as_stuck() -> None:
    recorder = Recorder()
    config = override(
        small_config(max_epochs=1, updates_per_epoch=1),
        {"agent": {"alpha_steps": 2, "fusion_lr": 1e-7, "hidden_dims": (1,)}, "training.seed": 2},
    )
    trained, _ = train_on(each_right_in_half(1000), config, reporter=recorder)
    assert any("the policy is stuck" in warning for warning in trained.warnings)
    assert all(f"warning: {text}" in recorder.logs for text in trained.warnings)
    assert not learnt(each_right_in_half).warnings


class TestMemory:
    """Out of memory on the device halves the batch."""

    def test_training_goes_on_with_half_the_batch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def small_device(learner: Any, batch: Any) -> Any:
            if len(batch.features) > 64:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return learn(learner, batch)

        monkeypatch.setattr(lightning_module, "learn", small_device)
        recorder = Recorder()
        trained, _ = train_on(each_right_in_half(), small_config(), reporter=recorder)
        assert trained.updates == 600
        assert trained.transitions == 600 * 64
        assert [text.split(":")[1].strip()[:39] for text in trained.warnings] == [
            "going on with agent.batch_size=128, hal",
            "going on with agent.batch_size=64, half",
        ]
        assert [f"warning: {text}" for text in trained.warnings] == recorder.logs
        assert accuracy(trained, each_right_in_half(seed=99)) >= 0.95

    def test_where_nothing_fits_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_device(learner: Any, batch: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(lightning_module, "learn", no_device)
        with pytest.raises(ConfigError, match=r"even with agent\.batch_size=1"):
            train_on(each_right_in_half(500), small_config())

    def test_a_resumed_run_keeps_the_smaller_batch(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def small_device(learner: Any, batch: Any) -> Any:
            if len(batch.features) > 128:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return learn(learner, batch)

        config = small_config(max_epochs=2, updates_per_epoch=5)
        with monkeypatch.context() as patch:
            patch.setattr(lightning_module, "learn", small_device)
            train_on(each_right_in_half(500), config, checkpoints=tmp_path)
        last = {"training.max_epochs": 3, "training.resume_from": str(tmp_path / "last.ckpt")}
        resumed, _ = train_on(each_right_in_half(500), override(config, last))
        assert resumed.transitions == 15 * 128


class TestPolicyEpochs:
    """The policy map of every epoch, for the dashboard's scrubber."""

    @staticmethod
    def read(path: Path) -> tuple[pa.Table, int]:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        return table, int(table.schema.metadata[b"grid"])

    def test_the_last_row_is_the_map_of_the_last_epoch(self, tmp_path: Path) -> None:
        path = tmp_path / "run" / "policy_epochs.arrow"
        config = override(
            small_config(max_epochs=3, updates_per_epoch=10), {"evaluation.policy_grid": 7}
        )
        trained, _ = train_on(each_right_in_half(), config, policy_epochs=path)
        table, grid = self.read(path)
        assert table.schema.field("epoch").type == pa.int32()
        assert table.schema.field("alpha").type == pa.list_(pa.float32(), 49)
        assert (grid, table["epoch"].to_pylist()) == (7, [0, 1, 2])
        maps = np.array(table["alpha"].to_pylist(), np.float32)
        assert len(np.unique(maps, axis=0)) == 3, "epochs differ"
        best = policy_map(trained.agent, 7).alpha
        np.testing.assert_array_equal(maps[trained.best_epoch].reshape(7, 7), best)
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    def test_a_stopped_run_leaves_the_epochs_up_to_then(self, tmp_path: Path) -> None:
        path = tmp_path / "policy_epochs.arrow"
        config = small_config(max_epochs=10, updates_per_epoch=5)
        with pytest.raises(JobStopped):
            train_on(gat_right(300), config, policy_epochs=path, reporter=Recorder(stop_at=4))
        table, grid = self.read(path)
        assert (grid, table["epoch"].to_pylist()) == (50, [0, 1, 2])

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        with pytest.raises(StorageError, match=r"policy_epochs\.arrow"):
            train_on(
                gat_right(300),
                small_config(max_epochs=1),
                policy_epochs=tmp_path / "file" / "policy_epochs.arrow",
            )


def test_a_profile_says_where_the_time_goes(tmp_path: Path) -> None:
    config = override(small_config(max_epochs=2, updates_per_epoch=10), {"training.profile": True})
    trained, _ = train_on(gat_right(300), config, log_root=tmp_path)
    assert trained.log_dir is not None
    spent = json.loads((trained.log_dir / "profile.json").read_text())
    assert spent["fusion: gradient steps"]["calls"] == 2
    assert spent["fusion: gradient steps"]["seconds"] > 0
    seconds = [part["seconds"] for part in spent.values()]
    assert seconds == sorted(seconds, reverse=True)
    assert "fusion: gradient steps" in (trained.log_dir / "profile.txt").read_text()
    assert len(list(trained.log_dir.glob("*profile*"))) == 2


def test_a_lower_precision_still_learns() -> None:
    config = override(small_config(), {"training.precision": "bf16-mixed"})
    trained, _ = train_on(each_right_in_half(), config)
    assert accuracy(trained, each_right_in_half(seed=99)) >= 0.95


def test_an_agent_refuses_a_cache_that_it_was_not_made_for() -> None:
    scores = gat_right(200)
    made_from = {
        "captures": {"train_01/a.csv": "1", "train_01/b.csv": "2"},
        "weights": {"vgae": "x"},
    }
    scores.metadata["fingerprint"] = made_from
    trained, _ = train_on(scores, small_config(max_epochs=1, updates_per_epoch=1))
    trained.agent.check_cache(scores)
    other = useless(100)
    other.metadata["fingerprint"] = made_from | {"weights": {"vgae": "y"}}
    with pytest.raises(StaleCacheError, match="weights: vgae changed") as caught:
        trained.agent.check_cache(other, "demo.arrow")
    assert caught.value.reasons == ("weights: vgae changed",)
    with pytest.raises(StaleCacheError, match="not made for"):
        trained.agent.check_cache(useless(100))
    foreign, _ = train_on(useless(100), small_config(max_epochs=1, updates_per_epoch=1))
    foreign.agent.check_cache(useless(50))
