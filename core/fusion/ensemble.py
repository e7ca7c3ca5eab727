"""Fusion of any number of detectors: the agent picks their weights, window by window.

As with two detectors, the state are the scores and the reward of every choice is known. A choice is
a point of a grid over the simplex (weights that add up to 1): with three detectors and tenths there
are 66, with four 286.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import numpy.typing as npt
import torch

from core.config import FusionAgentConfig
from core.errors import ConfigError, ScoresError
from core.fusion.fit import fit, make_learner
from core.fusion.q_network import QNetwork
from core.fusion.reward import reward_scale

MOST_CHOICES = 5000
ROWS_AT_ONCE = 65_536

Scores = npt.NDArray[np.float32]


def simplex_grid(detectors: int, parts: int) -> torch.Tensor:
    """All weights in multiples of ``1 / parts`` that add up to 1, ``[A, detectors]``.

    Raises:
        ConfigError: if there are more than :data:`MOST_CHOICES`, or fewer than two detectors.
    """
    choices = comb(max(0, parts + detectors - 1), max(0, detectors - 1))
    if detectors < 2 or parts < 1 or choices > MOST_CHOICES:
        raise ConfigError(
            f"expected 2 or more detectors and at most {MOST_CHOICES} choices of weights, got "
            f"{detectors} detectors and {choices} choices (in parts of 1/{parts})"
        )
    # Stars and bars: where the bars stand among the stars says how large each part is.
    places = np.array(list(combinations(range(parts + detectors - 1), detectors - 1)))
    edges = np.concatenate(
        [
            np.full((len(places), 1), -1),
            places,
            np.full((len(places), 1), parts + detectors - 1),
        ],
        axis=1,
    )
    return torch.from_numpy((np.diff(edges, axis=1) - 1) / parts).float()


@dataclass(frozen=True)
class Ensemble:
    """A greedy policy over weights of several detectors."""

    q_network: QNetwork
    choices: torch.Tensor
    """``[A, K]``"""
    threshold: float

    def weights(self, scores: Scores) -> Scores:
        """The weight of each detector in each window; both ``[W, K]``."""
        with torch.inference_mode():
            best = [
                self.q_network(part).argmax(dim=1)
                for part in torch.from_numpy(scores).split(ROWS_AT_ONCE)
            ]
        return self.choices.numpy()[torch.cat(best).numpy()]

    def fused(self, scores: Scores) -> npt.NDArray[np.float64]:
        """The weighted mean of each window's scores, ``[W, K]`` to ``[W]``."""
        return (self.weights(scores).astype(np.float64) * scores).sum(axis=1)


def ensemble_rewards(
    scores: torch.Tensor,
    label: torch.Tensor,
    choices: torch.Tensor,
    agent_cfg: FusionAgentConfig,
    threshold: float,
) -> torch.Tensor:
    """The reward of every choice in every window, ``[B, A]``: +1 if right, else minus its cost.

    Shapes: ``scores`` ``[B, K]``, ``label`` ``[B]``, ``choices`` ``[A, K]``.
    """
    verdict = scores @ choices.T >= threshold
    attacked = label.bool()
    cost = torch.where(attacked, agent_cfg.miss_cost, agent_cfg.false_alarm_cost).to(scores)
    return torch.where(verdict == attacked[:, None], 1.0, -cost[:, None])


def train_ensemble(
    scores: Sequence[npt.ArrayLike],
    label: npt.ArrayLike,
    agent_cfg: FusionAgentConfig,
    *,
    threshold: float = 0.5,
    parts: int = 10,
    updates: int = 2000,
    seed: int = 0,
) -> Ensemble:
    """Learn whom to trust when.

    Args:
        scores: of each detector, ``[W]`` in [0, 1].
        label: ``[W]``, 0 or 1.
        parts: weights are multiples of ``1 / parts``.

    Raises:
        ScoresError: if scores are not in [0, 1], labels not 0 or 1, or lengths differ.
        ConfigError: if there are too many choices.
    """
    columns = [np.asarray(column, np.float32) for column in scores]
    truth = np.asarray(label)
    if any(column.shape != truth.shape for column in columns) or truth.ndim != 1 or not len(truth):
        shapes = [column.shape for column in columns]
        raise ScoresError(f"expected columns of one length, got {shapes} and {truth.shape}")
    stacked = np.stack(columns, axis=1)
    if not ((stacked >= 0) & (stacked <= 1)).all() or not np.isin(truth, (0, 1)).all():
        raise ScoresError("expected scores in [0, 1] and labels of 0 or 1")
    choices = simplex_grid(len(columns), parts)
    states, labels = torch.from_numpy(stacked), torch.from_numpy(truth.astype(np.uint8))
    generator = torch.Generator().manual_seed(seed)
    network = QNetwork(
        len(columns), len(choices), agent_cfg.hidden_dims, generator, dueling=agent_cfg.dueling
    )
    scale = reward_scale(agent_cfg)

    def reward_of(rows: torch.Tensor) -> torch.Tensor:
        return ensemble_rewards(states[rows], labels[rows], choices, agent_cfg, threshold) / scale

    fit(make_learner(network, agent_cfg), states, reward_of, updates, generator)
    return Ensemble(network.eval(), choices, threshold)
