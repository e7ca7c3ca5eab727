"""The serial log of Battery-Emulator, as PuTTY keeps it.

::

    ] 00 00 00                                  the first line may be cut off
    (683.70) RX0 7E0 [8] 03 22 E1 A1 00 00 00 00
    (683.71) TX1 18FF1234 [2] 01 02

The word before the identifier is direction and bus. Written from descriptions of the format and
tested on files made from this grammar.
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
    exact_length,
    exact_timestamp,
)
from core.captures.text import (
    Lines,
    read_lines,
    read_words,
    see_buses,
    share_of_lines,
    split_words,
    within,
)

NAME = "battery-emulator"

# (683.70) RX0 7E0 [8] 03 22 E1 A1 00 00 00 00
_LINE = re.compile(
    r"\s*\((?P<time>[^()]*)\)\s+(?:RX|TX)(?P<bus>\d*)\s+(?P<id>[0-9A-Fa-f]+)\s+"
    r"\[(?P<length>\d+)\]\s*(?P<data>.*)"
)


def sniff(head: bytes) -> float:
    """Share of the first lines that look like this format."""
    return share_of_lines(head, _LINE)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a Battery-Emulator log, ``frames`` frames or somewhat more at a time; it has no labels.

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
            if line.startswith("=~=~="):
                return None  # PuTTY's heading
            raise BadLine("not a Battery-Emulator line")
        arbitration_id, length = exact_id(match["id"]), exact_length(match["length"], 64)
        extended = len(match["id"]) > 3 or arbitration_id > STANDARD_MAX
        if length > 8:
            raise BadLine("DLC is not 0 to 8")
        data = match["data"].split()
        if len(data) > length:
            raise BadLine("more bytes than the length says")
        row = Row(
            exact_timestamp(match["time"].strip()),
            arbitration_id,
            EXTENDED if extended else 0,
            length,
            exact_bytes(data, length),
        )
        buses.see(match["bus"])
        return row

    for columns in read_lines(path, "", fast, exact, quarantine, frames=frames):
        yield table.add(columns, quarantine, "attack", buses.warnings())


def _fast(lines: Lines, buses: Buses) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are data frames in the usual spelling."""
    text, words = lines.text, split_words(lines)
    time, timed = within(text, *words.word(0), "()")
    length, sized = within(text, *words.word(3), "[]")
    id_start, id_end = words.word(2)
    columns, good = read_words(
        lines, words, time=time, number=(id_start, id_end), length=length, data=4
    )
    extended = (id_end - id_start > 3) | (columns.arbitration_id > STANDARD_MAX)
    columns.flags = np.where(extended, np.uint8(EXTENDED), np.uint8(0))
    good &= timed & sized & (words.count == 4 + columns.length)
    return columns, see_buses(text, *words.word(1), good, buses, r"(?:RX|TX)(\d*)")
