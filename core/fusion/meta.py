"""One start for many data sets, from which an agent for a new vehicle is a few updates away.

Reptile (Nichol, Achiam and Schulman 2018, https://arxiv.org/abs/1803.02999): train a little on one
data set, move the start a part of the way there, go on with the next. What all data sets have in
common is in the start then, and what differs between them is quickly learnt from it.

Adapting is quick because only the inner layers are learnt by gradient steps. Errors are never large
enough for the linear part of the loss (:data:`core.fusion.dqn.HUBER_DELTA`), so that the last layer
that fits best is a matter of linear equations, solved after each step (variable projection, Golub
and Pereyra 1973, https://doi.org/10.1137/0710036).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.errors import ScoresError
from core.fusion.fit import RewardOf, fit, make_learner
from core.fusion.q_network import QNetwork, features
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
ADAPT_WINDOWS = 4096
"""Windows of an update when adapting, at least, and that the last layer is fitted to, at most."""
RIDGE = 1e-4
"""Pull of the last layer towards what it was, as share of its inputs' mean square, where there are
:data:`ADAPT_WINDOWS`; the fewer windows, the stronger."""


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

    The last layer is fitted before the first update and after each.

    Raises:
        ScoresError: if there are no windows.
    """
    if not len(cache):
        raise ScoresError("expected windows to adapt to, got none")
    network = _copy(start)
    generator = torch.Generator().manual_seed(seed)
    reward_of = _reward_of(cache, agent_cfg, threshold)
    many = replace(agent_cfg, batch_size=max(agent_cfg.batch_size, ADAPT_WINDOWS))
    learner, states = make_learner(network, many), cache.states
    some = torch.randperm(len(states), generator=generator)[:ADAPT_WINDOWS]
    inputs, rewards = features(states[some]), reward_of(some)
    fit_last_layer(network, inputs, rewards)
    for step in range(updates):
        for group in learner.optimizer.param_groups:
            group["lr"] = ADAPT_RATE * agent_cfg.fusion_lr * (1 - step / updates)
        fit(learner, states, reward_of, 1, generator)
        fit_last_layer(network, inputs, rewards)
    return network.eval()


def fit_last_layer(network: QNetwork, inputs: torch.Tensor, rewards: torch.Tensor) -> None:
    """Give the last layer the weights of least squared error, inner layers as they are.

    Ridge regression towards the weights that it has: what no window tells of stays.

    Shapes: ``inputs`` ``[B, 2 * D]`` (:func:`core.fusion.q_network.features`), ``rewards``
    ``[B, A]``.
    """
    hidden, values = network.passed(inputs)
    last = hidden[-1].detach().double()
    known = torch.cat([last, last.new_ones(len(last), 1)], dim=1)
    square = known.T @ known / len(known)
    share = RIDGE * ADAPT_WINDOWS / len(known)
    pull = share * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
    off = known.T @ (rewards - values.detach()).double() / len(known)
    change = torch.linalg.solve(square + pull, off).T.float()
    if network.dueling:  # The mean of all actions is the state's value, the rest their advantage.
        value = change.mean(dim=0, keepdim=True)
        change = torch.cat([value, change - value])
    with torch.no_grad():
        network.linear[-1].weight.add_(change[:, :-1])
        network.linear[-1].bias.add_(change[:, -1])


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
