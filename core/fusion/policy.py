"""What the agent learned, on a grid over both scores."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from core.cache.predictions import FusionPredictionCache
from core.errors import StorageError
from core.files import atomic_path
from core.fusion.agent import FusionAgent
from core.fusion.q_network import QNetwork
from core.fusion.reward import alpha_values
from core.fusion.state import StateEncoder

GRID_KEY = b"grid"


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
    agent: FusionAgent,
    grid: int,
    cache: FusionPredictionCache | None = None,
    at: Mapping[str, float] | None = None,
) -> PolicyMap:
    """Ask the agent for every cell of a ``grid x grid`` map, in one batch.

    Args:
        cache: windows to count per cell.
        at: where the map cuts through what else the agent sees (feature -> value); by default at
            the training's medians.

    Raises:
        ConfigError: if ``at`` names a feature that the agent does not see.
    """
    axis = np.linspace(0.0, 1.0, grid, dtype=np.float32)
    values = agent.q_values(np.repeat(axis, grid), np.tile(axis, grid), at)
    worst, best = torch.from_numpy(values).aminmax(dim=1)
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
        q_spread=(best - worst).numpy().reshape(grid, grid),
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


class PolicyHistory:
    """The policy map of each epoch, written as it comes to an Arrow IPC file.

    One row per epoch: ``epoch`` (int32) and ``alpha`` (fixed_size_list<float32>[G * G], rows of the
    map first, as in ``policy.npy``); the file's metadata hold G as ``grid``.
    """

    def __init__(self, path: Path, grid: int, encoder: StateEncoder) -> None:
        axis = np.linspace(0.0, 1.0, grid, dtype=np.float32)
        self.states = encoder.plane(np.repeat(axis, grid), np.tile(axis, grid))
        alpha = pa.list_(pa.float32(), grid * grid)
        self.schema = pa.schema(
            [("epoch", pa.int32()), ("alpha", alpha)], {GRID_KEY: str(grid).encode()}
        )
        self.writer = pa.ipc.new_file(str(path), self.schema)

    def add(self, epoch: int, q_network: QNetwork) -> None:
        """Keep the map of the network as it is now."""
        device = next(q_network.parameters()).device
        alphas = alpha_values(q_network.actions)
        with torch.no_grad():
            best = q_network(self.states.to(device)).argmax(dim=1).cpu()
        row = pa.FixedSizeListArray.from_arrays(
            pa.array(alphas[best].numpy()), type=self.schema.field("alpha").type
        )
        self.writer.write_batch(
            pa.record_batch([pa.array([epoch], pa.int32()), row], schema=self.schema)
        )


@contextmanager
def policy_history(
    path: Path | None, grid: int, encoder: StateEncoder
) -> Iterator[PolicyHistory | None]:
    """Keep policy maps while the block runs; they are at ``path`` however it ends.

    The file appears at the end, whole: also when the training is stopped, with the epochs up to
    then. Without a ``path`` none are kept.

    Raises:
        StorageError: if the file cannot be written.
    """
    if path is None:
        yield None
        return
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.stem}-{os.getpid()}-{os.urandom(4).hex()}{path.suffix}"
        history = PolicyHistory(temporary, grid, encoder)
        try:
            yield history
        finally:
            history.writer.close()
            temporary.replace(path)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
