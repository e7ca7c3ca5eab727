"""CRTD, the log of the Open Vehicle Monitoring System.

::

    1542473901.020305 1R11 1D4 6e 00 00 00 00 00 00 00
    1542473901.021 2T29 18DB33F1 02 01 0c
    1542473901.022 CXX Info Type:crtd; Version:3.1

A record is ``[bus]R11``, ``T11``, ``R29`` or ``T29`` (received or sent, bits of the identifier);
records that begin with C are comments and events. Written from the format's documentation, tested
on files made from this grammar.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    STANDARD_MAX,
    BadLine,
    Buses,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_bytes,
    exact_id,
    exact_timestamp,
)
from core.captures.text import Lines, distinct, read_lines, read_words, share_of_lines, split_words

NAME = "crtd"

# 1542473901.020305 1R11 1D4 6e 00
_LINE = re.compile(
    r"\s*(?P<time>[-\d.]+)\s+(?P<bus>\d*)(?P<kind>[RT](?:11|29)|C[A-Z]{2})\b\s*(?P<rest>.*)"
)


def sniff(head: bytes) -> float:
    """Share of the first lines that look like this format."""
    return share_of_lines(head, _LINE)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a CRTD log, ``frames`` frames or somewhat more at a time; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    buses = Buses()
    quarantine, table = Quarantine(), TableBuilder(path, NAME)

    def fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        return _fast(lines, buses)

    def exact(line: str) -> Row | None:
        match = _LINE.fullmatch(line)
        if not match:
            raise BadLine("not a CRTD record")
        if match["kind"].startswith("C"):
            return None
        number, *data = match["rest"].split() or [""]
        arbitration_id, extended = exact_id(number), match["kind"].endswith("29")
        if not extended and arbitration_id > STANDARD_MAX:
            raise BadLine("standard id is beyond 11 bits")
        if len(data) > 8:
            raise BadLine("payload is longer than 8 bytes")
        timestamp, payload = exact_timestamp(match["time"]), exact_bytes(data, len(data))
        buses.see(match["bus"])
        flags = EXTENDED if extended else 0
        return Row(timestamp, arbitration_id, flags, len(data), payload)

    for columns in read_lines(path, "", fast, exact, quarantine, frames=frames):
        yield table.add(columns, quarantine, "attack", buses.warnings())


def _fast(lines: Lines, buses: Buses) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are frames in the usual spelling."""
    words = split_words(lines)
    columns, good = read_words(
        lines,
        words,
        time=words.word(0),
        number=words.word(2),
        length=words.count - 3,
        data=3,
    )
    known = np.zeros(len(lines), bool)
    for name, where in distinct(lines.text, *words.word(1), good):
        if match := re.fullmatch(r"(\d*)[RT](11|29)", name):
            if match[2] == "29":
                columns.flags[where] = EXTENDED
            else:
                where &= columns.arbitration_id <= STANDARD_MAX
            if where.any():
                buses.see(match[1])
            known |= where
    return columns, known
