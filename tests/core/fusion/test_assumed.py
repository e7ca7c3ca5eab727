"""What the agent makes of scores that no window of the training has."""

import numpy as np
import pytest
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, override
from core.fusion.assumed import assumed_windows
from core.fusion.dqn import Batch
from core.fusion.lightning_module import FusionLightningModule
from core.fusion.reward import alpha_values
from tests.core.fusion.caches import each_right_in_half, small_config
from tests.core.fusion.test_training import train_on, verdicts

ALPHAS = torch.tensor([0.0, 0.5, 1.0])


def apart(windows: int = 2000, seed: int = 0) -> FusionPredictionCache:
    """Both scores near .2 in clean windows and near .8 in attacked ones, and nothing else."""
    rng = np.random.default_rng(seed)
    label = rng.random(windows) < 0.5
    anomaly, gat_prob = (np.clip(rng.normal(0.2 + 0.6 * label, 0.05), 0, 1) for _ in range(2))
    return FusionPredictionCache.from_arrays(anomaly, gat_prob, label)


def module(scores: FusionPredictionCache, **agent: object) -> FusionLightningModule:
    config = override(small_config(), {"agent": agent})
    return FusionLightningModule(config.agent, config.training, config.evaluation, scores, scores)


@pytest.mark.parametrize("seed", range(3))
def test_where_scores_disagree_as_never_before_sum_and_larger_decide(seed: int) -> None:
    places = np.linspace(0.01, 0.99, 50)
    anomaly, gat_prob = (axis.ravel() for axis in np.meshgrid(places, places))
    # The three numbers are one in training, so that the regression gives them the same weight.
    total = anomaly + gat_prob + np.maximum(anomaly, gat_prob)
    chosen = ((anomaly >= 0.5) != (gat_prob >= 0.5)) & (abs(total - 1.5) > 0.15)
    new = FusionPredictionCache.from_arrays(anomaly[chosen], gat_prob[chosen], total[chosen] > 1.5)
    right = {}
    for grid in (0, 10):
        config = override(small_config(seed=seed), {"agent.assumed_grid": grid})
        trained, _ = train_on(apart(seed=seed), config)
        assert trained.reward > 0.999
        right[grid] = np.mean(verdicts(trained, new) == (new.label == 1))
    assert right[0] < 0.85, "else this test tells nothing"
    assert right[10] > 0.93


def test_windows_outnumber_what_is_assumed() -> None:
    # The regression sees no more than sums, which the label does not follow here.
    scores = each_right_in_half()
    trained, validation = train_on(scores, small_config())
    assert np.mean(verdicts(trained, validation) == (validation.label == 1)) >= 0.97


def test_expected_rewards_by_hand() -> None:
    # Two scores that both are the label: the regression is even at their middle, and as sure of an
    # attack at 1 as of none at 0.
    label = np.array([0, 1] * 50)
    scores = FusionPredictionCache.from_arrays(label * 1.0, label * 1.0, label)
    cfg = FusionAgentConfig(assumed_grid=3, miss_cost=3.0)
    assumed = assumed_windows(scores, ALPHAS, cfg, threshold=0.5)
    assert assumed is not None
    assert assumed.states.tolist() == [[a, g] for a in (0, 0.5, 1) for g in (0, 0.5, 1)]
    quiet, crossed, middle = assumed.rewards[0], assumed.rewards[2], assumed.rewards[4]
    # Both 0: called clean by every alpha, right but for a share of attacks that cost 3 each.
    wrong = (1 - float(quiet[0])) / 4
    assert 0 < wrong < 0.1
    assert quiet.tolist() == pytest.approx([1 - 4 * wrong] * 3)
    # VGAE 0, GAT 1: two of three numbers are as in an attack, which alphas from .5 on call so.
    # Log-odds are linear: they are a third of what they are where all three are.
    attacked = 1 / (1 + (wrong / (1 - wrong)) ** (1 / 3))
    missed, found = (1 - attacked) - 3 * attacked, attacked - (1 - attacked)
    assert crossed.tolist() == pytest.approx([missed, found, found], abs=2e-3)
    # Called an attack by every alpha: right half of the time, else a false alarm of cost 1.
    assert middle.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=2e-3)


def test_nothing_is_assumed_where_nothing_can_be() -> None:
    scores = each_right_in_half(100)
    cfg = FusionAgentConfig()
    alphas = alpha_values(cfg.alpha_steps)
    assert assumed_windows(scores, alphas, FusionAgentConfig(assumed_grid=0), 0.5) is None
    clean = scores.select(np.flatnonzero(scores.label == 0))
    assert assumed_windows(clean, alphas, cfg, 0.5) is None
    assert module(scores, state=("anomaly", "gat_prob", "disagreement")).assumed is None
    assert len(module(scores).assumed or ()) == 100


@pytest.mark.parametrize("gamma", [0.0, 0.9])
def test_rows_beyond_the_windows_are_those_assumed(gamma: float) -> None:
    scores = each_right_in_half(100)
    made, plain = module(scores, gamma=gamma), module(scores, gamma=gamma, assumed_grid=0)
    assumed = made.assumed
    assert assumed is not None
    rows = torch.tensor([3, 100, 7, 199])
    batch: Batch = made._transitions(rows)
    alone = plain._transitions(torch.tensor([3, 7]))
    assert torch.equal(batch.features[[0, 2]], alone.features)
    assert torch.equal(batch.rewards[[0, 2]], alone.rewards)
    assert torch.equal(batch.rewards[[1, 3]], assumed.rewards[[0, 99]] / made.scale)
    assert torch.equal(
        made._states(*made._parts(rows))[[1, 3]], torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    )
    if gamma:
        assert batch.live is not None
        assert batch.live.tolist() == [1.0, 0.0, 1.0, 0.0], "they end their recording"


def test_windows_that_no_weight_gets_right_do_not_count() -> None:
    scores = apart()
    cfg = FusionAgentConfig()
    missed = np.random.default_rng(0).uniform(0.1, 0.3, (2, 2000))
    both = FusionPredictionCache.from_arrays(
        np.append(scores.anomaly_score, missed[0]),
        np.append(scores.gat_prob, missed[1]),
        np.append(scores.label, np.ones(2000)),
    )
    first, second = (assumed_windows(s, ALPHAS, cfg, 0.5) for s in (scores, both))
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first.rewards, second.rewards, atol=1e-3, rtol=0)
    # Nothing is left of one class where no weight finds an attack.
    blind = FusionPredictionCache.from_arrays(*missed, np.arange(2000) % 2)
    assert assumed_windows(blind, ALPHAS, cfg, 0.5) is None
