"""Weights of their own for each kind of attack.

An agent that learns from all windows alike gives up a rare kind of attack where that costs less
than the false alarms of finding it. Here every kind of attack has a head, which learns from its
windows and clean ones as if there were no other kind and it were as frequent as all attacks
together; a gate learns which kind an attack in such a state would be of, each as likely as another.
The choice in a state is that of the largest value, each head's counting by its gate. Mean recall
over kinds of attack rises, for more false alarms.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.errors import ScoresError
from core.fusion.fit import fit, make_learner
from core.fusion.q_network import QNetwork, features
from core.fusion.reward import alpha_values, reward_matrix, reward_scale
from core.fusion.state import StateEncoder

UNNAMED = "unnamed"
ROWS_AT_ONCE = 65_536
GATE_UPDATES = 300


@dataclass(frozen=True)
class MultiHeadAgent:
    """One Q-network per kind of attack, and a gate between them."""

    attacks: tuple[str, ...]
    heads: tuple[QNetwork, ...]
    gate: QNetwork
    """State to a logit per kind of attack."""
    encoder: StateEncoder

    def alpha_of(self, cache: FusionPredictionCache) -> npt.NDArray[np.float32]:
        """The weight of the GAT in each window of a cache, ``[W]``."""
        alphas = alpha_values(self.heads[0].actions).numpy()
        best = []
        with torch.inference_mode():
            for part in self.encoder.states(cache).split(ROWS_AT_ONCE):
                share = torch.softmax(self.gate(part), dim=1)
                values = torch.stack([head(part) for head in self.heads], dim=1)
                best.append((share[..., None] * values).sum(dim=1).argmax(dim=1))
        return alphas[torch.cat(best).numpy()]

    def alpha_of_attack(self, attack: str, cache: FusionPredictionCache) -> npt.NDArray[np.float32]:
        """The weight that the head of one kind of attack would choose, ``[W]``.

        Raises:
            ScoresError: if no such attack was learnt from.
        """
        if attack not in self.attacks:
            raise ScoresError(f"no head for {attack!r}; there are {', '.join(self.attacks)}")
        head = self.heads[self.attacks.index(attack)]
        with torch.inference_mode():
            best = [head(p).argmax(dim=1) for p in self.encoder.states(cache).split(ROWS_AT_ONCE)]
        return alpha_values(head.actions).numpy()[torch.cat(best).numpy()]


def train_multi_head(
    train: FusionPredictionCache,
    agent_cfg: FusionAgentConfig,
    *,
    threshold: float = 0.5,
    updates: int = 1000,
    seed: int = 0,
) -> MultiHeadAgent:
    """Train a head for each kind of attack in ``train``, and the gate.

    Raises:
        ScoresError: if there is no attacked or no clean window.
        ConfigError: if the cache lacks what the agent is to see.
    """
    label = np.asarray(train.label) == 1
    if not label.any() or label.all():
        raise ScoresError("expected attacked and clean windows to train a head per attack on")
    names = np.array([name or UNNAMED for name in train.attack_names], object)
    kinds = np.where(label, names[train.attack], "")
    attacks = tuple(sorted(set(kinds[label].tolist())))
    encoder = StateEncoder.fit(agent_cfg.state, train)
    states = encoder.states(train)
    generator = torch.Generator().manual_seed(seed)
    share = label.mean()
    heads = []
    for attack in attacks:
        rows = _drawn_as_often(np.flatnonzero(kinds == attack), np.flatnonzero(~label), share, seed)
        heads.append(_head(train, encoder, states, rows, agent_cfg, threshold, updates, generator))
    groups = [np.flatnonzero(kinds == attack) for attack in attacks]
    gate = _gate(states, groups, agent_cfg, generator)
    return MultiHeadAgent(attacks, tuple(heads), gate, encoder)


def _drawn_as_often(
    attacked: npt.NDArray[np.intp], clean: npt.NDArray[np.intp], share: float, seed: int
) -> npt.NDArray[np.intp]:
    """Rows of both kinds, the attacked ones repeated until they are such a share."""
    wanted = max(len(attacked), round(len(clean) * share / (1 - share)))
    more = np.random.default_rng(seed).choice(attacked, wanted - len(attacked))
    return np.concatenate([clean, attacked, more])


def _head(
    train: FusionPredictionCache,
    encoder: StateEncoder,
    states: torch.Tensor,
    rows: npt.NDArray[np.intp],
    cfg: FusionAgentConfig,
    threshold: float,
    updates: int,
    generator: torch.Generator,
) -> QNetwork:
    chosen = torch.from_numpy(rows)
    scores, label = train.states[chosen], torch.tensor(train.label)[chosen]
    alphas, scale = alpha_values(cfg.alpha_steps), reward_scale(cfg)

    def reward_of(drawn: torch.Tensor) -> torch.Tensor:
        part = scores[drawn]
        rewards = reward_matrix(part[:, 0], part[:, 1], label[drawn], alphas, cfg, threshold)
        return rewards / scale

    network = QNetwork(
        len(encoder), cfg.alpha_steps, cfg.hidden_dims, generator, dueling=cfg.dueling
    )
    fit(make_learner(network, cfg), states[chosen], reward_of, updates, generator)
    return network.eval()


def _gate(
    states: torch.Tensor,
    groups: Sequence[npt.NDArray[np.intp]],
    cfg: FusionAgentConfig,
    generator: torch.Generator,
) -> QNetwork:
    """Which kind an attacked window is of, by cross-entropy; each kind is drawn alike."""
    gate = QNetwork(states.shape[1], len(groups), cfg.hidden_dims, generator)
    optimizer = torch.optim.Adam(gate.parameters(), lr=cfg.fusion_lr)
    members = [torch.from_numpy(group) for group in groups]
    each = max(1, cfg.batch_size // len(groups))
    kind = torch.arange(len(groups)).repeat_interleave(each)
    for _ in range(GATE_UPDATES if len(groups) > 1 else 0):
        rows = torch.cat([g[torch.randint(len(g), (each,), generator=generator)] for g in members])
        loss = nn.functional.cross_entropy(gate.layers(features(states[rows])), kind)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return gate.eval()
