"""What the agent learned, on a grid over both scores."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.cache.predictions import FusionPredictionCache
from core.files import atomic_path
from core.fusion.agent import FusionAgent
from core.fusion.reward import alpha_values


@dataclass(frozen=True)
class PolicyMap:
    """Alpha over the plane of scores; ``[G, G]``, rows: anomaly score, columns: GAT probability."""

    axis: npt.NDArray[np.float32]
    """``[G]`` scores of rows and columns, evenly from 0 to 1."""
    alpha: npt.NDArray[np.float32]
    q_spread: npt.NDArray[np.float32]
    """How much the choice matters: value of the best alpha minus that of the worst."""
    windows: npt.NDArray[np.int64]
    """How many windows have their scores nearest to this cell; 0 where nobody has been."""
    attacks: npt.NDArray[np.int64]
    """How many of them hold an attack."""

    def to_table(self) -> pa.Table:
        """Long form: one row per cell, rows of the map first."""
        size = len(self.axis)
        return pa.table(
            {
                "anomaly_score": np.repeat(self.axis, size),
                "gat_prob": np.tile(self.axis, size),
                "alpha": self.alpha.ravel(),
                "q_spread": self.q_spread.ravel(),
                "windows": self.windows.ravel(),
                "attacks": self.attacks.ravel(),
            }
        )


def policy_map(
    agent: FusionAgent, grid: int, cache: FusionPredictionCache | None = None
) -> PolicyMap:
    """Ask the agent for every cell of a ``grid x grid`` map, in one batch.

    Args:
        cache: windows to count per cell.
    """
    axis = np.linspace(0.0, 1.0, grid, dtype=np.float32)
    values = agent.q_values(np.repeat(axis, grid), np.tile(axis, grid))
    alphas = alpha_values(values.shape[1]).numpy()
    windows = np.zeros(grid * grid, np.int64)
    attacks = np.zeros(grid * grid, np.int64)
    if cache is not None:
        row, column = (
            np.rint(score * np.float64(grid - 1)).astype(np.int64)
            for score in (cache.anomaly_score, cache.gat_prob)
        )
        cell = row * grid + column
        windows = np.bincount(cell, minlength=grid * grid)
        attacks = np.bincount(cell[cache.label == 1], minlength=grid * grid)
    return PolicyMap(
        axis=axis,
        alpha=alphas[values.argmax(axis=1)].reshape(grid, grid),
        q_spread=np.ptp(values, axis=1).reshape(grid, grid),
        windows=windows.reshape(grid, grid),
        attacks=attacks.reshape(grid, grid),
    )


def save_policy(policy: PolicyMap, npy: Path | None = None, arrow: Path | None = None) -> None:
    """Write alpha as ``.npy`` and the whole map in long form as Arrow, atomically.

    Raises:
        StorageError: if a file cannot be written.
    """
    if npy is not None:
        with atomic_path(npy) as temporary, temporary.open("wb") as file:
            np.save(file, policy.alpha, allow_pickle=False)
    if arrow is not None:
        table = policy.to_table()
        with (
            atomic_path(arrow) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, table.schema) as writer,
        ):
            writer.write_table(table)
