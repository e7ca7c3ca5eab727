"""What the agent is paid for: right verdicts, and nothing else.

There is no term on alpha itself and none on the agreement of the two detectors: both would change
what the best policy is, and pull alpha to the middle or to one side whatever the traffic says. A
term for sure scores can be added (``agent.confidence_weight``); it is potential-based, and so
changes the values but not which alpha is best. A user may bring a reward of their own
(:mod:`core.fusion.own_reward`).
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.fusion.own_reward import load_reward, own_reward

ROWS_AT_ONCE = 65_536
"""Windows rewarded at once where all of a cache are."""

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

    The verdict is ``fused >= threshold``. The user's own reward, where there is one, stands for all
    of this.

    Shapes:
        ``anomaly, gat_prob, label``: ``[B]``; ``alphas``: ``[A]``; result: ``[B, A]``, of the
        scores' type.

    Raises:
        ConfigError: if the user's own reward cannot be had.
    """
    if agent_cfg.reward_function:
        own = load_reward(agent_cfg.reward_function)
        path, weights = agent_cfg.reward_function, alphas.to(anomaly)
        return own_reward(path, own, anomaly, gat_prob, label, weights, threshold)
    verdict = fuse(anomaly[:, None], gat_prob[:, None], alphas[None, :].to(anomaly)) >= threshold
    attacked = label.bool()
    cost = torch.where(attacked, agent_cfg.miss_cost, agent_cfg.false_alarm_cost).to(anomaly)
    return torch.where(verdict == attacked[:, None], 1.0, -cost[:, None])


def confidence(anomaly: torch.Tensor, gat_prob: torch.Tensor) -> torch.Tensor:
    """How sure the surer of both scores is, from 0 (both are .5) to 1; all shapes ``[B]``."""
    return torch.maximum((2 * anomaly - 1).abs(), (2 * gat_prob - 1).abs())


def shaping(
    potential: torch.Tensor, following: torch.Tensor, live: torch.Tensor, gamma: float
) -> torch.Tensor:
    """Potential-based shaping ``gamma * phi(s') - phi(s)``, ``[B]``.

    The one kind of extra reward that changes no best policy, whatever the potential ``phi`` (Ng,
    Harada and Russell 1999, "Policy invariance under reward transformations"). After the end of a
    recording (``live`` is 0) the potential is 0.
    """
    return gamma * live * following - potential


def reward_bounds(
    cache: FusionPredictionCache,
    agent_cfg: FusionAgentConfig,
    threshold: float,
    alphas: torch.Tensor | None = None,
) -> tuple[float, float]:
    """Mean reward per window of the better single detector, and of the oracle.

    A fused score lies between its two parts: where alphas 0 and 1 both fail, every alpha does, so
    the oracle needs only these two. With a reward of the user's own it tries all ``alphas``.
    """
    ends = torch.tensor([0.0, 1.0])
    if agent_cfg.reward_function and alphas is not None:
        ends = torch.cat([ends, alphas.cpu()])
    single, oracle = torch.zeros(2, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for start in range(0, len(cache), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        rewards = reward_matrix(
            torch.tensor(cache.anomaly_score[rows]).double(),
            torch.tensor(cache.gat_prob[rows]).double(),
            torch.tensor(cache.label[rows]),
            ends,
            agent_cfg,
            threshold,
        )
        single += rewards[:, :2].sum(dim=0)
        oracle += rewards.amax(dim=1).sum()
    return float(single.max()) / len(cache), float(oracle) / len(cache)


def reward_scale(agent_cfg: FusionAgentConfig) -> float:
    """The largest reward in size; rewards divided by it lie in [-1, 1]."""
    return max(1.0, agent_cfg.miss_cost, agent_cfg.false_alarm_cost)
