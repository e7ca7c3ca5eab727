"""What ``candump`` prints on a console.

::

     (000.000000)  can0  18FCF200   [8]  E1 FF FF FF FF FF FF FF
      can0  123   [3]  11 22 33                      without a time
      can0  123   [2]  remote request
      can0  20000004   [8]  00 04 00 00 00 00 00 00   ERRORFRAME
      can0  123  [12]  00 11 22 33 44 55 66 77 88 99 AA BB     CAN FD

The time may be missing (then the capture has an order only), and lines that a shell left among the
frames are set aside. Where a ``labeled_NAME.csv`` lies beside ``NAME.log`` and names the same
frames one by one, its labels are taken.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.labelled_twin import labelled_twin, take_labels
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import (
    ALL_FRAMES,
    CHUNK_FRAMES,
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
    Text,
    Words,
    equals,
    read_frame_words,
    read_integer,
    read_lines,
    read_time,
    see_buses,
    share_of_lines,
    split_words,
    within,
)

NAME = "candump-console"
ERROR_BIT = 0x2000_0000

_BUS = r"[^\s()\[\]]+"
#  (000.000000)  can0  18FCF200   [8]  E1 FF FF FF FF FF FF FF
_LINE = re.compile(
    rf"\s*(?:\((?P<time>[^()]*)\)\s+)?(?P<bus>{_BUS})\s+(?:(?:RX|TX)(?:\s+[-BE]){0, 2}\s+)?"
    r"(?P<id>[0-9A-Fa-f]+)\s+\[(?P<length>[0-9]+)\](?P<data>[^']*)(?:'.*)?"
)


def sniff(head: bytes) -> float:
    """Share of the first lines that look like this format."""
    return share_of_lines(head, _LINE)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read what candump printed, ``frames`` frames or somewhat more at a time.

    In one where a CSV beside the capture labels it, as all frames decide whether it does.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    buses, twin = Buses(), labelled_twin(path)
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    timed: bool | None = None
    odd = 0

    def fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        return _fast(lines, buses)

    def exact(line: str) -> Row:
        match = _LINE.fullmatch(line.removeprefix("\ufeff"))
        if not match:
            raise BadLine("not a candump line")
        row = _frame(match)
        buses.see(match["bus"])
        return row

    size = frames if twin is None else ALL_FRAMES
    for columns in read_lines(path, "", fast, exact, quarantine, frames=size):
        missing = np.isnan(columns.timestamp)
        if timed is None:
            timed = not len(missing) or not missing[:LOOK_FRAMES].all()
        columns.timestamp[missing if timed else slice(None)] = 0.0
        odd += int(np.count_nonzero(missing == timed))
        warnings = buses.warnings()
        if odd and timed:
            warnings += (f"{odd} frames have no time; it counts as 0",)
        elif odd:
            warnings += (f"{odd} frames have a time, unlike those at the start; it is left out",)
        names, notes = ([], ()) if twin is None else take_labels(twin, columns)
        yield table.add(columns, quarantine, names, warnings + notes, timed=timed)


def _frame(match: re.Match[str]) -> Row:
    digits = match["id"]
    if len(digits) not in (3, 8):
        raise BadLine("id is not 3 or 8 hexadecimal digits")
    timestamp = math.nan if match["time"] is None else exact_timestamp(match["time"].strip())
    raw, flags = int(digits, 16), EXTENDED if len(digits) == 8 else 0
    data = match["data"].split()
    if raw & ERROR_BIT and len(digits) == 8 and (raw & ~ERROR_BIT) >> 29 == 0:
        raw, flags = raw & ~ERROR_BIT, ERROR
        data = [part for part in data if part != "ERRORFRAME"]
    elif len(digits) == 3 and raw > STANDARD_MAX:
        raise BadLine("standard id is beyond 11 bits")
    else:
        raw = exact_id(digits)
    if data[:2] == ["remote", "request"]:
        return Row(timestamp, raw, flags | REMOTE, exact_length(match["length"]), b"")
    # candump writes the length of a CAN FD frame with two digits: [08].
    length = exact_length(match["length"], 64)
    if len(match["length"]) == 2:
        flags |= FD
    elif length > 8:
        raise BadLine("DLC is not 0 to 8")
    if len(data) > length:
        raise BadLine("more bytes than the length says")
    return Row(timestamp, raw, flags, length, exact_bytes(data, length))


def _fast(lines: Lines, buses: Buses) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are frames in the usual spelling."""
    text, words = lines.text, split_words(lines)
    time, timed = within(text, *words.word(0), "()")
    (start, end), sized = within(text, *words.word(3), "[]")
    length, good = read_integer(text, start, end)
    # candump writes the length of a CAN FD frame with two digits: [08].
    fd = end - start == 2
    good &= timed & sized & (words.count > 3) & (end - start <= 2)
    length = np.where(good, length, -1)
    remote = equals(text, *words.word(4), "remote") & equals(text, *words.word(5), "request")
    remote &= (words.count == 6) & (length <= 8)
    columns, good = Columns.empty(len(lines)), np.zeros(len(lines), bool)
    if remote.any() or fd.any():
        for is_kind, flag in ((~fd & ~remote, 0), (remote, REMOTE), (fd & ~remote, FD)):
            rows = np.flatnonzero(is_kind)
            part, good[rows] = _read(text, words.take(rows), length[rows], flag)
            columns.put_rows(rows, part)
    else:
        columns, good = _read(text, words, length, 0)
    columns.timestamp, fine = read_time(text, *time)
    return columns, see_buses(text, *words.word(1), good & fine, buses, _BUS)


def _read(
    text: Text, words: Words, length: npt.NDArray[np.int64], flag: int
) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """Frames of one kind: 0, ``REMOTE`` or ``FD``."""
    start, end = words.word(2)
    columns, good = read_frame_words(
        text,
        words,
        number=(start, end),
        length=np.where((length >= 0) & (flag == REMOTE), 0, length),
        data=4,
        most=64 if flag == FD else 8,
    )
    columns.length = np.maximum(length, 0).astype(np.uint8)
    extended = end - start == 8
    columns.flags = np.where(extended, np.uint8(EXTENDED | flag), np.uint8(flag))
    good &= extended | ((end - start == 3) & (columns.arbitration_id <= STANDARD_MAX))
    return columns, good & (words.count == (6 if flag == REMOTE else 4 + length))
