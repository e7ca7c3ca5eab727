"""What a threshold makes of one method's scores, asked again and again: sorted once, then counted.

A window is called an attack if its score is at least the threshold, as in
:func:`core.evaluation.metrics.window_metrics`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CURVE_POINTS = 400
"""Points of a curve at most; of more, those are kept that are evenly spread along it."""
BINS = 10


@dataclass(frozen=True)
class SortedScores:
    """Scores of one method, attacked and clean windows apart, each rising."""

    attacked: Floats
    """``[P]``"""
    clean: Floats
    """``[N]``"""

    @classmethod
    def of(cls, label: npt.ArrayLike, score: npt.ArrayLike) -> "SortedScores":
        """From labels (1: attacked) and scores, both ``[W]``."""
        attacked, values = np.asarray(label) == 1, np.asarray(score, np.float64)
        return cls(np.sort(values[attacked]), np.sort(values[~attacked]))

    def confusion(self, thresholds: npt.ArrayLike) -> tuple[Counts, Counts, Counts, Counts]:
        """``tp, fp, tn, fn`` at each of ``[T]`` thresholds."""
        asked = np.asarray(thresholds, np.float64)
        missed = np.searchsorted(self.attacked, asked, side="left").astype(np.int64)
        right = np.searchsorted(self.clean, asked, side="left").astype(np.int64)
        return len(self.attacked) - missed, len(self.clean) - right, right, missed

    def curve(self, points: int = CURVE_POINTS) -> tuple[Floats, Floats, Floats, Floats]:
        """``threshold, fpr, recall, precision`` along the ROC and precision-recall curves.

        From a threshold above all scores (nothing is called an attack, precision 1 by convention)
        down to the lowest score. Rates of an absent class are not numbers.
        """
        scores = np.unique(np.concatenate([self.attacked, self.clean]))[::-1]
        thresholds = np.append(np.inf, scores)
        tp, fp, _, _ = self.confusion(thresholds)
        if len(thresholds) > points:
            # Along the way from (0, 0) to (1, 1), so that the steep part keeps its shape.
            way = np.cumsum(np.abs(np.diff(tp, prepend=0)) / max(len(self.attacked), 1))
            way += np.cumsum(np.abs(np.diff(fp, prepend=0)) / max(len(self.clean), 1))
            rows = np.searchsorted(way, np.linspace(0, way[-1], points))
            kept = np.unique(np.append(rows, [0, len(thresholds) - 1]))
            thresholds, tp, fp = thresholds[kept], tp[kept], fp[kept]
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(tp + fp > 0, tp / (tp + fp), 1.0)
            return thresholds, fp / len(self.clean), tp / len(self.attacked), precision


def rates(tp: Counts, fp: Counts, tn: Counts, fn: Counts) -> dict[str, Floats]:
    """``precision, recall, f1, fpr``, each ``[T]``; not a number where undefined."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan),
            "fpr": fp / (fp + tn),
        }


@dataclass(frozen=True)
class Reliability:
    """How often windows with about the same score were attacked."""

    score: Floats
    """``[B]`` mean score of each bin with windows."""
    attacked: Floats
    """``[B]`` share of its windows that were attacked."""
    windows: Counts
    """``[B]``"""
    error: float
    """Expected calibration error: mean distance of the two, weighted by windows
    (https://arxiv.org/abs/1706.04599)."""


def reliability(label: npt.ArrayLike, score: npt.ArrayLike, bins: int = BINS) -> Reliability:
    """Calibration of scores in [0, 1] that are read as probabilities; ``[W]`` each.

    Bins are equally wide; those without windows are left out.
    """
    values = np.asarray(score, np.float64)
    place = np.minimum((values * bins).astype(np.int64), bins - 1)
    windows = np.bincount(place, minlength=bins)
    used = windows > 0
    mean, share = (
        np.bincount(place, weights, bins)[used] / windows[used]
        for weights in (values, np.asarray(label, np.float64))
    )
    windows = windows[used]
    error = float(np.abs(mean - share) @ windows / windows.sum()) if used.any() else float("nan")
    return Reliability(mean, share, windows, error)
