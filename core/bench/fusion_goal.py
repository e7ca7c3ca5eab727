"""How much of the attainable reward an agent reaches, and how soon."""

import time
from collections.abc import Mapping
from dataclasses import replace

import torch

from core.cache.predictions import FusionPredictionCache
from core.config import FusionAgentConfig, FusionConfig, create_fusion_config
from core.evaluation.cells import cells_of
from core.fusion.reward import alpha_values, reward_matrix
from core.fusion.training import train_agent
from core.progress import SilentReporter

GOAL = 0.995
"""Of the attainable reward."""
CELLS = 50
"""Per score."""


class Clock(SilentReporter):
    """Notes when each epoch was over, and its reward on validation windows."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.epochs: list[tuple[float, float]] = []

    def metrics(self, step: str, values: Mapping[str, float]) -> None:
        self.epochs.append((time.perf_counter() - self.started, values["val_reward"]))


def measure_fusion_goal(
    cache: FusionPredictionCache, device: str = "cpu", seed: int = 0
) -> dict[str, float | None]:
    """An agent trained with default settings.

    Returns:
        ``windows``; mean rewards on held-out windows: ``oracle_reward`` (right wherever either
        detector is), ``attainable_reward`` (:func:`attainable_reward`) and ``reward`` of the agent;
        its ``share`` of the attainable one; ``seconds`` of the wall clock until an epoch had
        :data:`GOAL` of it (None: none had) and ``seconds_in_all``.
    """
    config = create_fusion_config(training={"device": device, "seed": seed})
    train, validation = cache.training().train_validation_split(config.data.val_fraction, seed)
    # Loads what Lightning needs, which is not training.
    warm = replace(config, training=replace(config.training, max_epochs=1, updates_per_epoch=1))
    train_agent(train, validation, warm)
    clock = Clock()
    train_agent(train, validation, config, reporter=clock)
    oracle, attainable = attainable_reward(validation, config)
    best = max(reward for _, reward in clock.epochs)
    reached = [seconds for seconds, reward in clock.epochs if reward >= GOAL * attainable]
    return {
        "windows": float(len(cache)),
        "oracle_reward": oracle,
        "attainable_reward": attainable,
        "reward": best,
        "share": best / attainable,
        "seconds": reached[0] if reached else None,
        "seconds_in_all": clock.epochs[-1][0],
    }


def attainable_reward(
    windows: FusionPredictionCache, config: FusionConfig, cells: int = CELLS
) -> tuple[float, float]:
    """Mean reward of the oracle, and of the best policy that knows a window by its cell alone.

    Of ``cells x cells`` cells of the plane, each gets the weight that is best for the very windows
    in it. Chosen with hindsight, and so more than policies that tell no more apart can be expected
    to reach.
    """
    total, best = torch.zeros(cells**2, config.agent.alpha_steps, dtype=torch.float64), 0.0
    cell = torch.from_numpy(cells_of(windows.anomaly_score, windows.gat_prob, cells))
    for start in range(0, len(windows), 65_536):
        rows = slice(start, start + 65_536)
        rewards = _rewards(windows, rows, config.agent, config.evaluation.threshold).double()
        total.index_add_(0, cell[rows], rewards)
        best += float(rewards.amax(dim=1).sum())
    return best / len(windows), float(total.amax(dim=1).sum()) / len(windows)


def _rewards(
    windows: FusionPredictionCache, rows: slice, agent: FusionAgentConfig, threshold: float
) -> torch.Tensor:
    anomaly, gat_prob, label = (
        torch.tensor(column[rows])
        for column in (windows.anomaly_score, windows.gat_prob, windows.label)
    )
    return reward_matrix(
        anomaly, gat_prob, label, alpha_values(agent.alpha_steps), agent, threshold
    )
