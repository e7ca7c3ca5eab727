"""The CSV form of the can-train-and-test collection.

::

    timestamp,arbitration_id,data_field,attack
    1513921661.083812,2C0,1400000000000000,0
    1513921661.084060,000,,1

Identifiers are hexadecimal, payloads contiguous (possibly empty), columns in any order. A file
without an ``attack`` (or ``label``) column is read as unlabelled.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.csv_columns import head_names, header_names
from core.captures.frame_table import FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    STANDARD_MAX,
    BadLine,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_id,
    exact_label,
    exact_payload,
    exact_timestamp,
    id_flags,
    stem_attack_name,
)
from core.captures.text import (
    Lines,
    equals,
    first_line,
    hex_characters,
    read_decimal,
    read_hex_bytes,
    read_hex_number,
    read_lines,
    time_characters,
    written,
)
from core.errors import CaptureError
from core.files import atomic_path

NAME = "can-train-and-test-csv"
NEEDED = ("timestamp", "arbitration_id", "data_field")
LABELS = ("attack", "label")


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns, less for one with only some of the telling ones."""
    names = head_names(head)
    if set(NEEDED) <= set(names):
        return 1.0
    return 0.4 * ("data_field" in names) + 0.1 * ("arbitration_id" in names)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a can-train-and-test CSV, ``frames`` frames or somewhat more at a time.

    Its attack is named by the file\'s name.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    header = first_line(path)
    layout = _Layout(path, header_names(header))
    warnings = () if layout.label is not None else ("no attack column: the capture is unlabelled",)
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in read_lines(
        path,
        ",.",
        layout.fast,
        layout.exact,
        quarantine,
        frames=frames,
        skip_bytes=len(header),
        first_line=2,
    ):
        yield table.add(columns, quarantine, stem_attack_name(path), warnings)


class _Layout:
    """Which column lies where in one file."""

    def __init__(self, path: Path, names: list[str]) -> None:
        missing = [name for name in NEEDED if name not in names]
        if missing:
            raise CaptureError(
                f"{path}: missing columns {', '.join(missing)}; "
                f"expected the header timestamp,arbitration_id,data_field,attack, "
                f"got {','.join(names)[:200]!r}"
            )
        self.width = len(names)
        self.timestamp, self.id, self.data = (names.index(name) for name in NEEDED)
        self.label = next((names.index(name) for name in LABELS if name in names), None)

    def exact(self, line: str) -> Row:
        """One line, read the slow way.

        Raises:
            BadLine: if it is no frame.
        """
        fields = [field.strip(" \"'\t") for field in line.split(",")]
        if len(fields) != self.width:
            raise BadLine(f"not {self.width} columns")
        timestamp = exact_timestamp(fields[self.timestamp])
        arbitration_id = exact_id(fields[self.id])
        payload = exact_payload(fields[self.data])
        label = -1 if self.label is None else exact_label(fields[self.label])
        flags = int(arbitration_id > STANDARD_MAX)
        return Row(timestamp, arbitration_id, flags, len(payload), payload, label)

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are in the usual spelling.

        The timestamp's point cuts its field in two, so that the fields behind it move by one.
        """
        text, moved = lines.text, lambda k: k + (k > self.timestamp)
        columns = Columns.empty(len(lines))
        good = lines.count == self.width
        for k in range(self.width):
            good &= lines.delimiter(k, "." if k == self.timestamp else ",")
        start, point = lines.field(self.timestamp)
        _, end = lines.field(self.timestamp + 1)
        columns.timestamp, fine = read_decimal(text, start, point, end)
        good &= fine
        columns.arbitration_id, fine = read_hex_number(text, *lines.field(moved(self.id)))
        good &= fine & (columns.arbitration_id < 1 << 29)
        columns.flags = id_flags(columns.arbitration_id)
        columns.payload, columns.length, fine = read_hex_bytes(text, *lines.field(moved(self.data)))
        good &= fine
        if self.label is not None:
            label = lines.field(moved(self.label))
            attacked = equals(text, *label, "1")
            columns.label = attacked.astype(np.int8)
            good &= attacked | equals(text, *label, "0")
        return columns, good


def write(table: FrameTable, path: Path) -> None:
    """Write frames as a can-train-and-test CSV, atomically.

    Times are rounded to microseconds and must not be negative; flags and payload bytes beyond the
    eighth have no place in this format. An unlabelled capture gets no ``attack`` column.
    """
    digits = hex_characters(table.arbitration_id.astype(">u4")[:, None].view(np.uint8))
    digits[:, :5] *= (table.arbitration_id > STANDARD_MAX)[:, None]
    names = b"timestamp,arbitration_id,data_field"
    columns: list[npt.NDArray[np.uint8] | bytes] = [
        time_characters(table.timestamp),
        b",",
        digits,
        b",",
        hex_characters(table.payload[:, :8], np.minimum(table.length, 8)),
    ]
    if table.labelled:
        names += b",attack"
        columns += [b",", (table.label[:, None] + ord("0")).astype(np.uint8)]
    body = written([*columns, b"\n"], len(table))
    with atomic_path(path) as temporary:
        temporary.write_bytes(names + b"\n" + body)
