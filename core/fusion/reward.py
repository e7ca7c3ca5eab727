"""What the agent is paid for: right verdicts, and nothing else.

There is no term on alpha itself and none on the agreement of the two detectors: both would change
what the best policy is, and pull alpha to the middle or to one side whatever the traffic says.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig

Array = TypeVar("Array", npt.NDArray[np.floating], torch.Tensor)


def alpha_values(steps: int) -> torch.Tensor:
    """The weights to choose from: ``[steps]``, evenly from 0 (VGAE alone) to 1 (GAT alone)."""
    return torch.linspace(0.0, 1.0, steps, dtype=torch.float64).float()


def fuse(anomaly: Array, gat_prob: Array, alpha: Array) -> Array:
    """``(1 - alpha) * anomaly + alpha * gat_prob``; numpy or torch, shapes as they broadcast."""
    return (1 - alpha) * anomaly + alpha * gat_prob


def reward_matrix(
    anomaly: torch.Tensor,
    gat_prob: torch.Tensor,
    label: torch.Tensor,
    alphas: torch.Tensor,
    agent_cfg: FusionAgentConfig,
    threshold: float,
) -> torch.Tensor:
    """The reward of every alpha in every window: +1 if the verdict is right, else minus its cost.

    The verdict is ``fused >= threshold``.

    Shapes:
        ``anomaly, gat_prob, label``: ``[B]``; ``alphas``: ``[A]``; result: ``[B, A]``, of the
        scores' type.
    """
    verdict = fuse(anomaly[:, None], gat_prob[:, None], alphas[None, :].to(anomaly)) >= threshold
    attacked = label.bool()
    cost = torch.where(attacked, agent_cfg.miss_cost, agent_cfg.false_alarm_cost).to(anomaly)
    return torch.where(verdict == attacked[:, None], 1.0, -cost[:, None])


def reward_bounds(
    cache: FusionPredictionCache, agent_cfg: FusionAgentConfig, threshold: float
) -> tuple[float, float]:
    """Mean reward per window of the better single detector, and of the oracle.

    A fused score lies between its two parts: where alphas 0 and 1 both fail, every alpha does, so
    the oracle needs only these two.
    """
    states = cache.states.double()
    rewards = reward_matrix(
        states[:, 0],
        states[:, 1],
        torch.tensor(cache.label),
        torch.tensor([0.0, 1.0]),
        agent_cfg,
        threshold,
    )
    return float(rewards.mean(dim=0).max()), float(rewards.amax(dim=1).mean())


def reward_scale(agent_cfg: FusionAgentConfig) -> float:
    """The largest reward in size; rewards divided by it lie in [-1, 1]."""
    return max(1.0, agent_cfg.miss_cost, agent_cfg.false_alarm_cost)
