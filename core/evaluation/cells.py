"""Windows by cell of the policy map: ``G x G`` cells, rows anomaly score, columns GAT probability.

A window belongs to the cell nearest to its scores, as in :func:`core.fusion.policy.policy_map`.
"""

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.int64]
"""``[G, G]``"""


def cells_of(anomaly: npt.ArrayLike, gat_prob: npt.ArrayLike, size: int) -> npt.NDArray[np.int64]:
    """``[W]`` cell of each window, counted row by row; scores ``[W]`` in [0, 1]."""
    row, column = (
        np.rint(np.asarray(score) * np.float64(size - 1)).astype(np.int64)
        for score in (anomaly, gat_prob)
    )
    return row * size + column


def errors_per_cell(
    anomaly: npt.ArrayLike,
    gat_prob: npt.ArrayLike,
    label: npt.ArrayLike,
    fused: npt.ArrayLike,
    threshold: float,
    size: int,
) -> tuple[Grid, Grid]:
    """How many windows of each cell the fused score misses, and how many it flags for nothing."""
    cell = cells_of(anomaly, gat_prob, size)
    attacked, called = np.asarray(label) == 1, np.asarray(fused) >= threshold
    missed, false = (
        np.bincount(cell[rows], minlength=size * size).reshape(size, size)
        for rows in (attacked & ~called, ~attacked & called)
    )
    return missed, false


def on_grid(values: npt.NDArray[np.floating], size: int) -> npt.NDArray[np.float64]:
    """A map ``[H, H]`` read at the cells of a grid ``[size, size]``: the nearest ones."""
    nearest = np.rint(np.linspace(0, len(values) - 1, size)).astype(np.int64)
    return values[np.ix_(nearest, nearest)].astype(np.float64)
