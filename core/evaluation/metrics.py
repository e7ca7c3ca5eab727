"""How good one method's verdicts on labelled windows are."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score

from core.errors import ScoresError

Metrics = dict[str, float | int | None]

METRIC_NAMES = (
    *("accuracy", "precision", "recall", "f1", "mcc", "auroc", "auprc", "fpr"),
    *("tp", "fp", "tn", "fn"),
)


def window_metrics(
    label: npt.ArrayLike,
    score: npt.ArrayLike,
    threshold: float = 0.5,
    verdict: npt.ArrayLike | None = None,
) -> Metrics:
    """Counts and rates of one method over ``W`` windows.

    Args:
        label: ``[W]``, 1 where the window holds an attack, else 0.
        score: ``[W]``, higher means more like an attack; ranks the windows for AUROC and AUPRC
            (AUPRC is average precision).
        threshold: score from which (inclusive) a window is called an attack.
        verdict: ``[W]`` of 0 and 1; replaces the comparison with ``threshold``.

    Returns:
        The names in :data:`METRIC_NAMES`. A rate whose denominator is zero (no attacked window, no
        clean window, nothing called an attack) is undefined, and None, as is ``f1`` without
        attacked windows. ``mcc`` is Matthews' phi coefficient, undefined when any margin of the
        confusion matrix is empty.

    Raises:
        ScoresError: on columns of unequal length, scores that are not finite, or labels or
            verdicts other than 0 and 1.
    """
    truth = _binary("label", label)
    ranking = np.asarray(score, dtype=np.float64)
    if ranking.shape != truth.shape:
        raise ScoresError(
            f"expected one score per label, got shape {ranking.shape} for {truth.shape}"
        )
    require_finite("scores", ranking)
    called = ranking >= threshold if verdict is None else _binary("verdict", verdict)
    if called.shape != truth.shape:
        raise ScoresError(
            f"expected one verdict per label, got shape {called.shape} for {truth.shape}"
        )
    tp = int(np.count_nonzero(truth & called))
    fp = int(np.count_nonzero(~truth & called))
    fn = int(np.count_nonzero(truth & ~called))
    tn = len(truth) - tp - fp - fn
    # Python's integers do not overflow in the product.
    margins = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    attacked, clean = tp + fn > 0, tn + fp > 0
    return {
        "accuracy": _ratio(tp + tn, len(truth)),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn) if attacked else None,
        "mcc": _ratio(tp * tn - fp * fn, margins),
        "auroc": float(roc_auc_score(truth, ranking)) if attacked and clean else None,
        "auprc": float(average_precision_score(truth, ranking)) if attacked else None,
        "fpr": _ratio(fp, fp + tn),
        "tp": tp,
        "fp": fp,
        "tn": tn,
        "fn": fn,
    }


def require_finite(name: str, values: npt.ArrayLike) -> None:
    """Refuse a column ``[W]`` with values that are not numbers or are infinite.

    Raises:
        ScoresError: naming the first such row and how many there are.
    """
    array = np.asarray(values)
    bad = ~np.isfinite(array)
    if bad.any():
        first = int(bad.argmax())
        raise ScoresError(
            f"expected finite {name}, got {array[first]} at row {first} "
            f"({np.count_nonzero(bad)} such rows of {len(array)})"
        )


def _binary(name: str, values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    array: npt.NDArray[Any] = np.asarray(values)
    if array.ndim != 1:
        raise ScoresError(f"expected {name} to be one column, got shape {array.shape}")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        first = int(wrong.argmax())
        raise ScoresError(f"expected {name} 0 or 1, got {array[first]} at row {first}")
    return array.astype(bool)


def _ratio(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator else None
