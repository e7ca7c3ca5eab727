"""A third detector, and a simple one: how far is a window from the plane that clean ones lie in?"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA

from core.config import DetectorConfig
from core.detectors.calibration import (
    CLEAN_QUANTILE,
    MARGIN,
    SPREAD_FLOOR,
    Floats,
    anomaly_score,
    center_and_spread,
)
from core.detectors.graph_model import CLIP, STD_FLOOR
from core.detectors.prepare import PreparedCapture
from core.graphs.reference import Relative
from core.graphs.store import GraphStore

if TYPE_CHECKING:
    from core.detectors.protocol import Lesson

VARIANCE = 0.95
"""Share of the clean windows' variance that the plane holds."""
STATE = ("mean", "std", "plane", "center", "spread", "threshold")


class PCADetector:
    """Reconstruction error of window features by their principal components.

    The features of a window are its own, and mean and maximum over its ids of theirs. The log error
    counts by how far it lies above that of the windows that commissioned the capture's profile; the
    score is 0.5 where :data:`CLEAN_QUANTILE` of the clean training windows lie, and
    :data:`MARGIN`.
    """

    def __init__(self, state: Mapping[str, npt.NDArray[np.generic]]) -> None:
        self.mean, self.std, self.plane, self.center, self.spread, self.threshold = (
            np.asarray(state[name], np.float64) for name in STATE
        )

    @classmethod
    def fit(
        cls, lessons: "Sequence[Lesson]", config: DetectorConfig, device: torch.device
    ) -> "PCADetector":
        """Learn from the clean windows of recorded traffic."""
        recorded = [lesson for lesson in lessons if lesson.capture.rehearsal is None]
        clean = [windows[c.store.y[windows] == 0] for c, windows in recorded]
        features = [
            _features_of(lesson.capture)[windows]
            for lesson, windows in zip(recorded, clean, strict=True)
        ]
        joined = np.concatenate(features)
        mean, std = joined.mean(0), joined.std(0) + STD_FLOOR
        pca = PCA(VARIANCE, svd_solver="full").fit(_standardised(joined, mean, std))
        state = {
            "mean": mean,
            "std": std,
            # Two planes in one: where the middle is, and the directions.
            "plane": np.vstack([pca.mean_, pca.components_]),
            "center": np.zeros(1),
            "spread": np.ones(1),
            "threshold": np.ones(()),
        }
        detector = cls(state)
        error = np.concatenate([detector._log_error(some) for some in features])
        detector.center, detector.spread = center_and_spread(error[:, None])
        above = [
            detector._deviation(lesson.capture)[windows]
            for lesson, windows in zip(recorded, clean, strict=True)
            if len(windows)
        ]
        quantile = np.quantile(np.concatenate(above), CLEAN_QUANTILE)
        detector.threshold = np.asarray(MARGIN * max(float(quantile), SPREAD_FLOOR))
        return detector

    @classmethod
    def restore(cls, state: Mapping[str, npt.NDArray[np.generic]]) -> "PCADetector":
        """The detector whose :meth:`state` this is."""
        return cls(state)

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that it has learnt."""
        return {name: np.asarray(getattr(self, name)) for name in STATE}

    def score(self, capture: PreparedCapture, device: torch.device) -> Floats:
        """``[G]`` score of all windows of a capture."""
        return anomaly_score(self._deviation(capture), self.threshold)

    def _deviation(self, capture: PreparedCapture) -> Floats:
        error = self._log_error(_features_of(capture))
        center, spread = self.center, self.spread
        if len(capture.reference):
            center, spread = center_and_spread(error[capture.reference][:, None])
        return np.maximum((error - center) / spread, 0.0)

    def _log_error(self, features: Floats) -> Floats:
        middle, directions = self.plane[0], self.plane[1:]
        away = _standardised(features, self.mean, self.std) - middle
        left = away - (away @ directions.T) @ directions
        return np.log(np.maximum((left**2).mean(axis=1), 1e-8))


def _features_of(capture: PreparedCapture) -> Floats:
    return np.concatenate([_features(*part) for part in capture.parts()])


def _features(store: GraphStore, relative: Relative) -> Floats:
    """``[G, F]`` features of windows."""
    nodes = np.concatenate([store.x, relative.x], axis=1).astype(np.float64)
    starts = store.node_ptr[:-1]
    count = np.diff(store.node_ptr)[:, None]
    return np.concatenate(
        [
            store.window_attr,
            relative.window_attr,
            np.add.reduceat(nodes, starts) / count,
            np.maximum.reduceat(nodes, starts),
        ],
        axis=1,
    )


def _standardised(features: Floats, mean: Floats, std: Floats) -> Floats:
    return np.clip((features - mean) / std, -CLIP, CLIP)
