"""Three detectors, each right in its own region: weights on the simplex find all three."""

import numpy as np
import pytest
import torch

from core.config import FusionAgentConfig
from core.errors import ConfigError, ScoresError
from core.fusion.ensemble import ensemble_rewards, simplex_grid, train_ensemble

CONFIG = FusionAgentConfig(batch_size=256)


def thirds(windows: int = 6000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores ``[W, 3]`` and labels: which detector is right, the sum of all scores tells."""
    rng = np.random.default_rng(seed)
    scores = rng.random((windows, 3)).astype(np.float32)
    region = np.digitize(scores.sum(axis=1), [1.25, 1.75])
    return scores, scores[np.arange(windows), region] >= 0.5


def test_the_grid_by_hand() -> None:
    assert simplex_grid(2, 2).tolist() == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    grid = simplex_grid(3, 10)
    assert len(grid) == 66
    torch.testing.assert_close(grid.sum(dim=1), torch.ones(66))
    assert len(grid.unique(dim=0)) == 66
    with pytest.raises(ConfigError, match="at most 5000 choices"):
        simplex_grid(8, 20)
    with pytest.raises(ConfigError, match="2 or more detectors"):
        simplex_grid(1, 10)


def test_rewards_by_hand() -> None:
    scores = torch.tensor([[0.9, 0.2, 0.2], [0.9, 0.2, 0.2]])
    choices = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]])
    cfg = FusionAgentConfig(miss_cost=5.0, false_alarm_cost=2.0)
    rewards = ensemble_rewards(scores, torch.tensor([1, 0]), choices, cfg, 0.5)
    assert rewards.tolist() == [[1.0, -5.0], [-2.0, 1.0]]


def test_it_beats_every_fixed_weight_and_every_pair() -> None:
    scores, label = thirds()
    fresh, truth = thirds(seed=9)
    fixed = max(
        float(np.mean((fresh @ weights >= 0.5) == truth)) for weights in simplex_grid(3, 10).numpy()
    )

    def accuracy(columns: list[int]) -> float:
        part = [scores[:, column] for column in columns]
        ensemble = train_ensemble(part, label, CONFIG, updates=400)
        return float(np.mean((ensemble.fused(fresh[:, columns]) >= 0.5) == truth))

    three = accuracy([0, 1, 2])
    assert three > 0.92
    assert three > fixed + 0.1
    assert three > max(accuracy([0, 1]), accuracy([1, 2])) + 0.1


def test_weights_add_up_and_repeat() -> None:
    scores, label = thirds(500)
    first, again = (train_ensemble(list(scores.T), label, CONFIG, updates=5) for _ in range(2))
    np.testing.assert_allclose(first.weights(scores).sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(first.weights(scores), again.weights(scores))


@pytest.mark.parametrize(
    ("scores", "label"),
    [([[0.1], [0.2]], [0, 1]), ([[1.5], [0.2]], [1]), ([[np.nan], [0.2]], [1]), ([[0.1]] * 2, [3])],
)
def test_bad_scores_are_refused(scores: list[list[float]], label: list[int]) -> None:
    with pytest.raises(ScoresError, match="expected"):
        train_ensemble(scores, label, CONFIG)
