"""Caches small enough to compute with by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from core.cache.predictions import FusionPredictionCache


@pytest.fixture(scope="session")
def scored() -> Callable[..., FusionPredictionCache]:
    """Makes a cache from columns; all windows in one capture unless told otherwise."""

    def make(anomaly, gat, label, capture=None, first_window=0):
        cache = FusionPredictionCache.from_arrays(
            anomaly,
            gat,
            label,
            capture=capture or ["train_01/a.csv"] * len(label),
            attack=["dos" if attacked else "" for attacked in label],
        )
        window = cache.window + np.int32(first_window)
        return replace(cache, window=window, start_time=window * 0.1, end_time=window * 0.1 + 0.1)

    return make
