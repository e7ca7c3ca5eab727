"""What a finished run left in its folder, read once per change of the file.

Everything raises :class:`core.errors.InputError` with a sentence for the page when a file is
missing, torn or of another shape.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from core.config import FusionConfig, override
from core.errors import ConfigError, InputError
from core.evaluation.cells import cells_of, on_grid

KEY_COLUMNS = ("split", "capture", "window", "start_time", "end_time", "label", "attack")
PREDICTION_COLUMNS = frozenset((*KEY_COLUMNS, "anomaly_score", "gat_prob", "alpha", "fused"))
POLICY_COLUMNS = frozenset(("anomaly_score", "gat_prob", "alpha", "windows"))


@dataclass(frozen=True)
class Policy:
    """The agent's weight over both scores. Rows: anomaly score; columns: GAT probability."""

    axis: npt.NDArray[np.float64]
    """``[G]`` scores at the middle of the cells."""
    alpha: npt.NDArray[np.float64]
    """``[G, G]`` weight of the GAT, 0 to 1."""
    windows: npt.NDArray[np.int64]
    """``[G, G]`` training windows that fell into the cell; 0: the agent was never there."""
    attacks: npt.NDArray[np.int64]
    """``[G, G]`` attacked windows among them."""
    q_spread: npt.NDArray[np.float64] | None = None
    """``[G, G]`` value of the best alpha minus that of the worst; None where it is not known."""

    @property
    def fused(self) -> npt.NDArray[np.float64]:
        """``[G, G]`` the fused score in the middle of each cell."""
        fused: npt.NDArray[np.float64] = (1 - self.alpha) * self.axis[:, None] + (
            self.alpha * self.axis
        )
        return fused

    def cell(self, anomaly: float, gat_prob: float) -> tuple[int, int]:
        """Row and column of the cell nearest to a pair of scores."""
        row = int(np.abs(self.axis - anomaly).argmin())
        return row, int(np.abs(self.axis - gat_prob).argmin())


@dataclass(frozen=True)
class PolicyEpochs:
    """Alpha over both scores after each epoch of a training."""

    epochs: npt.NDArray[np.int32]
    """``[E]`` rising."""
    alpha: npt.NDArray[np.float32]
    """``[E, G, G]``, axes as in :class:`Policy`."""

    def nearest(self, epoch: int) -> int:
        """Row of the epoch nearest to the one asked for."""
        return int(np.abs(self.epochs.astype(np.int64) - epoch).argmin())

    def at(self, row: int, policy: Policy) -> Policy:
        """A policy with the alphas of an epoch; read at its cells where grids differ."""
        return replace(policy, alpha=on_grid(self.alpha[row], len(policy.axis)))


def has_results(run_dir: Path) -> bool:
    """Whether a run got as far as a comparison."""
    return (run_dir / "results.json").is_file()


def load_results(run_dir: Path) -> dict[str, Any]:
    """``results.json`` of a run.

    Raises:
        InputError: if it is missing or not a results file.
    """
    return _results(run_dir / "results.json", _stamp(run_dir / "results.json"))


def load_predictions(run_dir: Path) -> pa.Table:
    """``predictions.arrow`` of a run, memory-mapped: every scored window. Do not change it.

    Raises:
        InputError: if it is missing, torn or lacks a column.
    """
    path = run_dir / "predictions.arrow"
    return _arrow(path, _stamp(path), PREDICTION_COLUMNS)


def load_policy(run_dir: Path) -> Policy:
    """``policy_map.arrow`` of a run as a grid.

    Raises:
        InputError: if it is missing, torn or not a full square grid.
    """
    path = run_dir / "policy_map.arrow"
    return _policy(path, _stamp(path))


def load_config(run_dir: Path) -> FusionConfig:
    """The settings of a run.

    Raises:
        InputError: if they are missing, or of another version of the program.
    """
    path = run_dir / "config.json"
    return _config(path, _stamp(path))


def load_epochs(run_dir: Path) -> PolicyEpochs | None:
    """``policy_epochs.arrow`` of a run, memory-mapped; None where the run did not keep it.

    Raises:
        InputError: if it is torn or of another shape.
    """
    path = run_dir / "policy_epochs.arrow"
    return _epochs(path, _stamp(path)) if path.is_file() else None


def load_threshold(run_dir: Path) -> float:
    """The fused score from which a window is called an attack in this run (0.5 if unknown)."""
    try:
        config = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
        return float(config["evaluation"]["threshold"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.5


def load_cache_preview(path: Path) -> pa.Table:
    """A prediction cache, memory-mapped, for previews. Do not change it.

    Raises:
        InputError: if it is missing, torn or lacks a column.
    """
    return _arrow(path, _stamp(path), PREDICTION_COLUMNS - {"alpha", "fused"})


def names(table: pa.Table, column: str) -> list[str]:
    """The different values of a text column, sorted."""
    return sorted(str(value) for value in pc.unique(table[column]).to_pylist())


def rows_where(table: pa.Table, **wanted: str) -> pd.DataFrame:
    """The rows whose text columns have the wanted values."""
    for column, value in wanted.items():
        table = table.filter(_is(table[column], value))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _is(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    """Where a text column has a value; by its codes where it has some, which is much faster."""
    if not pa.types.is_dictionary(column.type):
        return pc.equal(column, value)
    return pa.chunked_array(
        [
            pc.equal(part.indices, pc.index(part.dictionary, value).cast(part.indices.type))
            for part in column.chunks
        ],
        pa.bool_(),
    )


def windows_in_cell(table: pa.Table, policy: Policy, row: int, column: int) -> pd.DataFrame:
    """The windows whose scores are nearest to one cell of the policy map.

    Column ``seconds`` counts from the first scored window of the capture.
    """
    size = len(policy.axis)
    cells = cells_of(table["anomaly_score"].to_numpy(), table["gat_prob"].to_numpy(), size)
    inside = cells == row * size + column
    frame: pd.DataFrame = table.filter(pa.array(inside)).to_pandas()
    first = table.group_by("capture").aggregate([("start_time", "min")]).to_pandas()
    first = first.astype({"capture": str}).set_index("capture")["start_time_min"]
    frame["seconds"] = frame["start_time"] - frame["capture"].astype(str).map(first).astype(float)
    return frame


def _stamp(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path.name} is missing in {path.parent}") from error


@st.cache_resource(max_entries=32, show_spinner=False)
def _results(path: Path, stamp: int) -> dict[str, Any]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not valid JSON: {error}") from error
    scenarios = results.get("scenarios") if isinstance(results, dict) else None
    if not isinstance(scenarios, dict) or not all(
        isinstance(s, dict) and isinstance(s.get("methods"), dict) for s in scenarios.values()
    ):
        raise InputError(f"{path} holds no scenarios with methods: not a results file")
    return results


@st.cache_resource(max_entries=32, show_spinner=False)
def _config(path: Path, stamp: int) -> FusionConfig:
    try:
        return override(FusionConfig(), json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, AttributeError, ConfigError) as error:
        raise InputError(f"{path} holds no settings of this version: {error}") from error


@st.cache_resource(max_entries=8, show_spinner=False)
def _arrow(path: Path, stamp: int, columns: frozenset[str]) -> pa.Table:
    try:
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"{path} cannot be read as an Arrow file: {error}") from error
    missing = sorted(columns - set(table.column_names))
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(missing)}")
    return table


@st.cache_resource(max_entries=8, show_spinner=False)
def _policy(path: Path, stamp: int) -> Policy:
    frame = _arrow(path, stamp, POLICY_COLUMNS).to_pandas()
    axis = np.unique(frame["anomaly_score"].to_numpy(dtype=np.float64))
    if len(frame) != len(axis) ** 2 or len(axis) != frame["gat_prob"].nunique():
        raise InputError(f"{path} is not a full square grid: {len(frame)} cells")
    ordered = frame.sort_values(["anomaly_score", "gat_prob"])
    attacks = ordered["attacks"] if "attacks" in ordered else ordered["windows"] * 0

    def grid(column: pd.Series) -> npt.NDArray[Any]:
        return column.to_numpy().reshape(len(axis), len(axis))

    return Policy(
        axis,
        grid(ordered["alpha"]),
        grid(ordered["windows"]),
        grid(attacks),
        grid(ordered["q_spread"]) if "q_spread" in ordered else None,
    )


@st.cache_resource(max_entries=8, show_spinner=False)
def _epochs(path: Path, stamp: int) -> PolicyEpochs:
    table = _arrow(path, stamp, frozenset(("epoch", "alpha")))
    kind = table.schema.field("alpha").type
    size = math.isqrt(kind.list_size) if pa.types.is_fixed_size_list(kind) else 0
    if not len(table) or size < 2 or size**2 != kind.list_size:
        raise InputError(f"{path}: expected one square map of alpha for each epoch, got {kind}")
    alpha = table["alpha"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    order = np.argsort(table["epoch"].to_numpy(), kind="stable")
    return PolicyEpochs(
        table["epoch"].to_numpy().astype(np.int32)[order], alpha.reshape(-1, size, size)[order]
    )
