"""The policy map: rows are anomaly scores, columns GAT probabilities."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig
from core.fusion.agent import FusionAgent
from core.fusion.policy import policy_map, save_policy
from core.fusion.q_network import QNetwork


def agent_that_follows_the_gat_above_half_anomaly() -> FusionAgent:
    """Values ``[0, anomaly - 0.5]`` for alpha 0 and 1: alpha is 1 where the anomaly is above."""
    network = QNetwork(2, 2, (2,))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        first, last = network.layers[0], network.layers[-1]
        first.weight[0, 0], first.weight[1, 0] = 1.0, -1.0  # relu(2a - 1) and relu(1 - 2a)
        last.weight[1, 0], last.weight[1, 1] = 0.5, -0.5
    return FusionAgent(network, FusionAgentConfig(alpha_steps=2, hidden_dims=(2,)))


def test_map_by_hand() -> None:
    scores = FusionPredictionCache.from_arrays(
        [0.0, 0.2, 0.9, 0.95, 0.5], [0.5, 0.5, 0.1, 0.0, 1.0], [0, 1, 1, 1, 0]
    )
    policy = policy_map(agent_that_follows_the_gat_above_half_anomaly(), 3, scores)
    assert policy.axis.tolist() == [0.0, 0.5, 1.0]
    assert policy.alpha.tolist() == [[0, 0, 0], [0, 0, 0], [1, 1, 1]]
    np.testing.assert_allclose(policy.q_spread, [[0.5] * 3, [0.0] * 3, [0.5] * 3], atol=1e-6)
    assert policy.windows.tolist() == [[0, 2, 0], [0, 0, 1], [2, 0, 0]]
    assert policy.attacks.tolist() == [[0, 1, 0], [0, 0, 0], [2, 0, 0]]


def test_both_files_hold_the_map(tmp_path: Path) -> None:
    policy = policy_map(agent_that_follows_the_gat_above_half_anomaly(), 4)
    save_policy(policy, npy=tmp_path / "policy.npy", arrow=tmp_path / "map.arrow")
    np.testing.assert_array_equal(
        np.load(tmp_path / "policy.npy", allow_pickle=False), policy.alpha
    )
    frame = pd.read_feather(tmp_path / "map.arrow")
    assert list(frame.columns) == [
        "anomaly_score",
        "gat_prob",
        "alpha",
        "q_spread",
        "windows",
        "attacks",
    ]
    assert len(frame) == 16
    assert frame.loc[frame["anomaly_score"] > 0.5, "alpha"].tolist() == [1.0] * 8
    assert frame["windows"].sum() == 0
