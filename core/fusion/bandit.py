"""A contextual bandit that picks alpha: what learning without a network comes to.

LinUCB with one linear model per arm (Li et al. 2010, https://arxiv.org/abs/1003.0146, algorithm 1)
over a grid of cells in the plane of both scores: each window lights the four grid points around it,
by their nearness. Like the agent's sampled updates it learns the reward of the alpha that it tried
and of no other, and tries what might still be better than it looks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionConfig
from core.fusion.reward import alpha_values, reward_matrix, reward_scale

POINTS = 9
"""Grid points per axis; a cell is an eighth of a score wide."""
ROUND = 256
"""Windows judged before the models are brought up to date."""
ROUNDS = 400
"""Rounds of learning; a small cache is gone through several times."""
OPTIMISM = 0.5
"""How many standard errors an alpha is trusted to be better than it looks."""


@dataclass(frozen=True)
class Bandit:
    """A greedy policy over a grid of cells."""

    weights: torch.Tensor
    """``[A, POINTS * POINTS]`` reward that each alpha is worth at each grid point."""

    def alpha_of(self, cache: FusionPredictionCache) -> npt.NDArray[np.float32]:
        """The weight of the GAT in each window of a cache, ``[W]``."""
        alphas = alpha_values(len(self.weights)).numpy()
        best = [
            (grid_features(part) @ self.weights.T).argmax(dim=1)
            for part in cache.states.split(65_536)
        ]
        return alphas[torch.cat(best).numpy()] if best else alphas[:0]


def grid_features(states: torch.Tensor) -> torch.Tensor:
    """Nearness of each window to each grid point: ``[B, 2]`` to ``[B, POINTS * POINTS]``.

    Bilinear: at most four are above 0, and they add up to 1.
    """
    axis = torch.linspace(0, 1, POINTS, dtype=states.dtype, device=states.device)
    hats = (1 - (states[..., None] - axis).abs() * (POINTS - 1)).clamp(min=0)
    return (hats[:, 0, :, None] * hats[:, 1, None, :]).flatten(1)


def train_bandit(train: FusionPredictionCache, config: FusionConfig) -> Bandit:
    """Go through the training windows, try alphas and learn what each is worth where."""
    cfg, threshold = config.agent, config.evaluation.threshold
    alphas = alpha_values(cfg.alpha_steps)
    states, label = train.states, torch.tensor(train.label)
    generator = torch.Generator().manual_seed(config.training.seed)
    size = POINTS * POINTS
    # One row per arm: the inverse of what was seen, and what it brought.
    seen = torch.eye(size).expand(len(alphas), size, size).clone()
    brought = torch.zeros(len(alphas), size)
    for _ in range(ROUNDS):
        rows = torch.randint(len(states), (ROUND,), generator=generator)
        part = states[rows]
        x = grid_features(part)
        inverse = torch.linalg.inv(seen)
        weights = (inverse @ brought[..., None]).squeeze(-1)
        spread = torch.einsum("bi,aij,bj->ba", x, inverse, x).clamp(min=0).sqrt()
        noise = 1e-6 * torch.rand(spread.shape, generator=generator)  # So that ties are broken.
        arm = (x @ weights.T + OPTIMISM * spread + noise).argmax(dim=1)
        rewards = reward_matrix(part[:, 0], part[:, 1], label[rows], alphas, cfg, threshold)
        reward = rewards.gather(1, arm[:, None]).squeeze(1) / reward_scale(cfg)
        pairs = x[:, :, None] * x[:, None, :]
        seen.index_add_(0, arm, pairs)
        brought.index_add_(0, arm, reward[:, None] * x)
    return Bandit((torch.linalg.inv(seen) @ brought[..., None]).squeeze(-1))
