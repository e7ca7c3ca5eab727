"""Rewards computed by hand."""

import numpy as np
import pytest
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.fusion.reward import alpha_values, fuse, reward_bounds, reward_matrix, reward_scale

COSTS = FusionAgentConfig(miss_cost=5.0, false_alarm_cost=2.0)


def test_fused_score_goes_from_the_vgae_to_the_gat() -> None:
    assert fuse(np.float64(0.2), np.float64(1.0), np.float64(0.25)) == pytest.approx(0.4)
    torch.testing.assert_close(
        fuse(torch.tensor([0.2, 0.2]), torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0])),
        torch.tensor([0.2, 1.0]),
    )


def test_reward_matrix_by_hand() -> None:
    # Fused with alpha 0, 0.5, 1:  [.9 .5 .1], [.9 .5 .1], [.2 .3 .4], [.2 .3 .4]
    rewards = reward_matrix(
        torch.tensor([0.9, 0.9, 0.2, 0.2], dtype=torch.float64),
        torch.tensor([0.1, 0.1, 0.4, 0.4], dtype=torch.float64),
        torch.tensor([1, 0, 1, 0]),
        torch.tensor([0.0, 0.5, 1.0]),
        COSTS,
        threshold=0.5,
    )
    expected = [[1, 1, -5], [-2, -2, 1], [-5, -5, -5], [1, 1, 1]]
    assert rewards.tolist() == expected


def test_single_and_oracle_reward_by_hand() -> None:
    cache = FusionPredictionCache.from_arrays(
        [0.9, 0.9, 0.2, 0.9], [0.1, 0.1, 0.4, 0.8], [1, 0, 1, 1]
    )
    single, oracle = reward_bounds(cache, COSTS, 0.5)
    # VGAE: +1 -2 -5 +1; GAT: -5 +1 -5 +1; oracle: +1 +1 -5 +1
    assert single == pytest.approx(-5 / 4)
    assert oracle == pytest.approx(-2 / 4)


def test_rewards_are_scaled_by_the_largest_cost() -> None:
    assert reward_scale(COSTS) == 5.0
    assert reward_scale(FusionAgentConfig(miss_cost=0.1, false_alarm_cost=0.2)) == 1.0


def test_weights_go_evenly_from_zero_to_one() -> None:
    assert alpha_values(5).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
