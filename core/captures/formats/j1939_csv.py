"""Labelled CSV of J1939 captures.

::

    timestamp,iface,can_id,dlc,data,priority,...,label,rule_name,...
    0.000536,can0,419356416,8,90A0287D7DFFFFF5,6,...,normal,,...

Identifiers are decimal and of 29 bits; data is contiguous hexadecimal. ``label`` is ``normal`` or
the attack's name; columns that are not needed may hold anything, quoted commas too.
"""

from pathlib import Path

from core.captures.formats.csv_columns import Header, head_names
from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.rows import (
    EXTENDED_MAX,
    AttackNames,
    BadLine,
    Buses,
    Columns,
    Quarantine,
    Row,
    build_table,
    exact_length,
    exact_payload,
    exact_timestamp,
)
from core.captures.text import nothing_fast, read_lines

NAME = "j1939-csv"
NEEDED = ("timestamp", "can_id", "dlc", "data")
NORMAL = ("normal", "benign", "0")


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    return float(set(NEEDED) <= set(head_names(head)))


def read(path: Path) -> FrameTable:
    """Read a labelled J1939 CSV.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    columns, quarantine, names, warnings = _read(path)
    return build_table(path, NAME, columns, quarantine, names, warnings)


def read_columns(path: Path) -> tuple[Columns, list[str]]:
    """The frames of a labelled CSV and the names of its attacks.

    Raises:
        CaptureError: if the file cannot be read or lacks a column.
    """
    columns, _, names, _ = _read(path)
    return columns, names


def _read(path: Path) -> tuple[Columns, Quarantine, list[str], tuple[str, ...]]:
    header, attacks, buses = Header(path, NEEDED), AttackNames(), Buses()
    timestamp, number, length, data = (header.names.index(name) for name in NEEDED)
    label, bus = header.index("label"), header.index("iface", "bus", "channel")

    def exact(line: str) -> Row:
        fields = header.fields(line)
        arbitration_id = _decimal_id(fields[number])
        size, payload = exact_length(fields[length]), exact_payload(fields[data])
        if len(payload) != size:
            raise BadLine("payload is not as long as the DLC says")
        row = Row(
            exact_timestamp(fields[timestamp]),
            arbitration_id,
            EXTENDED,
            size,
            payload,
            -1 if label is None else _label(fields[label], attacks),
        )
        if bus is not None:
            buses.see(fields[bus])
        return row

    columns, quarantine = read_lines(
        path, "", nothing_fast, exact, skip_bytes=header.skip_bytes, first_line=2
    )
    warnings = buses.warnings()
    if label is None:
        warnings += ("no label column: the capture is unlabelled",)
    return columns, quarantine, attacks.names, warnings


def _decimal_id(text: str) -> int:
    digits = text.removesuffix(".0")
    if not 1 <= len(digits) <= 10 or not (digits.isascii() and digits.isdigit()):
        raise BadLine("id is not a decimal number")
    if int(digits) > EXTENDED_MAX:
        raise BadLine("id is beyond 29 bits")
    return int(digits)


def _label(text: str, attacks: AttackNames) -> int:
    if not text:
        raise BadLine("label is missing")
    return 0 if text.lower() in NORMAL else attacks.label(text)
