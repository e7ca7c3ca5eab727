"""Whether one method is better than another on the same windows, or just luckier."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, chi2

from core.evaluation.bootstrap import draw_weights, interval, resampled_metrics, time_blocks

FEW = 25
"""Windows on which the methods differ below which McNemar's test is exact."""

Verdicts = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Difference:
    """How two methods differ on the same windows."""

    only_first: int
    """Windows that only the first method judges right, ..."""
    only_second: int
    """... and those that only the second does."""
    mcnemar_p: float
    """Chance of such a split, or a more uneven one, if both were equally good."""
    exact: bool
    """Whether that chance was counted out (few such windows) or taken from chi-squared."""
    metric: str
    difference: float | None
    """First less second in that metric; None where it is undefined."""
    interval: list[float] | None
    """95 % interval of it over resampled blocks of windows."""
    bootstrap_p: float | None
    """Twice the share of draws on the other side of zero; at least ``1 / draws``."""

    def to_dict(self) -> dict[str, Any]:
        """Fit for JSON."""
        return dict(vars(self))


def mcnemar(first: Verdicts, second: Verdicts) -> tuple[int, int, float, bool]:
    """McNemar's test (1947, Psychometrika 12) on which windows ``[W]`` each method has right.

    Only windows on which the methods differ tell anything. Below :data:`FEW` of them the binomial
    distribution is taken, else chi-squared with Edwards' continuity correction. The test takes
    windows as independent; neighbouring ones are alike, so it finds differences too easily, and
    :func:`paired_bootstrap` is the stricter one.

    Returns:
        Windows that only the first has right, that only the second has, the p value, and whether
        it is exact.
    """
    here, there = int((first & ~second).sum()), int((~first & second).sum())
    differing = here + there
    if differing < FEW:
        p = float(binomtest(here, differing).pvalue) if differing else 1.0
        return here, there, p, True
    statistic = max(0, abs(here - there) - 1) ** 2 / differing
    return here, there, float(chi2.sf(statistic, 1)), False


def paired_bootstrap(
    label: Verdicts,
    first: Verdicts,
    second: Verdicts,
    capture: npt.NDArray[np.integer],
    window: npt.NDArray[np.integer],
    metric: str = "f1",
    seed: int = 0,
) -> tuple[list[float] | None, float | None]:
    """95 % interval of the difference in a metric, and its p value.

    Blocks of neighbouring windows are drawn with replacement
    (:mod:`core.evaluation.bootstrap`), the same ones for both methods.

    Args:
        label, first, second: ``[W]`` truth and both methods' verdicts.
        capture, window: ``[W]`` where each window lies.
    """
    block = time_blocks(capture, window)
    weights = draw_weights(int(block.max()) + 1, seed)
    draws = [
        resampled_metrics(block, label, verdict.astype(np.float64), 0.5, weights)[metric]
        for verdict in (first, second)
    ]
    difference = draws[0] - draws[1]
    defined = difference[np.isfinite(difference)]
    bounds = interval(difference)
    if bounds is None:
        return None, None
    other_side = min(float((defined <= 0).mean()), float((defined >= 0).mean()))
    return bounds, min(1.0, max(2 * other_side, 1 / len(defined)))


def compare_verdicts(
    label: Verdicts,
    first: Verdicts,
    second: Verdicts,
    capture: npt.NDArray[np.integer],
    window: npt.NDArray[np.integer],
    metric: str = "f1",
) -> Difference:
    """Both tests on the verdicts ``[W]`` of two methods."""
    here, there, p, exact = mcnemar(first == label, second == label)
    ones = np.ones((1, 1))
    whole = np.zeros(len(label), np.int64)
    values = [
        float(resampled_metrics(whole, label, v.astype(np.float64), 0.5, ones)[metric][0])
        for v in (first, second)
    ]
    bounds, bootstrap_p = paired_bootstrap(label, first, second, capture, window, metric)
    difference = values[0] - values[1]
    defined = bool(np.isfinite(difference))
    return Difference(
        here, there, p, exact, metric, difference if defined else None, bounds, bootstrap_p
    )
