"""The text of the OTIDS data set, and the same without the words.

::

    Timestamp:          0.690329        ID: 0153    000    DLC: 8    b6 00 00 00 00 00 00 00
    1483093132.049669        0380    000    8    30 bb 82 00 9d 53 00 81

The flag ``100`` says remote frame. The form with words is written from descriptions of the format
and tested on files made from this grammar, not on the originals; the bare form on real files.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, REMOTE, FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
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
)
from core.captures.text import Lines, equals, read_lines, read_words, split_words

NAME = "otids"

# 1483093132.049669        0380    000    8    30 bb 82 00 9d 53 00 81
_LINE = re.compile(
    r"\s*(?:Timestamp:\s*)?(?P<time>[-+.\deE]+)\s+(?:ID:\s*)?(?P<id>[0-9A-Za-z]{3,8})\s+"
    r"(?P<flag>[01]{3})\s+(?:DLC:\s*)?(?P<length>\d+)(?P<data>(?:\s+\S+)*)\s*"
)


def sniff(head: bytes) -> float:
    """Share of the first lines that look like this format."""
    lines = [line for line in head.decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    return sum(bool(_LINE.fullmatch(line[:400])) for line in lines) / max(len(lines), 1)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read either form of the OTIDS text in chunks of ``frames`` frames or more; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in read_lines(path, "", _fast, exact, quarantine, frames=frames):
        yield table.add(columns, quarantine, "attack")


def exact(line: str) -> Row:
    """One line.

    Raises:
        BadLine: if it is no frame.
    """
    match = _LINE.fullmatch(line[:1000])
    if not match:
        raise BadLine("not an OTIDS line")
    timestamp, arbitration_id = exact_timestamp(match["time"]), exact_id(match["id"])
    length, data = exact_length(match["length"]), match["data"].split()
    flags = EXTENDED if arbitration_id > STANDARD_MAX else 0
    if match["flag"] == "100":
        return Row(timestamp, arbitration_id, flags | REMOTE, length, b"")
    if match["flag"] != "000":
        raise BadLine("flag is not 000 or 100")
    if len(data) > length:
        raise BadLine("more bytes than the DLC says")
    return Row(timestamp, arbitration_id, flags, length, exact_bytes(data, length))


def _fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are data frames in either usual spelling."""
    text, words = lines.text, split_words(lines)
    named = np.ones(len(lines), bool)
    for k, name in ((0, "Timestamp:"), (2, "ID:"), (5, "DLC:")):
        named &= equals(text, *words.word(k), name)
    data = np.where(named, 7, 4)
    id_start, id_end = words.word(np.where(named, 3, 1))
    columns, good = read_words(
        lines,
        words,
        time=words.word(np.where(named, 1, 0)),
        number=(id_start, id_end),
        length=words.word(data - 1),
        data=data,
    )
    columns.flags = id_flags(columns.arbitration_id)
    good &= equals(text, *words.word(np.where(named, 4, 2)), "000") & (id_end - id_start >= 3)
    return columns, good & (words.count == data + columns.length)
