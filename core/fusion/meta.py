"""One start for many data sets, from which an agent for a new vehicle is a few updates away.

Reptile (Nichol, Achiam and Schulman 2018, https://arxiv.org/abs/1803.02999): train a little on one
data set, move the start a part of the way there, go on with the next. What all data sets have in
common is in the start then, and what differs between them is quickly learnt from it.
"""

from collections.abc import Sequence

import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.errors import ScoresError
from core.fusion.fit import RewardOf, fit, make_learner
from core.fusion.q_network import QNetwork
from core.fusion.reward import alpha_values, reward_matrix, reward_scale

ROUNDS = 60
"""Times that each data set is visited."""
INNER_UPDATES = 20
"""Updates on one data set before the start is moved."""
FIRST_STEP = 1.0
"""Share of the way that the start is moved at first; falls to a tenth."""
ADAPT_UPDATES = 50
ADAPT_RATE = 3.0
"""How much larger the learning rate is at first where few updates must do; it falls to zero."""
ADAPT_STEPS = 10
"""In so many steps."""


def meta_train(
    caches: Sequence[FusionPredictionCache],
    agent_cfg: FusionAgentConfig,
    *,
    threshold: float = 0.5,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> QNetwork:
    """A start from all data sets.

    Raises:
        ScoresError: if there is none, or one without windows.
    """
    if not caches or not all(map(len, caches)):
        raise ScoresError("expected one or more data sets with windows to learn a start from")
    generator = torch.Generator().manual_seed(seed)
    start = QNetwork(
        2, agent_cfg.alpha_steps, agent_cfg.hidden_dims, generator, dueling=agent_cfg.dueling
    )
    tasks = [(cache.states, _reward_of(cache, agent_cfg, threshold)) for cache in caches]
    for number in range(rounds):
        step = FIRST_STEP + (0.1 - FIRST_STEP) * number / max(1, rounds - 1)
        for states, reward_of in tasks:
            network = _copy(start)
            fit(make_learner(network, agent_cfg), states, reward_of, INNER_UPDATES, generator)
            with torch.no_grad():
                for ours, theirs in zip(start.parameters(), network.parameters(), strict=True):
                    ours.lerp_(theirs, step)
    return start


def adapt(
    start: QNetwork,
    cache: FusionPredictionCache,
    agent_cfg: FusionAgentConfig,
    *,
    threshold: float = 0.5,
    updates: int = ADAPT_UPDATES,
    seed: int = 0,
) -> QNetwork:
    """A network for one data set, some updates away from ``start``, which stays as it is.

    Raises:
        ScoresError: if there are no windows.
    """
    if not len(cache):
        raise ScoresError("expected windows to adapt to, got none")
    network = _copy(start)
    generator = torch.Generator().manual_seed(seed)
    reward_of = _reward_of(cache, agent_cfg, threshold)
    learner, states = make_learner(network, agent_cfg), cache.states
    for step in range(ADAPT_STEPS):
        for group in learner.optimizer.param_groups:
            group["lr"] = ADAPT_RATE * agent_cfg.fusion_lr * (1 - step / ADAPT_STEPS)
        some = updates * (step + 1) // ADAPT_STEPS - updates * step // ADAPT_STEPS
        fit(learner, states, reward_of, some, generator)
    return network.eval()


def _reward_of(
    cache: FusionPredictionCache, agent_cfg: FusionAgentConfig, threshold: float
) -> RewardOf:
    states, label = cache.states, torch.tensor(cache.label)
    alphas, scale = alpha_values(agent_cfg.alpha_steps), reward_scale(agent_cfg)

    def reward_of(rows: torch.Tensor) -> torch.Tensor:
        part = states[rows]
        rewards = reward_matrix(part[:, 0], part[:, 1], label[rows], alphas, agent_cfg, threshold)
        return rewards / scale

    return reward_of


def _copy(network: QNetwork) -> QNetwork:
    copy = QNetwork(
        network.state_dim, network.actions, network.hidden_dims, dueling=network.dueling
    )
    copy.load_state_dict(network.state_dict())
    return copy
