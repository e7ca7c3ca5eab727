"""CanHacker TRC, in two dialects.

::

    Time   ID     DLC Data                    Comment
    18,876 070      8 00 B0 C8 64 9D B0 01 D6

    @ TEXT @ 3 @ 64 @ 0 @ 1149 @ 7459 @ 00:00:07.459 @
    26,641405<TAB>1<TAB>00000004<TAB>112<TAB>8<TAB>00 20 C1 0E 01 72 89 00<TAB>00000000<TAB>...

The clock shows the seconds of a minute, with a comma or a point, and starts again each minute; the
second dialect often ends lines with a carriage return only. Identifiers of more than three digits
are extended. Written from files of others, tested on files made from this grammar.
"""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.rows import (
    STANDARD_MAX,
    BadLine,
    Buses,
    Columns,
    Row,
    build_table,
    exact_bytes,
    exact_id,
    exact_length,
    exact_timestamp,
)
from core.captures.text import Lines, read_lines, read_words, see_buses, split_words

NAME = "canhacker-trc"
MINUTE = 60.0

_HEADER = re.compile(r"\s*(time\s+id\s+dlc\s+data\b.*|@ TEXT @.*|#.*)", re.I)
# 18,876 070      8 00 B0 C8 64 9D B0 01 D6
_LINE = re.compile(
    r"\s*(?P<time>\d+(?:[,.]\d+)?)\s+(?P<id>[0-9A-Fa-f]{1,8})\s+(?P<length>\d)(?P<data>(?:\s.*)?)"
)


def sniff(head: bytes) -> float:
    """1 for a header of either dialect."""
    first = head.decode("utf-8", "replace").replace("\r", "\n").split("\n", 1)[0]
    return float(not first.startswith("#") and bool(_HEADER.fullmatch(first)))


def read(path: Path) -> FrameTable:
    """Read a CanHacker trace; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    buses = Buses()

    def exact(line: str) -> Row | None:
        if _HEADER.fullmatch(line):
            return None
        return _tabbed(line, buses) if line.count("\t") >= 4 else _table(line)

    columns, quarantine = read_lines(path, "\t", lambda lines: _fast(lines, buses), exact)
    columns.timestamp, wraps = unwrapped(columns.timestamp)
    warnings = buses.warnings()
    if wraps:
        warnings += (f"the clock starts again each minute: {wraps} minutes were added",)
    return build_table(path, NAME, columns, quarantine, "attack", warnings)


def unwrapped(times: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], int]:
    """Seconds of the minute ``[F]`` as seconds since the first minute, and how many went by.

    A step back by more than half a minute is a new minute; smaller ones are disorder.
    """
    if not len(times) or np.any(times >= MINUTE):
        return times, 0
    minutes = np.concatenate(([0], np.cumsum(np.diff(times) < -MINUTE / 2)))
    # Disorder across the turn of a minute: a late frame of the minute before.
    back = np.concatenate(([0], np.cumsum(np.diff(times) > MINUTE / 2)))
    back = np.minimum(back, minutes)
    return times + MINUTE * (minutes - back), int((minutes - back).max())


def _time(text: str) -> float:
    return exact_timestamp(text.strip().replace(",", "."))


def _frame(time: str, number: str, length: str, data: list[str]) -> Row:
    arbitration_id, size = exact_id(number), exact_length(length)
    extended = len(number) > 3 or arbitration_id > STANDARD_MAX
    payload = exact_bytes(data, size)
    return Row(_time(time), arbitration_id, EXTENDED if extended else 0, size, payload)


def _table(line: str) -> Row:
    match = _LINE.fullmatch(line)
    if not match:
        raise BadLine("not a CanHacker line")
    return _frame(match["time"], match["id"], match["length"], match["data"].split())


def _tabbed(line: str, buses: Buses) -> Row:
    fields = line.split("\t")
    if len(fields) < 6:
        raise BadLine("fewer than 6 columns")
    row = _frame(fields[0], fields[3].strip(), fields[4].strip(), fields[5].split())
    buses.see(fields[1].strip())
    return row


def _fast(lines: Lines, buses: Buses) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """All lines of a block, and where they are frames in the usual spelling of either dialect."""
    text, words = lines.text, split_words(lines)
    # Each of the first columns is one word, right behind its tab.
    tabbed = lines.count >= 5
    for k in range(5):
        tabbed &= words.word(k + 1)[0] == lines.cut(k) + 1
    id_start, id_end = words.word(np.where(tabbed, 3, 1))
    columns, good = read_words(
        lines,
        words,
        time=words.word(0),
        number=(id_start, id_end),
        length=words.word(np.where(tabbed, 4, 2)),
        data=np.where(tabbed, 5, 3),
        points=",.",
    )
    extended = (id_end - id_start > 3) | (columns.arbitration_id > STANDARD_MAX)
    columns.flags = np.where(extended, np.uint8(EXTENDED), np.uint8(0))
    good &= tabbed | (lines.count < 4)
    return columns, good & (~tabbed | see_buses(text, *words.word(1), good & tabbed, buses))
