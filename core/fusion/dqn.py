"""One step of deep Q-learning, as plain functions.

Double DQN (van Hasselt et al. 2016, https://arxiv.org/abs/1509.06461) on the windows of a
recording. What the agent chooses does not move the traffic: the next state is the next window
whatever alpha was. Two things follow. As the label is known, the reward of *every* alpha is known
and can be learnt from at once (``all_actions``). And the value of the future is the same for all
alphas, so the best alpha does not depend on gamma.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from core.config import FusionAgentConfig
from core.fusion.q_network import QNetwork


class Batch(NamedTuple):
    """``B`` transitions of a state space with ``F`` features and ``A`` actions."""

    features: torch.Tensor
    """``[B, F]``"""
    rewards: torch.Tensor
    """``[B, A]`` of all actions, or ``[B]`` of the ones that were taken."""
    actions: torch.Tensor | None = None
    """``[B]`` taken; None: learn from all actions."""
    next_features: torch.Tensor | None = None
    """``[B, F]``; may be left out if gamma is 0."""
    live: torch.Tensor | None = None
    """``[B]``: 0 where the recording ends, else 1."""
    place: torch.Tensor | None = None
    """``[B]`` where in a prioritised memory they lie, ..."""
    weights: torch.Tensor | None = None
    """``[B]`` ... and how much the error of each counts."""

    def part(self, rows: slice) -> "Batch":
        """Some of the transitions."""
        return Batch._make(None if tensor is None else tensor[rows] for tensor in self)


HUBER_DELTA = 2.0
"""Scaled rewards differ by at most this. Below it the loss is quadratic, so that the network learns
the *mean* reward of a state (what costs are about) and not something near its median; only errors
that no reward explains are cut to their sign."""


@dataclass
class Learner:
    """What a gradient step changes, and its settings."""

    q_network: QNetwork
    target_network: QNetwork
    weights: nn.Parameter
    """All weights of the Q-network as one vector."""
    target_weights: nn.Parameter
    optimizer: torch.optim.Optimizer
    agent_cfg: FusionAgentConfig


def act(
    q_network: QNetwork,
    states: torch.Tensor,
    epsilon: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Epsilon-greedy actions ``[B]`` for states ``[B, D]``."""
    with torch.no_grad():
        greedy = q_network(states).argmax(dim=1)
    if epsilon <= 0:
        return greedy
    random = torch.randint(
        q_network.actions, greedy.shape, generator=generator, device=greedy.device
    )
    explore = torch.rand(greedy.shape, generator=generator, device=greedy.device) < epsilon
    return torch.where(explore, random, greedy)


def act_boltzmann(
    q_network: QNetwork,
    states: torch.Tensor,
    temperature: float,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Actions ``[B]`` for states ``[B, D]``, drawn in proportion to ``exp(Q / temperature)``.

    By the Gumbel trick: the largest of ``Q / temperature`` plus noise ``-log(-log(uniform))``.
    """
    with torch.no_grad():
        values = q_network(states).float()
    uniform = torch.rand(values.shape, generator=generator, device=values.device)
    noise = -torch.log(-torch.log(uniform.clamp(1e-20, 1 - 1e-7)))
    return (values / temperature + noise).argmax(dim=1)


def next_value(learner: Learner, batch: Batch) -> torch.Tensor | float:
    """``gamma * live * Q_target(s', a*)``, ``[B]``; ``a*`` is the online network's choice in
    double Q-learning, else the target network's own. 0 without a discount."""
    gamma = learner.agent_cfg.gamma
    if gamma == 0:
        return 0.0
    assert batch.next_features is not None
    assert batch.live is not None
    with torch.no_grad():
        values = learner.target_network.layers(batch.next_features)
        chooser = (
            learner.q_network.layers(batch.next_features) if learner.agent_cfg.double_q else values
        )
        best = values.gather(1, chooser.argmax(dim=1, keepdim=True)).squeeze(1)
    return gamma * batch.live * best.float()


def update(learner: Learner, batch: Batch) -> torch.Tensor:
    """One gradient step on ``batch``.

    Returns:
        The loss, a scalar.
    """
    return learn(learner, batch)[0]


@torch.no_grad()
def learn(learner: Learner, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """One gradient step on ``batch``.

    Returns:
        The loss, a scalar, and by how much values were off their targets, ``[B, A]`` or ``[B]``.
    """
    future = next_value(learner, batch)
    network = learner.q_network
    hidden, values = network.passed(batch.features)
    # Without effect unless a lower precision is computed with.
    values = values.float()
    if batch.actions is None:
        targets = batch.rewards if isinstance(future, float) else batch.rewards + future[:, None]
        errors = values - targets
    else:
        errors = values.gather(1, batch.actions[:, None]).squeeze(1) - (batch.rewards + future)
    # Huber: e^2 / 2 up to delta, delta * (|e| - delta / 2) beyond; its slope is e, cut to delta.
    slope = errors.clamp(-HUBER_DELTA, HUBER_DELTA)
    weighed = slope if batch.weights is None else slope * batch.weights
    loss = torch.dot(weighed.flatten(), torch.sub(errors, slope, alpha=0.5).flatten())
    if batch.actions is not None:
        weighed = torch.zeros_like(values).scatter_(1, batch.actions[:, None], weighed[:, None])
    gradient = network.gradient(hidden, weighed).div_(errors.numel())
    limit = learner.agent_cfg.grad_clip / (torch.linalg.vector_norm(gradient) + 1e-6)
    _descend(learner, gradient.mul_(limit.clamp(max=1.0)))
    return loss / errors.numel(), errors


def _descend(learner: Learner, gradient: torch.Tensor) -> None:
    """A step of Adam, straight to its kernel: ``Adam.step`` spends most of its time around it."""
    weights, optimizer = learner.weights, learner.optimizer
    weights.grad = gradient
    state = optimizer.state[weights]
    if not state:
        optimizer.step()  # Which makes the state.
        return
    group = optimizer.param_groups[0]
    state["step"] += 1
    torch._fused_adam_(
        [weights],
        [gradient],
        [state["exp_avg"]],
        [state["exp_avg_sq"]],
        [],
        [state["step"]],
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


def update_target(learner: Learner) -> None:
    """Copy a share ``tau`` of the online weights to the target network (1: all of them)."""
    with torch.no_grad():
        learner.target_weights.lerp_(learner.weights, learner.agent_cfg.tau)
