"""The user's own reward: used where it is named, and refused clearly where it does not fit."""

import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, override
from core.errors import ConfigError
from core.fusion.own_reward import load_reward
from core.fusion.reward import reward_bounds, reward_matrix
from core.fusion.training import train_agent
from tests.core.fusion.caches import each_right_in_half, small_config

Give = Callable[..., str]


@pytest.fixture
def give() -> Iterator[Give]:
    """Puts a function where ``agent.reward_function`` finds it; gives its path."""
    module = types.ModuleType("rewards_of_a_test")
    sys.modules[module.__name__] = module

    def put(function: Any, name: str = "reward") -> str:
        setattr(module, name, function)
        load_reward.cache_clear()
        return f"{module.__name__}:{name}"

    yield put
    del sys.modules[module.__name__]
    load_reward.cache_clear()


def closeness(anomaly, gat_prob, label, alphas, threshold):  # type: ignore[no-untyped-def]
    """Three less ten times the distance of alpha from a quarter, whatever the traffic."""
    return (3 - 10 * (alphas - 0.25).abs()).expand(len(label), len(alphas))


def test_it_takes_the_place_of_the_costs(give: Give) -> None:
    cfg = FusionAgentConfig(reward_function=give(closeness), miss_cost=100.0)
    ones = torch.ones(2)
    rewards = reward_matrix(ones, ones, ones, torch.tensor([0.0, 0.25, 1.0]), cfg, 0.5)
    assert rewards.tolist() == [[0.5, 3.0, -4.5]] * 2
    cache = FusionPredictionCache.from_arrays([0.1, 0.9], [0.2, 0.8], [0, 1])
    single, oracle = reward_bounds(cache, cfg, 0.5, torch.tensor([0.0, 0.25, 1.0]))
    assert (single, oracle) == (0.5, 3.0)


def test_an_agent_is_trained_on_it(give: Give) -> None:
    config = override(small_config(max_epochs=6), {"agent.reward_function": give(closeness)})
    scores = each_right_in_half(1500)
    train, validation = scores.train_validation_split(0.25, 0)
    trained = train_agent(train, validation, config)
    assert trained.alpha_mean == pytest.approx(0.25, abs=0.01)
    assert trained.alpha_std < 0.05
    assert trained.reward == pytest.approx(3.0, abs=0.1)
    assert trained.reward_best_single == pytest.approx(0.5)
    assert trained.reward_oracle == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "expected a function, got int"),
        (lambda anomaly, gat_prob: None, "expected to take anomaly, gat_prob, label, alphas"),
        (lambda **given: given["label"], r"expected a tensor of shape \(3, 2\), got \(3,\)"),
        (lambda **given: [[0.0]], "got list"),
        (lambda **given: torch.full((3, 2), np.nan), "expected finite numbers"),
        (lambda **given: given["scores"], "failed: KeyError: 'scores'"),
        (lambda **given: 1 // 0, "failed: ZeroDivisionError"),
    ],
)
def test_what_does_not_fit_is_refused_before_training(
    give: Give, function: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward(give(function))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("reward", "expected module:function"),
        ("nowhere_at_all:reward", "cannot be imported: No module named"),
        ("math:reward", "cannot be imported: module 'math' has no attribute"),
    ],
)
def test_paths_that_lead_nowhere_are_refused(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_reward(path)
