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
    huber_delta: float
    """Rewards differ by at most this. Below it the loss is quadratic, so that the network learns
    the *mean* reward of a state (what costs are about) and not something near its median; only
    errors that no reward explains are cut to their sign."""


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
        The loss, a scalar without gradient.
    """
    return learn(learner, batch)[0]


def learn(learner: Learner, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """One gradient step on ``batch``.

    Returns:
        The loss, a scalar, and by how much values were off their targets, ``[B, A]`` or ``[B]``;
        both without gradient.
    """
    loss, errors = loss_of(learner, batch)
    gradients = torch.autograd.grad(loss, list(learner.q_network.parameters()))
    gradient = torch.cat([part.reshape(-1) for part in gradients])
    limit = learner.agent_cfg.grad_clip / (torch.linalg.vector_norm(gradient) + 1e-6)
    learner.weights.grad = gradient.mul_(limit.clamp(max=1.0))
    learner.optimizer.step()
    return loss.detach(), errors


def loss_of(learner: Learner, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Huber loss of ``batch``, a scalar with gradient, and the errors without."""
    future = next_value(learner, batch)
    # Without effect unless a lower precision is computed with.
    values = learner.q_network.layers(batch.features).float()
    if batch.actions is None:
        targets = batch.rewards
        if isinstance(future, torch.Tensor):
            targets = targets + future[:, None]
    else:
        values = values.gather(1, batch.actions[:, None]).squeeze(1)
        targets = batch.rewards + future
    if batch.weights is None:
        loss = nn.functional.huber_loss(values, targets, delta=learner.huber_delta)
    else:
        each = nn.functional.huber_loss(
            values, targets, delta=learner.huber_delta, reduction="none"
        )
        loss = (batch.weights * each).mean()
    return loss, (values.detach() - targets)


def update_target(learner: Learner) -> None:
    """Copy a share ``tau`` of the online weights to the target network (1: all of them)."""
    with torch.no_grad():
        learner.target_weights.lerp_(learner.weights, learner.agent_cfg.tau)
