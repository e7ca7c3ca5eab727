"""What the agent assumes of scores that no window of the training has."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.fusion.reward import reward_matrix

SAMPLE = 100_000
"""Windows that the regression is fitted to, at most."""


@dataclass(frozen=True)
class Assumed:
    """``V`` states, evenly over the plane of both scores, and what is expected there."""

    states: torch.Tensor
    """``[V, 2]``"""
    rewards: torch.Tensor
    """``[V, A]`` of every alpha."""

    def __len__(self) -> int:
        return len(self.states)

    def to(self, device: torch.device) -> "Assumed":
        """The same on another device."""
        return Assumed(self.states.to(device), self.rewards.to(device))


def assumed_windows(
    train: FusionPredictionCache,
    alphas: torch.Tensor,
    agent_cfg: FusionAgentConfig,
    threshold: float,
) -> Assumed | None:
    """``agent.assumed_grid`` squared states, to be drawn like windows of the training.

    They count as attacked as likely as a logistic regression of the label says, on both scores and
    the larger of them. Where the training has windows these outnumber them; elsewhere a policy
    would be whatever a network makes of scores that it never saw. Such there are: cross-fitted
    detectors are less sure than the final ones, which have seen more, and what they learnt of one
    vehicle they do not find on another. On a simulated vehicle the agent passed over attacks with a
    probability of 1.00 and an anomaly score of .2, a pair that no training window had. Both scores
    are calibrated not to rise in clean windows: where one does, the larger one counts beside their
    sum.

    Windows that no weight gets right say nothing of weights, and the regression does not see them:
    attacks that neither detector finds look clean, and would have both scores mean little.

    Args:
        alphas: ``[A]``.
        threshold: of the fused score.

    Returns:
        None if none are asked for, or only one class is there to learn from.

    Raises:
        ConfigError: if the user's own reward cannot be had.
    """
    if not agent_cfg.assumed_grid:
        return None
    some = train.select(slice(None, None, -(-len(train) // SAMPLE)))
    scores, label = some.states.double().numpy(), np.asarray(some.label, bool)
    told = ((scores >= threshold) == label[:, None]).any(axis=1)
    if len(np.unique(label[told])) < 2:
        return None
    model = LogisticRegression().fit(_with_larger(scores[told]), label[told])
    axis = torch.linspace(0.0, 1.0, agent_cfg.assumed_grid)
    states = torch.cartesian_prod(axis, axis)
    attacked = model.predict_proba(_with_larger(states.double().numpy()))[:, 1:]
    likely = torch.from_numpy(attacked).float()
    when_clean, when_attacked = (
        reward_matrix(
            states[:, 0],
            states[:, 1],
            torch.full((len(states),), label),
            alphas,
            agent_cfg,
            threshold,
        )
        for label in (0, 1)
    )
    return Assumed(states, torch.lerp(when_clean, when_attacked, likely))


def _with_larger(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """``[W, 3]`` of ``[W, 2]``."""
    return np.column_stack([scores, scores.max(axis=1)])
