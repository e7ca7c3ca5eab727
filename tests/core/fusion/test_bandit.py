"""The bandit learns which alpha is worth what where, from tried alphas alone."""

import numpy as np
import torch

from core.fusion.bandit import POINTS, Bandit, grid_features, train_bandit
from core.fusion.reward import fuse
from tests.core.fusion.caches import each_right_in_half, small_config


def test_a_window_lights_the_points_around_it() -> None:
    step = 1 / (POINTS - 1)
    states = torch.tensor([[0.0, 1.0], [2 * step, 3.25 * step]])
    lit = grid_features(states).reshape(2, POINTS, POINTS)
    torch.testing.assert_close(lit.sum(dim=(1, 2)), torch.ones(2))
    assert lit[0, 0, -1] == 1.0
    torch.testing.assert_close(lit[1, 2, 3:5], torch.tensor([0.75, 0.25]))


def test_the_best_alpha_of_each_point_is_taken() -> None:
    weights = torch.zeros(3, POINTS * POINTS)
    weights[1, : POINTS * POINTS // 2] = 1.0
    weights[2, POINTS * POINTS // 2 :] = 1.0
    cache = each_right_in_half(500)
    alpha = Bandit(weights).alpha_of(cache)
    assert set(alpha[cache.anomaly_score < 0.4]) == {np.float32(0.5)}
    assert set(alpha[cache.anomaly_score > 0.6]) == {np.float32(1.0)}
    assert len(Bandit(weights).alpha_of(cache.select(slice(0, 0)))) == 0


def test_it_beats_every_fixed_alpha_where_none_can_win_and_repeats() -> None:
    config = small_config()
    first, again = (train_bandit(each_right_in_half(), config) for _ in range(2))
    assert torch.equal(first.weights, again.weights)
    fresh = each_right_in_half(seed=99)
    alpha = first.alpha_of(fresh)
    verdict = fuse(fresh.anomaly_score, fresh.gat_prob, alpha) >= 0.5
    assert np.mean(verdict == (fresh.label == 1)) > 0.93  # The best fixed alpha has less than 0.8.
