"""The CSV of GVRET devices and SavvyCAN.

::

    Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8
    7254438300,000007DF,false,Rx,1,8,02,01,00,00,00,00,00,00
    720670500,500,0,Rx,1,1,0C

Identifiers are hexadecimal, padded or not; ``Dir`` may lack and ``LEN`` be called ``DLC``; rows may
end with their frame or with commas. Times are microseconds in most files: see :func:`time_unit`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.csv_columns import Header, head_names
from core.captures.frame_table import EXTENDED, FD, FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    EXTENDED_MAX,
    LOOK_FRAMES,
    STANDARD_MAX,
    BadLine,
    Buses,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_bytes,
    exact_id,
    exact_length,
    exact_timestamp,
)
from core.captures.text import (
    Lines,
    distinct,
    read_hex_number,
    read_integer,
    read_spaced_bytes,
    see_buses,
)
from core.errors import CaptureError

NAME = "gvret-csv"
NEEDED = ("id", "extended", "bus")
TIMES, LENGTHS = ("time stamp", "timestamp", "time"), ("len", "dlc", "length")
LEAST_GAP_S = 25e-6
"""Frames of a bus are further apart than this: the shortest takes 47 us at 1 Mbit/s."""
_EXTENDED = {"true": True, "1": True, "false": False, "0": False}


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    names = set(head_names(head))
    whole = set(NEEDED) <= names and names & set(TIMES) and names & set(LENGTHS) and "d1" in names
    return float(bool(whole))


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a GVRET or SavvyCAN CSV in chunks of ``frames`` frames or more; it has no labels.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    layout, unit, negative = _Layout(path), None, 0
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in layout.header.read_lines(",", layout.fast, layout.exact, quarantine, frames):
        seconds, name = unit = unit or time_unit(columns.timestamp[:LOOK_FRAMES])
        # One division rounds once, as reading "0.0072" would; a product with 1e-6 would not.
        columns.timestamp = columns.timestamp / round(1 / seconds)
        negative += int(np.count_nonzero(columns.timestamp < 0))
        warnings = layout.buses.warnings()
        if name != "microseconds":
            warnings += (f"times are taken as {name}: as microseconds, frames would be too close",)
        if negative:
            warnings += (f"{negative} frames have a negative time",)
        yield table.add(columns, quarantine, "attack", warnings)


def time_unit(times: npt.NDArray[np.float64]) -> tuple[float, str]:
    """Seconds per unit of ``times`` ``[F]``, and the unit's name.

    The finest of microseconds, milliseconds and seconds in which frames are as far apart as a bus
    can send them (the median of the times between frames, where those differ).
    """
    gaps = np.abs(np.diff(times))
    gaps = gaps[gaps > 0]
    median = float(np.median(gaps)) if len(gaps) else np.inf
    for seconds, name in ((1e-6, "microseconds"), (1e-3, "milliseconds")):
        if median * seconds >= LEAST_GAP_S:
            return seconds, name
    return 1.0, "seconds"


class _Layout:
    """Which column lies where in one file, and the buses seen in it."""

    def __init__(self, path: Path) -> None:
        self.header = Header(path, NEEDED)
        self.buses = Buses()
        columns = [self.header.index(*names) for names in (TIMES, LENGTHS, ("d1",))]
        timestamp, length, data = columns
        if timestamp is None or length is None or data is None:
            raise CaptureError(
                f"{path}: missing columns; expected Time Stamp,ID,Extended,Bus,LEN,D1,..,D8, got "
                f"{','.join(self.header.names)[:200]!r}"
            )
        self.timestamp, self.length, self.data = timestamp, length, data
        self.id, self.extended, self.bus = (self.header.names.index(name) for name in NEEDED)

    def exact(self, line: str) -> Row:
        """One line, read the slow way.

        Raises:
            BadLine: if it is no frame.
        """
        fields = self.header.fields(line, at_least=self.length + 1)
        if not all(0 <= k < len(fields) for k in (self.timestamp, self.id, self.extended)):
            raise BadLine(f"not {len(self.header.names)} columns")
        arbitration_id, extended = exact_id(fields[self.id]), fields[self.extended].lower()
        if extended not in _EXTENDED:
            raise BadLine("Extended is not true, false, 0 or 1")
        length = exact_length(fields[self.length], 64)
        flags = EXTENDED if _EXTENDED[extended] or arbitration_id > STANDARD_MAX else 0
        row = Row(
            exact_timestamp(fields[self.timestamp]),
            arbitration_id,
            flags | (FD if length > 8 else 0),
            length,
            exact_bytes(fields[self.data :], length),
        )
        self.buses.see(fields[self.bus] if self.bus < len(fields) else "")
        return row

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are in the usual spelling."""
        text, columns = lines.text, Columns.empty(len(lines))
        if self.data != self.length + 1 or min(self.timestamp, self.id, self.extended) < 0:
            return columns, np.zeros(len(lines), bool)
        good = lines.count >= self.length
        good &= self.length >= max(self.timestamp, self.id, self.extended, self.bus)
        time, fine = read_integer(text, *lines.field(self.timestamp))
        columns.timestamp = time.astype(np.float64)
        good &= fine
        columns.arbitration_id, fine = read_hex_number(text, *lines.field(self.id))
        good &= fine & (columns.arbitration_id <= EXTENDED_MAX)
        extended, known = columns.arbitration_id > STANDARD_MAX, np.zeros(len(lines), bool)
        for name, where in distinct(text, *lines.field(self.extended), good):
            if name.lower() in _EXTENDED:
                extended[where] |= _EXTENDED[name.lower()]
                known |= where
        good &= known
        columns.flags = np.where(extended, np.uint8(EXTENDED), np.uint8(0))
        length, fine = read_integer(text, *lines.field(self.length))
        good &= fine & (length <= 8) & (self.data + length <= len(self.header.names))
        length = np.where(good, length, 0)
        start = np.minimum(lines.cut(self.length) + 1, lines.end)
        columns.payload, fine = read_spaced_bytes(text, start, length, ",")
        columns.length = length.astype(np.uint8)
        # Behind the bytes come only commas, as many as there are columns left.
        behind = lines.end - lines.field(self.length)[1] - np.where(length, 3 * length, 0)
        good &= fine & (behind == lines.count - self.length - length)
        return columns, see_buses(text, *lines.field(self.bus), good, self.buses, "[^ '\t]*")
