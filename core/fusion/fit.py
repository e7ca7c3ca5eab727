"""Learns values from the reward of every action, without Lightning around it.

For what is trained beside the agent proper (several heads, several detectors, a start for many data
sets), and for ``bench``, which holds the Lightning module against this bare loop.
"""

from collections.abc import Callable

import torch

from core.config import FusionAgentConfig
from core.fusion.dqn import Batch, Learner, learn
from core.fusion.q_network import QNetwork, features, flatten_parameters

CHUNK_TRANSITIONS = 65_536
"""Transitions drawn and rewarded at once."""

RewardOf = Callable[[torch.Tensor], torch.Tensor]
"""Rows ``[B]`` to the reward of every action in them, ``[B, A]``."""


def make_learner(q_network: QNetwork, agent_cfg: FusionAgentConfig) -> Learner:
    """A learner of immediate rewards; its target network is never asked."""
    weights = flatten_parameters(q_network)
    return Learner(
        q_network=q_network,
        target_network=q_network,
        weights=weights,
        target_weights=weights,
        optimizer=torch.optim.Adam([weights], lr=agent_cfg.fusion_lr, fused=True),
        agent_cfg=agent_cfg,
    )


def fit(
    learner: Learner,
    states: torch.Tensor,
    reward_of: RewardOf,
    updates: int,
    generator: torch.Generator,
) -> list[torch.Tensor]:
    """So many all-actions updates on windows drawn evenly from ``states`` ``[W, D]``.

    The discount of the learner's configuration must be 0: the best action does not depend on it.

    Returns:
        The loss of each update.
    """
    size = learner.agent_cfg.batch_size
    losses: list[torch.Tensor] = []
    while len(losses) < updates:
        some = min(max(1, CHUNK_TRANSITIONS // size), updates - len(losses))
        rows = torch.randint(len(states), (some * size,), generator=generator)
        batch = Batch(features(states[rows]), reward_of(rows))
        for start in range(0, len(rows), size):
            losses.append(learn(learner, batch.part(slice(start, start + size)))[0])
    return losses
