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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.rows import (
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


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a CanHacker trace, ``frames`` frames or somewhat more at a time; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    buses, clock = Buses(), Clock()
    quarantine, table = Quarantine(), TableBuilder(path, NAME)

    def fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        return _fast(lines, buses)

    def exact(line: str) -> Row | None:
        if _HEADER.fullmatch(line):
            return None
        return _tabbed(line, buses) if line.count("\t") >= 4 else _table(line)

    for columns in read_lines(path, "\t", fast, exact, quarantine, frames=frames):
        columns.timestamp = clock.unwrapped(columns.timestamp)
        warnings = buses.warnings()
        if clock.minutes:
            warnings += (f"the clock starts again each minute: {clock.minutes} minutes were added",)
        yield table.add(columns, quarantine, "attack", warnings)


class Clock:
    """A clock that shows the seconds of a minute and starts again.

    A step back by more than half a minute is a new minute; smaller ones are disorder. A clock that
    shows more than a minute at the capture's start goes on by itself.
    """

    def __init__(self) -> None:
        self.minutes = 0
        """Most minutes that were added to a time."""
        self._wraps: bool | None = None
        self._turns = self._back = 0
        self._last: npt.NDArray[np.float64] = np.empty(0)

    def unwrapped(self, times: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The next times ``[F]`` of a capture as seconds since its first minute."""
        if self._wraps is None:
            self._wraps = not np.any(times[:LOOK_FRAMES] >= MINUTE)
        if not self._wraps or not len(times):
            return times
        step = np.diff(times, prepend=self._last if len(self._last) else times[:1])
        turns = self._turns + np.cumsum(step < -MINUTE / 2)
        # Disorder across the turn of a minute: a late frame of the minute before.
        back = self._back + np.cumsum(step > MINUTE / 2)
        minutes = turns - np.minimum(back, turns)
        self._turns, self._back, self._last = int(turns[-1]), int(back[-1]), times[-1:]
        self.minutes = max(self.minutes, int(minutes.max()))
        return times + MINUTE * minutes


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
