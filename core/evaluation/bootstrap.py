"""95 % intervals of the metrics by a block bootstrap over captures and time.

Neighbouring windows are alike, so windows are not drawn one by one: captures are cut into blocks of
contiguous windows, and as many blocks as there are, over all captures, are drawn with replacement.
A draw is a weight per block, and what is measured depends on sums over blocks only, so that all
draws are one matrix product. The intervals say how sure a figure is on traffic like this; not how
it would be on another vehicle. Where no block holds an error they are a point.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

BLOCK_WINDOWS = 50
"""Windows per block; some seconds of traffic."""
FEWEST_BLOCKS, MOST_BLOCKS = 20, 1000
"""Few windows are cut into shorter blocks and very many into longer ones."""
RESAMPLES = 1000
RATES = ("accuracy", "precision", "recall", "f1", "mcc", "fpr")
INTERVAL_METRICS = (*RATES, "auroc")
LEVELS = (2.5, 97.5)
"""Percentiles of the draws."""
CELLS = 512
"""Cells of the histograms that the draws' ROC curves are made from."""

Interval = list[float] | None
Draws = dict[str, npt.NDArray[np.float64]]
"""Metric -> ``[R]``, not a number where a draw does not define it."""


def time_blocks(
    capture: npt.NDArray[np.integer], window: npt.NDArray[np.integer]
) -> npt.NDArray[np.int64]:
    """``[W]`` block of each window, numbered from 0."""
    length = max(1, min(BLOCK_WINDOWS, len(window) // FEWEST_BLOCKS), len(window) // MOST_BLOCKS)
    keys = np.stack([capture.astype(np.int64), window.astype(np.int64) // length])
    return np.unique(keys, axis=1, return_inverse=True)[1].ravel()


def draw_weights(blocks: int, seed: int = 0, resamples: int = RESAMPLES) -> npt.NDArray[np.float64]:
    """``[resamples, blocks]`` how often each block is drawn; rows sum up to ``blocks``."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(blocks, np.full(blocks, 1 / blocks), resamples).astype(np.float64)


def resampled_metrics(
    block: npt.NDArray[np.int64],
    label: npt.NDArray[np.bool_],
    score: npt.NDArray[np.float64],
    threshold: float,
    weights: npt.NDArray[np.float64],
) -> Draws:
    """:data:`INTERVAL_METRICS` of every draw.

    Args:
        block: ``[W]`` column of ``weights``.
        label, score: ``[W]``
        weights: ``[R, B]`` from :func:`draw_weights`.
    """
    cell = 2 * label + (score >= threshold)  # tn, fp, fn, tp
    counts = np.bincount(4 * block + cell, minlength=4 * weights.shape[1]).reshape(-1, 4)
    tn, fp, fn, tp = (weights @ counts).T
    margins = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "accuracy": (tp + tn) / (tp + tn + fp + fn),
            "precision": tp / (tp + fp),
            "recall": tp / (tp + fn),
            "f1": np.where(tp + fn > 0, 2 * tp / (2 * tp + fp + fn), np.nan),
            "mcc": (tp * tn - fp * fn) / margins,
            "fpr": fp / (fp + tn),
            "auroc": resampled_auroc(block, label, score, weights),
        }


def resampled_auroc(
    block: npt.NDArray[np.int64],
    label: npt.NDArray[np.bool_],
    score: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """``[R]`` area under the ROC curve of every draw; not a number with one class only.

    The order of windows of one class between two of the other does not matter, so they share a cell
    of a histogram per block, and the area is exact. Where that takes more than :data:`CELLS`, cells
    are joined so that hardly any of either class is in one, and what this moves the area of all
    windows by is taken off again.
    """
    value, rank = np.unique(score, return_inverse=True)
    attacked = np.bincount(rank, label, len(value)) > 0
    mixed = attacked & (np.bincount(rank, ~label, len(value)) > 0)
    change = (attacked[1:] != attacked[:-1]) | mixed[1:] | mixed[:-1]
    cell = np.append(0, np.cumsum(change))[rank]
    correction, count = 0.0, int(cell.max()) + 1
    if count > CELLS:
        exact = [np.bincount(cell[rows], minlength=count) for rows in (label, ~label)]
        begin = [(np.cumsum(part) - part) / part.sum() for part in exact]
        joined = np.sum([(CELLS // 2 * share).astype(np.int64) for share in begin], axis=0)
        coarse = [np.bincount(joined, part, CELLS) for part in exact]
        correction = (_area(*exact) - _area(*coarse)).item()
        cell, count = joined[cell], CELLS
    place, size = block * count + cell, weights.shape[1] * count
    positive, negative = (
        weights @ np.bincount(place[rows], minlength=size).reshape(-1, count)
        for rows in (label, ~label)
    )
    return np.clip(_area(positive, negative) + correction, 0.0, 1.0)


def _area(positive: npt.NDArray[Any], negative: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Share of pairs (one of each class) in the right order; ``[..., K]`` counts by rising score.

    Pairs in one cell are ties, and count half.
    """
    below = np.cumsum(negative, axis=-1) - 0.5 * negative
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (positive * below).sum(axis=-1) / (positive.sum(axis=-1) * negative.sum(axis=-1))
        )


def interval(draws: npt.NDArray[np.float64]) -> Interval:
    """The middle 95 % of the draws that are defined; None where more than half are not."""
    defined = draws[np.isfinite(draws)]
    if len(defined) * 2 <= len(draws):
        return None
    return [float(bound) for bound in np.percentile(defined, LEVELS)]


def intervals(draws: Mapping[str, npt.NDArray[np.float64]]) -> dict[str, Interval]:
    """:func:`interval` of each metric."""
    return {name: interval(values) for name, values in draws.items()}
