"""Deep Q-learning the plain way: a Python replay buffer and one eager step at a time."""

import random
from collections import deque

import torch
from torch import nn

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.fusion.dqn import HUBER_DELTA, Batch
from core.fusion.q_network import QNetwork, features
from core.fusion.reward import alpha_values, reward_matrix


def train_plainly(
    cache: FusionPredictionCache, config: FusionAgentConfig, updates: int, threshold: float = 0.5
) -> QNetwork:
    """Sampled double DQN with gamma 0.9; every gradient step stacks its own batch."""
    torch.manual_seed(0)
    rng = random.Random(0)
    online = QNetwork(2, config.alpha_steps, config.hidden_dims)
    target = QNetwork(2, config.alpha_steps, config.hidden_dims)
    target.load_state_dict(online.state_dict())
    optimizer = torch.optim.Adam(online.parameters(), config.fusion_lr)
    states = cache.states
    rewards = reward_matrix(
        states[:, 0],
        states[:, 1],
        torch.tensor(cache.label),
        alpha_values(config.alpha_steps),
        config,
        threshold,
    )
    memory: deque[tuple[torch.Tensor, int, float, torch.Tensor]] = deque(maxlen=config.buffer_size)
    for row in range(len(cache) - 1):
        action = rng.randrange(config.alpha_steps)
        memory.append((states[row], action, float(rewards[row, action]), states[row + 1]))
    for update in range(updates):
        batch = rng.sample(memory, min(config.batch_size, len(memory)))
        state = torch.stack([item[0] for item in batch])
        action_taken = torch.tensor([item[1] for item in batch])
        reward = torch.tensor([item[2] for item in batch])
        following = torch.stack([item[3] for item in batch])
        with torch.no_grad():
            best = online(following).argmax(1, keepdim=True)
            goal = reward + 0.9 * target(following).gather(1, best).squeeze(1)
        value = online(state).gather(1, action_taken[:, None]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(value, goal)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(online.parameters(), config.grad_clip)
        optimizer.step()
        if update % config.target_update == 0:
            target.load_state_dict(online.state_dict())
    return online


def loss_of(network: QNetwork, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Huber loss with gradient, and the errors, of a batch whose future is worth nothing."""
    values = network.layers(batch.features)
    if batch.actions is not None:
        values = values.gather(1, batch.actions[:, None]).squeeze(1)
    each = nn.functional.huber_loss(values, batch.rewards, reduction="none", delta=HUBER_DELTA)
    loss = each.mean() if batch.weights is None else (batch.weights * each).mean()
    return loss, values - batch.rewards


def train_eagerly(
    network: QNetwork,
    config: FusionAgentConfig,
    states: torch.Tensor,
    rewards: torch.Tensor,
    updates: int,
) -> None:
    """All-actions updates without a discount, in torch as one writes it: autograd, clipping, Adam.

    Args:
        states: ``[W, D]``.
        rewards: ``[W, A]`` of every action.
    """
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), config.fusion_lr)
    inputs = features(states)
    for _ in range(updates):
        rows = torch.randint(len(states), (config.batch_size,), generator=generator)
        loss, _ = loss_of(network, Batch(inputs[rows], rewards[rows]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.grad_clip)
        optimizer.step()
