"""Labelled CSV of J1939 captures.

::

    timestamp,iface,can_id,dlc,data,priority,...,label,rule_name,...
    0.000536,can0,419356416,8,90A0287D7DFFFFF5,6,...,normal,,...

Identifiers are decimal and of 29 bits; data is contiguous hexadecimal. ``label`` is ``normal`` or
the attack's name; columns that are not needed may hold anything, quoted commas too.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.csv_columns import Header, exact_decimal, head_names, put_labels
from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    EXTENDED_MAX,
    AttackNames,
    BadLine,
    Buses,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_length,
    exact_payload,
    exact_timestamp,
)
from core.captures.text import (
    Lines,
    read_hex_bytes,
    read_integer,
    read_time,
    see_buses,
)

NAME = "j1939-csv"
NEEDED = ("timestamp", "can_id", "dlc", "data")
NORMAL = ("normal", "benign", "0")


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    return float(set(NEEDED) <= set(head_names(head)))


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a labelled J1939 CSV, ``frames`` frames or somewhat more at a time.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    header, attacks, buses = Header(path, NEEDED), AttackNames(), Buses()
    timestamp, number, length, data = (header.names.index(name) for name in NEEDED)
    label, bus = header.index("label"), header.index("iface", "bus", "channel")

    def exact(line: str) -> Row:
        fields = header.fields(line)
        arbitration_id = exact_decimal(fields[number], EXTENDED_MAX, "id")
        size, payload = exact_length(fields[length]), exact_payload(fields[data])
        if len(payload) != size:
            raise BadLine("payload is not as long as the DLC says")
        row = Row(
            exact_timestamp(fields[timestamp]),
            arbitration_id,
            EXTENDED,
            size,
            payload,
            -1 if label is None else _label(attacks, fields[label]),
        )
        if bus is not None:
            buses.see(fields[bus])
        return row

    def fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        text, columns = lines.text, Columns.empty(len(lines))
        good = (lines.count == len(header.names) - 1) & (lines.count_of('"') == 0)
        columns.timestamp, fine = read_time(text, *lines.field(timestamp))
        good &= fine
        arbitration_id, fine = read_integer(text, *lines.field(number))
        good &= fine & (arbitration_id <= EXTENDED_MAX)
        columns.arbitration_id = np.where(good, arbitration_id, 0).astype(np.uint32)
        columns.flags[:] = EXTENDED
        size, fine = read_integer(text, *lines.field(length))
        good &= fine
        columns.payload, columns.length, fine = read_hex_bytes(text, *lines.field(data))
        good &= fine & (columns.length == size)
        if label is not None:
            name = lines.field(label)
            good = put_labels(columns, text, name, good, partial(_label, attacks))
        if bus is not None:
            good = see_buses(text, *lines.field(bus), good, buses, "[^ '\t]*")
        return columns, good

    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in header.read_lines(',"', fast, exact, quarantine, frames):
        warnings = buses.warnings()
        if label is None:
            warnings += ("no label column: the capture is unlabelled",)
        yield table.add(columns, quarantine, attacks.names, warnings)


def _label(attacks: AttackNames, text: str) -> int:
    if not text:
        raise BadLine("label is missing")
    return 0 if text.lower() in NORMAL else attacks.label(text)
