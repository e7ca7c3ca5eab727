"""Score tables whose best policy is known."""

import numpy as np

from core.cache.predictions import FusionPredictionCache
from core.config import FusionConfig, create_fusion_config


def gat_right(windows: int = 3000, seed: int = 0) -> FusionPredictionCache:
    """The GAT is always right, the VGAE a coin."""
    rng = np.random.default_rng(seed)
    label = rng.random(windows) < 0.4
    return FusionPredictionCache.from_arrays(
        rng.random(windows), _side(label, rng), label, capture=np.arange(windows) // 500
    )


def vgae_right(windows: int = 3000, seed: int = 0) -> FusionPredictionCache:
    """The VGAE is always right, the GAT a coin."""
    rng = np.random.default_rng(seed)
    label = rng.random(windows) < 0.4
    return FusionPredictionCache.from_arrays(
        _side(label, rng), rng.random(windows), label, capture=np.arange(windows) // 500
    )


def each_right_in_half(windows: int = 6000, seed: int = 0) -> FusionPredictionCache:
    """Below the diagonal ``anomaly + gat_prob = 1`` the VGAE is right, above it the GAT.

    In each half both detectors err alone, so no fixed alpha wins.
    """
    rng = np.random.default_rng(seed)
    anomaly, gat_prob = rng.random(windows), rng.random(windows)
    label = np.where(anomaly + gat_prob < 1, anomaly >= 0.5, gat_prob >= 0.5)
    return FusionPredictionCache.from_arrays(
        anomaly, gat_prob, label, capture=np.arange(windows) // 500
    )


def useless(windows: int = 2000, seed: int = 0) -> FusionPredictionCache:
    """Neither score has anything to do with the label."""
    rng = np.random.default_rng(seed)
    return FusionPredictionCache.from_arrays(
        rng.random(windows), rng.random(windows), rng.random(windows) < 0.5
    )


def small_config(**training: object) -> FusionConfig:
    """Enough to learn the tables above in about a second."""
    settings = {"max_epochs": 12, "updates_per_epoch": 50, "device": "cpu"} | training
    return create_fusion_config("toy", agent={"batch_size": 256}, training=settings)


def _side(label: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Scores anywhere on the right side of 0.5."""
    return np.where(label, 0.5 + rng.random(len(label)) / 2, rng.random(len(label)) * 0.499)
