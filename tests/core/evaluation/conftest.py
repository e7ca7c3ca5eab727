"""Caches small enough to compute with by hand."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest


@dataclass
class ScoredWindows:
    """The columns of a prediction cache that the evaluation reads."""

    anomaly_score: npt.NDArray[np.float32]
    gat_prob: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    capture: npt.NDArray[np.int32]
    capture_names: tuple[str, ...]
    attack: npt.NDArray[np.int16]
    attack_names: tuple[str, ...]
    window: npt.NDArray[np.int32]
    start_time: npt.NDArray[np.float64]
    end_time: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.label)


@pytest.fixture
def scored() -> Callable[..., ScoredWindows]:
    """Makes scored windows from columns; one capture unless told otherwise."""

    def make(anomaly, gat, label, capture=None, names=("train_01/a.csv",), first_window=0):
        count = len(label)
        codes = np.zeros(count, np.int32) if capture is None else np.array(capture, np.int32)
        window = np.zeros(count, np.int32)
        for code in np.unique(codes):
            rows = codes == code
            window[rows] = first_window + np.arange(rows.sum())
        return ScoredWindows(
            anomaly_score=np.array(anomaly, np.float32),
            gat_prob=np.array(gat, np.float32),
            label=np.array(label, np.uint8),
            capture=codes,
            capture_names=tuple(names),
            attack=np.where(np.array(label, int) == 1, 0, -1).astype(np.int16),
            attack_names=("dos",),
            window=window,
            start_time=window * 0.1,
            end_time=window * 0.1 + 0.1,
        )

    return make
