"""The prediction cache: both detectors' scores of every window, as one Arrow IPC file.

The file is uncompressed and memory-mapped: its numeric columns become numpy arrays without a copy,
and ``pandas.read_feather`` reads it too. One row is one window; rows are grouped by capture, in
window order.

========================  ==================  ==================================================
column                    type                meaning
========================  ==================  ==================================================
``split``                 dictionary<string>  folder of the capture in its data set
``capture``               dictionary<string>  ``split/file``
``window``                int32               index of the window in its capture
``start_time, end_time``  float64             seconds
``first_frame``           int64               index of the window's first frame in its capture
``anomaly_score``         float32             of the VGAE, in [0, 1]
``gat_prob``              float32             of the GAT, in [0, 1]
``label``                 uint8               1 if the window holds an attacked frame
``attack``                dictionary<string>  name of the attack, empty if none
``fold``                  int16               cross-fitting fold, -1: scored by the final detectors
``vgae_*``                float32             parts of the anomaly score (any number)
``score:*``               float32             of a further detector by its name, in [0, 1]
========================  ==================  ==================================================
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from torch.utils.data import Dataset

from core.errors import CacheError, InputError, ScoresError
from core.evaluation.scores import EXTRA
from core.files import atomic_path
from core.graphs.windows import widened

NAME = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [
        ("split", NAME),
        ("capture", NAME),
        ("window", pa.int32()),
        ("start_time", pa.float64()),
        ("end_time", pa.float64()),
        ("first_frame", pa.int64()),
        ("anomaly_score", pa.float32()),
        ("gat_prob", pa.float32()),
        ("label", pa.uint8()),
        ("attack", NAME),
        ("fold", pa.int16()),
    ]
)
OPTIONAL = ("vgae_", EXTRA)
"""Prefixes of columns of which there may be any number."""
METADATA_KEY = b"canfusion"
COLUMNS = (*SCHEMA.names, "components", "extra_scores")
"""Attributes of a cache that are, or hold, columns."""
SELECTED = "_selected"
"""Attribute of a cache that holds some windows of another."""
SCORES_COLUMNS = ("anomaly_score", "gat_prob", "label")


@dataclass(frozen=True, eq=False)
class FusionPredictionCache(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Both detectors' scores of ``W`` windows; every column has length ``W``.

    As a data set of torch, item ``i`` is the state ``[2]`` (anomaly score, GAT probability) and
    the label of window ``i``.
    """

    anomaly_score: npt.NDArray[np.float32]
    gat_prob: npt.NDArray[np.float32]
    label: npt.NDArray[np.uint8]
    split: npt.NDArray[np.int32]
    """Index into ``split_names``."""
    split_names: tuple[str, ...]
    capture: npt.NDArray[np.int32]
    """Index into ``capture_names``."""
    capture_names: tuple[str, ...]
    attack: npt.NDArray[np.int32]
    """Index into ``attack_names``; the name is empty where there is no attack."""
    attack_names: tuple[str, ...]
    window: npt.NDArray[np.int32]
    start_time: npt.NDArray[np.float64]
    end_time: npt.NDArray[np.float64]
    first_frame: npt.NDArray[np.int64]
    fold: npt.NDArray[np.int16]
    components: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """The ``vgae_*`` columns."""
    extra_scores: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    """Further detectors' scores by their names; the ``score:*`` columns."""
    metadata: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "FusionPredictionCache":
        """Open a prediction cache by memory map.

        Raises:
            CacheError: if the file is missing, truncated, corrupt, lacks a column, or holds
                scores outside [0, 1].
        """
        table, metadata = _map_table(path)
        return cls._from_table(table, metadata, CacheError, str(path))

    @classmethod
    def from_arrays(
        cls,
        anomaly_score: npt.ArrayLike,
        gat_prob: npt.ArrayLike,
        label: npt.ArrayLike,
        capture: npt.ArrayLike | None = None,
        attack: npt.ArrayLike | None = None,
        start_time: npt.ArrayLike | None = None,
        end_time: npt.ArrayLike | None = None,
        split: npt.ArrayLike | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> "FusionPredictionCache":
        """A cache in memory. Rows are put in order: grouped by capture, then by time if given.

        Args:
            anomaly_score, gat_prob: ``[W]`` in [0, 1].
            label: ``[W]``, 0 or 1.
            capture, attack, split: ``[W]`` names; without ``capture`` all rows are one recording.
            start_time, end_time: ``[W]`` seconds; without, the row number stands for the time.

        Raises:
            ScoresError: if lengths differ, a score is not in [0, 1] or a label not 0 or 1.
        """
        columns = {"anomaly_score": anomaly_score, "gat_prob": gat_prob, "label": label}
        optional = {
            "capture": capture,
            "attack": attack,
            "split": split,
            "start_time": start_time,
            "end_time": end_time,
        }
        columns |= {name: value for name, value in optional.items() if value is not None}
        arrays = {name: np.asarray(value) for name, value in columns.items()}
        lengths = {name: array.shape for name, array in arrays.items()}
        if len(set(lengths.values())) > 1 or arrays["label"].ndim != 1:
            raise ScoresError(f"expected columns of one length, got shapes {lengths}")
        return cls._from_frame(pd.DataFrame(arrays), dict(metadata or {}), "scores")

    @classmethod
    def from_scores(cls, path: Path) -> "FusionPredictionCache":
        """Read any two detectors' scores from a ``.csv``, ``.parquet`` or ``.arrow`` file.

        Columns: ``anomaly_score, gat_prob, label`` and optionally ``capture, attack, timestamp``
        (seconds, or dates as text), and ``score:NAME`` of further detectors. Our own prediction
        caches can be read this way too.

        Raises:
            ScoresError: if the file is missing or unreadable, lacks a column, is empty, holds
                scores that are no numbers in [0, 1], or labels other than 0 and 1.
        """
        frame = _read_scores(path)
        missing = [name for name in SCORES_COLUMNS if name not in frame.columns]
        if missing:
            raise ScoresError(
                f"{path} lacks the column(s) {', '.join(missing)}; expected "
                f"{', '.join(SCORES_COLUMNS)}, got {', '.join(map(str, frame.columns)) or 'none'}"
            )
        if "timestamp" in frame.columns:
            frame = frame.assign(start_time=_seconds(frame["timestamp"], str(path)))
        return cls._from_frame(frame, {}, str(path))

    @classmethod
    def _from_frame(
        cls, frame: pd.DataFrame, metadata: dict[str, Any], where: str
    ) -> "FusionPredictionCache":
        """Put columns in order and into the types of :data:`SCHEMA`."""
        if frame.empty:
            raise ScoresError(f"{where}: no rows; expected at least one window")
        rows = len(frame)
        further = [name for name in map(str, frame.columns) if name.startswith(EXTRA)]
        columns: dict[str, npt.NDArray[Any]] = {
            name: _numbers(frame[name], name, where) for name in (*SCORES_COLUMNS, *further)
        }
        for name in columns:  # Here, where rows still have their numbers in the file.
            _check_range(columns[name], name, where, ScoresError)
        for name in ("split", "capture", "attack"):
            columns[name] = _names(frame[name]) if name in frame else np.full(rows, "", object)
        start = (
            _numbers(frame["start_time"], "start_time", where)
            if "start_time" in frame
            else np.arange(rows, dtype=np.float64)
        )
        end = _numbers(frame["end_time"], "end_time", where) if "end_time" in frame else start
        codes, _ = pd.factorize(columns["capture"])
        order = np.lexsort((start, codes))
        columns |= {"start_time": start, "end_time": end}
        columns = {name: values[order] for name, values in columns.items()}
        codes = codes[order]
        begins = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])
        columns["window"] = np.arange(rows) - np.repeat(begins, np.diff(np.r_[begins, rows]))
        columns["first_frame"] = columns["window"]
        columns["fold"] = np.full(rows, -1)
        table = pa.table(
            {f.name: pa.array(columns[f.name]).cast(f.type) for f in SCHEMA}, schema=SCHEMA
        )
        for name in further:
            table = table.append_column(name, pa.array(columns[name]).cast(pa.float32()))
        return cls._from_table(table, metadata, ScoresError, where)

    @classmethod
    def _from_table(
        cls, table: pa.Table, metadata: dict[str, Any], error: type[InputError], where: str
    ) -> "FusionPredictionCache":
        columns: dict[str, npt.NDArray[Any]] = {}
        names: dict[str, tuple[str, ...]] = {}
        for name in table.column_names:
            if name not in SCHEMA.names and not name.startswith(OPTIONAL):
                continue
            chunk = _one_chunk(table.column(name))
            if pa.types.is_dictionary(chunk.type):
                names[name] = tuple(chunk.dictionary.to_pylist())
                chunk = chunk.indices
            columns[name] = chunk.to_numpy(zero_copy_only=True)
        for name in (*SCORES_COLUMNS, *(name for name in columns if name.startswith(EXTRA))):
            _check_range(columns[name], name, where, error)
        extra = {
            name.removeprefix(EXTRA): columns.pop(name)
            for name in list(columns)
            if name.startswith(EXTRA)
        }
        components = {name: columns.pop(name) for name in list(columns) if name.startswith("vgae_")}
        return cls(
            **columns,
            split_names=names["split"],
            capture_names=names["capture"],
            attack_names=names["attack"],
            components=components,
            extra_scores=extra,
            metadata=metadata,
        )

    def __len__(self) -> int:
        _, rows = self.origin
        return len(self.label) if rows is None else len(rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        state = torch.tensor([self.anomaly_score[index], self.gat_prob[index]])
        return state, torch.tensor(int(self.label[index]))

    @property
    def states(self) -> torch.Tensor:
        """What the agent sees: float32 ``[W, 2]``, anomaly score and GAT probability."""
        return torch.from_numpy(np.stack([self.anomaly_score, self.gat_prob], axis=1))

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the scores were made from; empty for scores of other detectors."""
        return self.metadata.get("fingerprint", {})

    def select(self, rows: npt.NDArray[Any] | slice) -> "FusionPredictionCache":
        """The windows given by a mask, indices or a slice.

        Nothing is copied: columns are gathered one by one, when they are first asked for.
        """
        source, among = self.origin
        if among is None and isinstance(rows, slice):
            return replace(self, **{n: _rows_of(getattr(self, n), rows) for n in COLUMNS})
        if among is None:
            among = np.arange(len(self), dtype=np.int32 if len(self) < 2**31 else np.int64)
        chosen = object.__new__(FusionPredictionCache)
        chosen.__dict__[SELECTED] = (source, among[rows])
        return chosen

    @property
    def origin(self) -> tuple["FusionPredictionCache", npt.NDArray[np.integer[Any]] | None]:
        """The cache whose columns lie in memory or in a file, and which of its rows these windows
        are; None: all of them."""
        return self.__dict__.get(SELECTED, (self, None))

    def __getattr__(self, name: str) -> Any:
        """What a selection has not asked its origin for before."""
        if SELECTED not in self.__dict__:
            raise AttributeError(name)
        source, rows = self.origin
        value = getattr(source, name)
        if name in COLUMNS:
            value = _rows_of(value, rows)
        self.__dict__[name] = value
        return value

    def training(self) -> "FusionPredictionCache":
        """The windows that may be learnt from: all but those of ``test_*`` splits."""
        is_test = np.array([name.startswith("test_") for name in self.split_names])
        return self.select(~is_test[self.split])

    def by_split(self) -> dict[str, "FusionPredictionCache"]:
        """The windows of each split folder, in the order in which the folders first appear."""
        return {
            self.split_names[code]: self.select(self.split == code)
            for code in pd.unique(self.split)
        }

    def by_capture(self) -> dict[str, "FusionPredictionCache"]:
        """The windows of each capture, in the order in which the captures first appear."""
        return {
            self.capture_names[code]: self.select(self.capture == code)
            for code in pd.unique(self.capture)
        }

    def to_table(self) -> pa.Table:
        """As an Arrow table in the form of :data:`SCHEMA`, columns of any number last."""
        columns: dict[str, pa.Array] = {}
        for f in SCHEMA:
            values = pa.array(getattr(self, f.name))
            if f.type == NAME:
                names = pa.array(getattr(self, f"{f.name}_names"), pa.string())
                values = pa.DictionaryArray.from_arrays(values, names)
            columns[f.name] = values
        further = {f"{EXTRA}{name}": values for name, values in self.extra_scores.items()}
        return pa.table(columns | {k: pa.array(v) for k, v in (further | self.components).items()})

    def train_validation_split(
        self, val_fraction: float, seed: int = 0
    ) -> tuple["FusionPredictionCache", "FusionPredictionCache"]:
        """Hold out contiguous blocks of windows within each capture.

        Neighbouring windows are alike (and overlap when the stride is below the window size), so
        single windows drawn at random would sit on both sides. Blocks are drawn separately among
        those with and those without attacks, so that both classes are on both sides where the data
        allow it; training windows beside a held-out block, and all that share frames with it, are
        left out.

        Raises:
            ScoresError: if there are fewer than two windows.
        """
        if len(self) < 2:
            raise ScoresError(f"expected at least 2 windows to hold some out, got {len(self)}")
        guard = max(1, self._overlap())
        train, held_out = _hold_out(self.capture, self.label, val_fraction, seed, guard)
        return self.select(train), self.select(held_out)

    def _overlap(self) -> int:
        """How many of the windows after a window share frames with it, at most.

        As the metadata say; for scores of other detectors, by the times of the windows.
        """
        if "overlap" in self.metadata:
            return int(self.metadata["overlap"])
        most = 0
        for rows in np.split(
            np.arange(len(self)), np.flatnonzero(np.diff(self.capture.astype(np.int64))) + 1
        ):
            start, end = self.start_time[rows], self.end_time[rows]
            if (end > start).any():
                # A window may begin with the very frame that another one ends with.
                following = np.searchsorted(start, end, side="right") - np.arange(len(rows)) - 1
                most = max(most, int(following.max()))
        return most


def _rows_of(columns: Any, rows: Any) -> Any:
    """Some rows of a column, or of each in a dictionary."""
    if isinstance(columns, dict):
        return {name: values[rows] for name, values in columns.items()}
    return columns[rows]


def write_predictions(path: Path, table: pa.Table, metadata: Mapping[str, Any]) -> None:
    """Write a prediction cache, atomically.

    Args:
        table: columns of :data:`SCHEMA` (cast to its types), any ``vgae_*`` and ``score:*``.
        metadata: JSON-able: ``version, fingerprint, dataset, protocol``.

    Raises:
        CacheError: if the table lacks a column or a value does not fit.
        StorageError: if the file cannot be written.
    """
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise CacheError(f"cannot write {path}: the table lacks {', '.join(missing)}")
    extra = [name for name in table.column_names if name.startswith(OPTIONAL)]
    schema = pa.schema([*SCHEMA, *(pa.field(name, pa.float32()) for name in extra)])
    try:
        table = table.select(schema.names).cast(schema)
    except pa.ArrowException as error:
        raise CacheError(f"cannot write {path}: {error}") from error
    # One record batch, because a column in pieces could not be read without a copy.
    table = table.unify_dictionaries().combine_chunks()
    text = json.dumps(dict(metadata), allow_nan=False)
    table = table.replace_schema_metadata({METADATA_KEY: text.encode()})
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table, max_chunksize=max(1, len(table)))


def _map_table(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    if not path.is_file():
        raise CacheError(f"no prediction cache at {path}")
    try:
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise CacheError(f"{path} is no readable prediction cache: {error}") from error
    missing = [
        f"{f.name} ({f.type})"
        for f in SCHEMA
        if f.name not in table.column_names or table.schema.field(f.name).type != f.type
    ]
    missing += [
        f"{f.name} (float)"
        for f in table.schema
        if f.name.startswith(OPTIONAL) and f.type != pa.float32()
    ]
    if missing:
        raise CacheError(
            f"{path} is no prediction cache: expected the column(s) {', '.join(missing)}, "
            f"got {', '.join(f'{f.name} ({f.type})' for f in table.schema) or 'none'}"
        )
    if any(column.null_count for column in table.columns):
        raise CacheError(f"{path} is no prediction cache: it holds missing values")
    try:
        metadata = json.loads((table.schema.metadata or {}).get(METADATA_KEY, b"{}"))
    except ValueError as error:
        raise CacheError(f"{path}: its description is not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise CacheError(f"{path}: expected a JSON object as description, got {metadata!r}")
    return table, metadata


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    chunk = column.unify_dictionaries().combine_chunks()
    if isinstance(chunk, pa.ChunkedArray):
        return chunk.chunk(0) if chunk.num_chunks else pa.array([], column.type)
    return chunk


def _check_range(values: npt.NDArray[Any], name: str, where: str, error: type[InputError]) -> None:
    """Refuse scores outside [0, 1] (NaN included) and labels other than 0 and 1."""
    if name == "label":
        good, expected = (values == 0) | (values == 1), "0 or 1"
    else:
        good, expected = (values >= 0) & (values <= 1), "a number in [0, 1]"
    if not good.all():
        bad = np.flatnonzero(~good)
        raise error(
            f"{where}: {name} must be {expected}, got {values[bad[0]]} in row {bad[0] + 1} "
            f"(bad rows: {len(bad)} of {len(values)})"
        )


def _read_scores(path: Path) -> pd.DataFrame:
    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".parquet": pd.read_parquet,
        ".arrow": _read_arrow,
        ".feather": _read_arrow,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ScoresError(
            f"{path}: expected a file ending in .csv, .parquet or .arrow, got {path.suffix!r}"
        )
    if not path.is_file():
        raise ScoresError(f"no file of scores at {path}")
    try:
        return reader(path)
    except pd.errors.EmptyDataError as error:
        raise ScoresError(f"{path}: no rows; expected at least one window") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ScoresError(f"{path} cannot be read as {path.suffix}: {error}") from error


def _read_arrow(path: Path) -> pd.DataFrame:
    """Arrow IPC in either of its two forms: file (with a footer) or stream."""
    with pa.memory_map(str(path)) as source:
        try:
            return pa.ipc.open_file(source).read_pandas()
        except pa.ArrowInvalid:
            source.seek(0)
            return pa.ipc.open_stream(source).read_pandas()


def _numbers(column: pd.Series, name: str, where: str) -> npt.NDArray[np.float64]:
    """A column as float64; refuses text and missing values, naming the first bad row."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ScoresError(
            f"{where}: {name} must be a finite number, got {column.iloc[bad[0]]!r} in row "
            f"{bad[0] + 1} (bad rows: {len(bad)} of {len(numbers)})"
        )
    return numbers


def _seconds(column: pd.Series, where: str) -> pd.Series:
    """Timestamps as seconds: numbers are taken as they are, dates count from 1970."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    try:
        dates = pd.to_datetime(column, utc=True, format="ISO8601")
    except ValueError as error:
        raise ScoresError(f"{where}: timestamp must be seconds or dates: {error}") from error
    return (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)


def _names(column: pd.Series) -> npt.NDArray[np.object_]:
    """A column as text; missing values become the empty name."""
    text = column.astype(object).where(column.notna(), "")
    return text.map(str).to_numpy(object)


def _hold_out(
    capture: npt.NDArray[Any],
    label: npt.NDArray[Any],
    val_fraction: float,
    seed: int,
    guard: int,
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Masks of the windows to train on and to hold out, ``guard`` windows between them.

    Blocks are as long as both classes end up on both sides, but not much longer than the guard
    asks for. Where the guard would cost a class there is none: rather close than blind.
    """
    classes = len(np.unique(label))
    for reach in (guard, 0):
        length = 64 * max(1, guard // 8)
        while length:
            held_out = _draw_blocks(
                capture, label, length, val_fraction, np.random.default_rng(seed)
            )
            train = ~widened(held_out, capture, reach)
            both = all(len(np.unique(label[part])) == classes for part in (held_out, train))
            share = held_out.mean()
            if both and val_fraction / 2 <= share <= min(2 * val_fraction, (1 + val_fraction) / 2):
                return train, held_out
            length //= 2
    if not held_out.any():
        held_out[-1] = True
    return ~held_out, held_out


def _draw_blocks(
    capture: npt.NDArray[Any],
    label: npt.NDArray[Any],
    length: int,
    val_fraction: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Cut captures into blocks of ``length`` windows and draw a share of each kind of block.

    Systematic sampling: walking over the blocks of one kind, a block is drawn whenever the share
    passed so far crosses a whole number. The draws are thus spread over all captures.
    """
    begins = np.flatnonzero(np.r_[True, capture[1:] != capture[:-1]])
    blocks_in = -(-np.diff(np.r_[begins, len(label)]) // length)
    within = np.arange(blocks_in.sum()) - np.repeat(np.cumsum(blocks_in) - blocks_in, blocks_in)
    starts = np.repeat(begins, blocks_in) + length * within
    windows_in = np.diff(np.r_[starts, len(label)])
    attacked = np.maximum.reduceat(label, starts) > 0
    drawn = np.zeros(len(attacked), bool)
    for kind in (False, True):
        blocks = np.flatnonzero(attacked == kind)
        if len(blocks) < 2:
            continue
        share = windows_in[blocks] / length * val_fraction
        passed = np.cumsum(share) + rng.random()
        crossed = np.floor(passed) > np.floor(passed - share)
        if not crossed.any():
            crossed[rng.integers(len(blocks))] = True
        elif crossed.all():
            crossed[rng.integers(len(blocks))] = False
        drawn[blocks] = crossed
    return np.repeat(drawn, windows_in)
