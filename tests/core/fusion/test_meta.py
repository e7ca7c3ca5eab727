"""A start from several vehicles is fifty updates away from full training on a new one."""

import numpy as np
import pytest
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, create_fusion_config
from core.errors import ScoresError
from core.fusion import meta
from core.fusion.fit import fit, make_learner
from core.fusion.meta import ADAPT_UPDATES, _reward_of, adapt, fit_last_layer, meta_train
from core.fusion.q_network import QNetwork, features
from core.fusion.reward import alpha_values, fuse
from core.fusion.training import train_agent

CONFIG = FusionAgentConfig(batch_size=512, fusion_lr=3e-3)


def vehicle(border: float, windows: int = 4000, seed: int = 0) -> FusionPredictionCache:
    """The VGAE is right where both scores add up to less than ``border``, else the GAT."""
    rng = np.random.default_rng(seed)
    anomaly, gat_prob = rng.random(windows), rng.random(windows)
    label = np.where(anomaly + gat_prob < border, anomaly >= 0.5, gat_prob >= 0.5)
    return FusionPredictionCache.from_arrays(anomaly, gat_prob, label)


def reward(network: QNetwork, cache: FusionPredictionCache) -> float:
    with torch.no_grad():
        alpha = alpha_values(21)[network(cache.states).argmax(dim=1)].numpy()
    verdict = fuse(cache.anomaly_score, cache.gat_prob, alpha) >= 0.5
    return float(np.where(verdict == (cache.label == 1), 1.0, -1.0).mean())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("borders", "border"), [((0.8, 1.0, 1.25), 1.1), ((1.08, 1.24, 1.17), 0.9)]
)
def test_a_new_vehicle_is_fifty_updates_away(borders: tuple[float, ...], border: float) -> None:
    assert ADAPT_UPDATES <= 50
    start = meta_train([vehicle(b, seed=i) for i, b in enumerate(borders)], CONFIG, rounds=30)
    weights = [p.clone() for p in start.parameters()]
    new, fresh = vehicle(border, seed=10), vehicle(border, seed=11)
    config = create_fusion_config(agent={"fusion_lr": 3e-3}, training={"device": "cpu"})
    trained = train_agent(*new.train_validation_split(0.2, 0), config)
    full = reward(trained.agent.q_network, fresh)
    assert full > 0.98
    assert reward(adapt(start, new, CONFIG), fresh) >= 0.99 * full
    assert all(torch.equal(a, b) for a, b in zip(weights, start.parameters(), strict=True))
    # Neither the start alone is enough, nor so many gradient steps alone.
    plain = QNetwork(2, 21, CONFIG.hidden_dims, torch.Generator().manual_seed(0))
    reward_of = _reward_of(new, CONFIG, 0.5)
    fit(make_learner(plain, CONFIG), new.states, reward_of, ADAPT_UPDATES, torch.Generator())
    assert max(reward(start, fresh), reward(plain, fresh)) < 0.97 * full


@pytest.mark.parametrize("dueling", [False, True])
def test_the_last_layer_fits_best_and_keeps_what_no_window_tells_of(
    dueling: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta, "RIDGE", 1e-9)
    network = QNetwork(2, 5, (16,), torch.Generator().manual_seed(0), dueling=dueling)
    generator = torch.Generator().manual_seed(1)
    inputs = features(torch.rand(5000, 2, generator=generator))
    rewards = torch.rand(5000, 5, generator=generator)
    hidden, _ = network.passed(inputs)
    known = np.column_stack([hidden[-1].detach().numpy(), np.ones(5000)])
    best = known @ np.linalg.lstsq(known, rewards.numpy())[0]
    fit_last_layer(network, inputs, rewards)
    np.testing.assert_allclose(network.passed(inputs)[1].detach(), best, atol=1e-3)

    before = [p.clone() for p in network.parameters()]
    fit_last_layer(network, inputs, network.passed(inputs)[1].detach())
    for was, now in zip(before, network.parameters(), strict=True):
        torch.testing.assert_close(now, was, atol=1e-5, rtol=0)


def test_it_repeats() -> None:
    first, again = (meta_train([vehicle(1.0, 300)], CONFIG, rounds=2) for _ in range(2))
    assert all(
        torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)
    )


def test_nothing_to_learn_from_is_refused() -> None:
    empty = vehicle(1.0, 10).select(slice(0, 0))
    for caches in ([], [empty]):
        with pytest.raises(ScoresError, match="one or more data sets"):
            meta_train(caches, CONFIG)
    with pytest.raises(ScoresError, match="windows to adapt to"):
        adapt(QNetwork(2, 21, (4,), torch.Generator()), empty, CONFIG)
