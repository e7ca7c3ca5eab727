"""The parquet form of the can-train-and-test collection.

Columns, in any order, others ignored: ``timestamp`` (seconds as a number, or a date and time),
``id`` or ``arbitration_id`` (a number, or hexadecimal text), ``data_field`` (hexadecimal text; null
is an empty payload), and ``label`` or ``attack`` (0/1), without which the capture is unlabelled.

A parquet file that this project exported (:mod:`core.captures.export`) is read as what it was.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.captures import arrow_io
from core.captures.formats.pieces import PIECE_FRAMES, read_pieces
from core.captures.frame_table import FrameTable
from core.captures.rows import (
    EXTENDED_MAX,
    STANDARD_MAX,
    BadLine,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    concatenate,
    exact_id,
    exact_label,
    exact_payload,
    exact_timestamp,
    id_flags,
    stem_attack_name,
)
from core.captures.text import (
    PAD,
    Text,
    hex_characters,
    read_hex_bytes,
    read_hex_number,
    unpacked_limit,
)
from core.errors import CaptureError
from core.files import atomic_path

NAME = "can-train-and-test-parquet"
MAGIC = b"PAR1"
IDS, LABELS = ("id", "arbitration_id"), ("label", "attack")

ROWS = 1 << 17
"""Rows taken apart at a time: few enough to stay in the processor's cache."""
FRAME_BYTES = 64
"""What a frame needs in memory while it is read, about."""

Mask = npt.NDArray[np.bool_]


def sniff(head: bytes) -> float:
    """1 for a parquet file."""
    return float(head.startswith(MAGIC))


def read(path: Path) -> FrameTable:
    """Read a can-train-and-test parquet file; its attack is named by the file's name.

    Raises:
        CaptureError: if the file cannot be read, lacks a column, has one of another type, holds no
            frame, or unpacks to more than a share of the memory (:func:`read_chunks` has no such
            limit).
    """
    with _open(path) as file:
        _check_size(path, file.metadata)
        if arrow_io.is_saved(file.schema_arrow):
            return _saved(path, file.read(use_threads=False))
        reader = _Reader(path, file)
        return reader.table(list(reader.parts()))


def read_chunks(path: Path) -> Iterator[FrameTable]:
    """:func:`read` in pieces of about a million frames.

    Raises:
        CaptureError: as :func:`read`.
    """
    with _open(path) as file:
        if not arrow_io.is_saved(file.schema_arrow):
            yield from read_pieces(_Reader(path, file))
            return
        for batch in file.iter_batches(PIECE_FRAMES, use_threads=False):
            yield _saved(path, pa.Table.from_batches([batch]))


@contextmanager
def _open(path: Path) -> Iterator[pq.ParquetFile]:
    """A parquet file, whose errors say which it is."""
    try:
        with pa.OSFile(os.fsencode(path)) as source, pq.ParquetFile(source) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaptureError(f"{path}: not a readable parquet file: {reason}") from error


def _check_size(path: Path, metadata: pq.FileMetaData) -> None:
    """Refuse a file that fills the memory: a few bytes may stand for many equal rows."""
    unpacked = [metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)]
    size, limit = max(sum(unpacked), metadata.num_rows * FRAME_BYTES), unpacked_limit()
    if size > limit:
        raise CaptureError(
            f"{path}: unpacks to {size >> 20} MiB, more than {limit >> 20}, a quarter of the "
            "memory; split it up"
        )


class _Reader:
    """What is found on the way through one file."""

    def __init__(self, path: Path, file: pq.ParquetFile) -> None:
        self.path, self.file = path, file
        self.names = _columns(path, file.schema_arrow.names)
        self.builder, self.quarantine = TableBuilder(path, NAME), Quarantine()

    def table(self, parts: Sequence[Columns]) -> FrameTable:
        """The next frames as a table, with what there is to tell of all so far."""
        labelled = len(self.names) == 4
        warnings = () if labelled else ("no label column: the capture is unlabelled",)
        attack = stem_attack_name(self.path)
        return self.builder.add(concatenate(parts), self.quarantine, attack, warnings)

    def parts(self) -> Iterator[Columns]:
        """The frames, some at a time."""
        first = 0
        # One thread: a reading job shares the machine with training and with the pages.
        batches = self.file.iter_batches(ROWS, columns=self.names, use_threads=False)
        for batch in batches:
            yield self._part(_one_text_type(pa.Table.from_batches([batch])), first)
            first += len(batch)

    def _part(self, table: pa.Table, first: int) -> Columns:
        """The frames of some rows, from row ``first`` of the file on."""
        path, names = self.path, self.names
        columns, good = Columns.empty(len(table)), np.ones(len(table), bool)
        columns.timestamp, fine = _timestamps(path, table[names[0]])
        good &= fine
        columns.arbitration_id, fine = _ids(path, table[names[1]])
        good &= fine
        columns.payload, columns.length, fine = _payloads(path, table[names[2]])
        good &= fine
        if len(names) == 4:
            columns.label, fine = _labels(path, table[names[3]])
            good &= fine
        odd = np.flatnonzero(~good)
        hexadecimal = _is_text(table[names[1]].type)
        for index, *values in zip(odd.tolist(), *_values(table.select(names), odd), strict=True):
            try:
                columns.put(index, _exact(values, hexadecimal))
                good[index] = True
            except BadLine as bad:
                text = ",".join("" if v is None else str(v) for v in values)
                self.quarantine.add(first + index + 1, str(bad), text)
        columns.flags = id_flags(columns.arbitration_id)
        return columns.select(good)


def _saved(path: Path, table: pa.Table) -> FrameTable:
    try:
        frames = arrow_io.from_arrow(table)
    except CaptureError as error:
        raise CaptureError(f"{path}: not a saved capture: {error}") from error
    if not len(frames):
        raise CaptureError(f"{path}: no frames in it")
    return frames


def _one_text_type(table: pa.Table) -> pa.Table:
    """The table with text, of whatever Arrow type, as ``large_string``."""
    for i, column in enumerate(table.columns):
        kind = column.type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if kind in (pa.string(), pa.string_view(), pa.large_string(), pa.null()):
            table = table.set_column(i, table.field(i).name, column.cast(pa.large_string()))
    return table


def _columns(path: Path, names: list[str]) -> list[str]:
    """Timestamp, id, payload and, where there is one, label column."""
    found = []
    for wanted in (("timestamp",), IDS, ("data_field",), LABELS):
        present = [name for name in wanted if name in names]
        if present and names.count(present[0]) > 1:
            raise CaptureError(
                f"{path}: column {present[0]} is there {names.count(present[0])} times"
            )
        found.append(present[0] if present else "")
    missing = [
        wanted
        for wanted, name in zip(("timestamp", "id", "data_field"), found, strict=False)
        if not name
    ]
    if missing:
        raise CaptureError(
            f"{path}: missing columns {', '.join(missing)}; expected timestamp, id (or "
            f"arbitration_id), data_field and label (or attack), got {', '.join(names)[:200]}"
        )
    return [name for name in found if name]


def _exact(values: list[Any], hexadecimal: bool) -> Row:
    """One row, read the slow way.

    Raises:
        BadLine: if it is no frame.
    """
    timestamp, arbitration_id, data, *label = values
    if isinstance(arbitration_id, float) and arbitration_id.is_integer():
        arbitration_id = int(arbitration_id)
    if hexadecimal or not isinstance(arbitration_id, int):
        number = exact_id("" if arbitration_id is None else str(arbitration_id).strip())
    elif 0 <= arbitration_id <= EXTENDED_MAX:
        number = arbitration_id
    else:
        raise BadLine("id is negative" if arbitration_id < 0 else "id is beyond 29 bits")
    payload = exact_payload("" if data is None else data.strip())
    return Row(
        exact_timestamp("" if timestamp is None else str(timestamp)),
        number,
        int(number > STANDARD_MAX),
        len(payload),
        payload,
        exact_label("" if label[0] is None else str(label[0]).strip()) if label else -1,
    )


def _values(table: pa.Table, index: npt.NDArray[np.intp]) -> list[list[Any]]:
    """Each column's values at ``index``, with times as seconds."""
    columns = []
    for column in table.take(pa.array(index)).columns:
        if pa.types.is_timestamp(column.type):
            column = _seconds(column)
        elif _is_text(column.type):
            # As bytes: what is odd about a text may be that it is none.
            raw = column.cast(pa.large_binary()).to_pylist()
            columns.append([v if v is None else v.decode("utf-8", "replace") for v in raw])
            continue
        columns.append(column.to_pylist())
    return columns


def _is_text(kind: pa.DataType) -> bool:
    return bool(kind == pa.large_string())


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)


def _seconds(column: pa.ChunkedArray) -> pa.ChunkedArray:
    per_second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[column.type.unit]
    return pc.divide(column.cast(pa.int64()).cast(pa.float64(), safe=False), per_second)


def _numbers(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Values as float64, null as not-a-number."""
    values = column.cast(pa.uint8()) if pa.types.is_boolean(column.type) else column
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(), np.float64)


def _text(column: pa.ChunkedArray) -> tuple[Text, npt.NDArray[np.intp], npt.NDArray[np.intp], Mask]:
    """The characters of a text column, each value's start and end ``[F]``, and where it is null."""
    array = column.combine_chunks()
    _, offsets, content = array.buffers()
    null = np.asarray(array.is_null())
    if not len(array):
        return Text.of(b""), np.zeros(0, np.intp), np.zeros(0, np.intp), null
    at = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    text = Text.of(np.frombuffer(content or b"", np.uint8)[at[0] : at[-1]])
    at = at - at[0] + PAD
    return text, at[:-1], at[1:], null


def _timestamps(path: Path, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.float64], Mask]:
    if pa.types.is_timestamp(column.type):
        column = _seconds(column)
    if _is_number(column.type):
        values = _numbers(column)
        return np.nan_to_num(values), np.isfinite(values)
    if _is_text(column.type):
        return np.zeros(len(column)), np.zeros(len(column), bool)
    raise CaptureError(f"{path}: column timestamp is {column.type}, expected seconds or a date")


def _ids(path: Path, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint32], Mask]:
    if _is_text(column.type):
        text, start, end, null = _text(column)
        numbers, good = read_hex_number(text, start, end)
        return numbers, good & ~null & (numbers <= EXTENDED_MAX)
    if not _is_number(column.type):
        raise CaptureError(f"{path}: the id column is {column.type}, expected numbers or text")
    if column.type == pa.uint32() and not column.null_count:
        numbers = np.array(column.to_numpy())
        return numbers, numbers <= EXTENDED_MAX
    values = _numbers(column)
    good = (values >= 0) & (values <= EXTENDED_MAX) & (values == np.floor(values))
    return np.where(good, values, 0).astype(np.uint32), good


def _payloads(
    path: Path, column: pa.ChunkedArray
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], Mask]:
    if not _is_text(column.type):
        raise CaptureError(f"{path}: column data_field is {column.type}, expected hexadecimal text")
    text, start, end, _ = _text(column)
    return read_hex_bytes(text, start, end)


def _labels(path: Path, column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int8], Mask]:
    if _is_text(column.type):
        return np.zeros(len(column), np.int8), np.zeros(len(column), bool)
    if not _is_number(column.type):
        raise CaptureError(f"{path}: the label column is {column.type}, expected 0 and 1")
    if column.type == pa.uint8() and not column.null_count:
        values = column.to_numpy()
        return values.astype(np.int8), values <= 1
    numbers = _numbers(column)
    return (numbers == 1).astype(np.int8), (numbers == 0) | (numbers == 1)


def write(table: FrameTable, path: Path) -> None:
    """Write frames as a can-train-and-test parquet file, atomically.

    Flags and payload bytes beyond the eighth have no place in this format.
    """
    length = np.minimum(table.length, 8)
    characters = hex_characters(table.payload[:, :8], length)
    offsets = np.concatenate(([0], np.cumsum(2 * length.astype(np.int64)))).astype(np.int32)
    data = pa.StringArray.from_buffers(
        len(table), pa.py_buffer(offsets), pa.py_buffer(characters[characters != 0].tobytes())
    )
    columns = {
        "timestamp": table.timestamp,
        "id": table.arbitration_id,
        "data_field": data,
        "label": table.label,
    }
    with atomic_path(path) as temporary, pa.OSFile(os.fsencode(temporary), "wb") as sink:
        pq.write_table(pa.table(columns), sink)
