"""The reward that can be attained, on windows counted by hand, and an agent that attains it."""

import numpy as np
import pytest

from core.bench.fusion_goal import attainable_reward, measure_fusion_goal
from core.cache.predictions import FusionPredictionCache
from core.config import create_fusion_config


def test_of_windows_alike_only_the_more_frequent_kind_can_be_got_right() -> None:
    # Three windows with the same scores, one attacked; one that both detectors get wrong.
    cache = FusionPredictionCache.from_arrays(
        [0.9, 0.9, 0.9, 0.2], [0.1, 0.1, 0.1, 0.2], [1, 0, 0, 1]
    )
    oracle, attainable = attainable_reward(cache, create_fusion_config())
    assert oracle == pytest.approx((3 - 1) / 4)
    assert attainable == pytest.approx((2 - 1 - 1) / 4)
    costly = create_fusion_config(agent={"miss_cost": 5.0})
    # Now it is cheaper to call all three an attack: two false alarms, and 5 for the one missed.
    assert attainable_reward(cache, costly)[1] == pytest.approx((1 - 2 - 5) / 4)


def test_an_agent_attains_what_a_simple_rule_attains() -> None:
    rng = np.random.default_rng(0)
    anomaly, gat_prob = rng.random(4000), rng.random(4000)
    label = np.where(anomaly + gat_prob < 1, anomaly >= 0.5, gat_prob >= 0.5)
    cache = FusionPredictionCache.from_arrays(anomaly, gat_prob, label.astype(np.uint8))
    found = measure_fusion_goal(cache)
    assert found["oracle_reward"] == 1.0
    assert found["attainable_reward"] == pytest.approx(1.0, abs=0.02)
    assert found["share"] is not None
    assert found["share"] > 0.95
    # Told by its scores, a window near the border may be known better than by its cell.
    assert found["reward"] <= found["oracle_reward"]
    assert found["seconds"] is None or 0 < found["seconds"] <= found["seconds_in_all"]
