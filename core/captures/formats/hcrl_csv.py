"""The CSV of the HCRL car-hacking and survival-analysis data sets.

::

    1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R
    1478198376.389636,018f,2,fe,5b,T,,,,,,

No header. A line is as wide as its frame, so that the flag (``T`` injected, ``R`` regular) is the
last field that is not empty; attack-free files may lack it. Written from descriptions of the format
and tested on files made from this grammar, not on the originals.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    EXTENDED_MAX,
    STANDARD_MAX,
    BadLine,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_bytes,
    exact_id,
    exact_length,
    exact_timestamp,
    id_flags,
    stem_attack_name,
)
from core.captures.text import (
    Lines,
    read_decimal,
    read_hex_number,
    read_integer,
    read_lines,
    read_spaced_bytes,
)

NAME = "hcrl-csv"
_FLAG = {"R": 0, "T": 1}

# 1478198376.389427,0316,8,05,21,68,09,21,21,00,6f,R
_LINE = re.compile(
    r"[0-9.]+, *[0-9A-Fa-f]{1,8}, *[0-8](, *[0-9A-Fa-f]{1,2}){0,8}(,* *[RTrt])?[, ]*"
)


def sniff(head: bytes) -> float:
    """Share of the first lines that look like this format."""
    lines = [line for line in head.decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    return sum(bool(_LINE.fullmatch(line.strip())) for line in lines) / max(len(lines), 1)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read an HCRL CSV, ``frames`` frames or somewhat more at a time.

    Its attack is named by the file\'s name.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in read_lines(path, ",.", _fast, exact, quarantine, frames=frames):
        yield table.add(columns, quarantine, stem_attack_name(path))


def exact(line: str) -> Row:
    """One line, read the slow way.

    Raises:
        BadLine: if it is no frame.
    """
    fields = [field.strip() for field in line.split(",")]
    if len(fields) < 3:
        raise BadLine("fewer than 3 columns")
    timestamp, arbitration_id = exact_timestamp(fields[0]), exact_id(fields[1])
    length = exact_length(fields[2])
    rest = [field for field in fields[3:] if field]
    label = -1
    if rest and rest[-1].upper() in _FLAG:
        label = _FLAG[rest.pop().upper()]
    if len(rest) > length:
        raise BadLine("more bytes than the DLC says, or a flag that is not R or T")
    payload = exact_bytes(rest, length)
    return Row(
        timestamp, arbitration_id, int(arbitration_id > STANDARD_MAX), length, payload, label
    )


def _fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are in the usual spelling."""
    text, columns = lines.text, Columns.empty(len(lines))
    good = lines.delimiter(0, ".") & (lines.count_of(".") == 1) & (lines.count >= 4)
    start, point = lines.field(0)
    columns.timestamp, fine = read_decimal(text, start, point, lines.field(1)[1])
    good &= fine
    columns.arbitration_id, fine = read_hex_number(text, *lines.field(2))
    good &= fine & (columns.arbitration_id <= EXTENDED_MAX)
    columns.flags = id_flags(columns.arbitration_id)
    length, fine = read_integer(text, *lines.field(3))
    good &= fine & (length <= 8)
    length = np.where(good, length, 0)
    start = np.minimum(lines.cut(3) + 1, lines.end)
    columns.payload, fine = read_spaced_bytes(text, start, length, ",")
    good &= fine
    columns.length = length.astype(np.uint8)
    # Behind the bytes stands a flag behind a comma, or none, and else only commas.
    end = start + np.maximum(3 * length, 0) - 1
    others = lines.end - end - (lines.count - 3 - length)
    flag = text.characters[end + 1]
    flagged = (others == 1) & ((flag == ord("R")) | (flag == ord("T")))
    columns.label = np.where(flagged, flag == ord("T"), -1).astype(np.int16)
    return columns, good & (flagged | (others == 0))
