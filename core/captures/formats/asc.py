"""Vector ASC.

::

    date Sam Sep 30 15:06:13.191 2017
    base hex  timestamps absolute
       3.098426 1  18EBFF00x       Rx   d 8 01 A0 0F A6 60 3B D1 40  Length = 273910
       2.584921 4 300              Tx   r 8
       2.501000 1 ErrorFrame
      30.005071 CANFD   2 Rx  300  Name  1 0 8  8 01 02 03 04 05 06 07 08 102203 133 303000

Times are seconds from the start of the measurement, or from the line before where the header says
``timestamps relative``. With ``base dec`` all numbers of a frame are decimal. Other events (status,
statistics, transport protocol) are counted and told. Not read with python-can, whose reader ends
at the first damaged line; it is the measure in the tests.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import (
    ALL_FRAMES,
    CHUNK_FRAMES,
    EXTENDED_MAX,
    FD_LENGTHS,
    STANDARD_MAX,
    BadLine,
    Buses,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_timestamp,
)
from core.captures.text import (
    Lines,
    equals,
    nothing_fast,
    read_lines,
    read_words,
    see_buses,
    settings_first,
    split_words,
)

NAME = "vector-asc"

_HEADER = re.compile(
    r"\s*(date\b|base\s+(hex|dec)|(no\s+)?internal\s+events|//|(begin|end)\s+trigger|;|#).*", re.I
)
_TIMED = re.compile(r"\s*(?P<time>-?\d+\.\d+)\s+(?P<rest>\S.*)")
# 1  18EBFF00x       Rx   d 8 01 A0 0F A6 60 3B D1 40  Length = 273910
_CLASSIC = re.compile(
    r"(?P<bus>\d+)\s+(?P<id>\w+)\s+(?:Rx|Tx)\s+(?P<kind>[dr])\b\s*(?P<rest>.*)", re.I
)
_ERROR = re.compile(r"(?:CANFD\s+)?(?P<bus>\d+)\s+(?:(?:Rx|Tx)\s+)?ErrorFrame\b.*", re.I)
# CANFD   2 Rx        300  Generic_Name_12      1 0 8  8 01 02 03 04 05 06 07 08   102203
_FD = re.compile(
    r"CANFD\s+(?P<bus>\d+)\s+(?:Rx|Tx)\s+(?P<id>[0-9A-Fa-f]+x?)\s+(?:(?![01]\s)\S+"
    r"\s+)?(?P<brs>[01])\s+(?P<esi>[01])\s+(?P<dlc>[0-9A-Fa-f]+)\s+(?P<length>\d+)\b\s*(?P<rest>.*)",
    re.I,
)
_FRAME = re.compile(r"(?:CANFD\s+)?\d+\s+\S+\s+(?:Rx|Tx)\b.*", re.I)


def sniff(head: bytes) -> float:
    """1 for the usual header, else the share of the first lines that are frames or events."""
    text = head.decode("utf-8", "replace")
    lines = [line for line in text.splitlines()[:50] if line.strip()]
    if any(re.match(r"\s*base\s+(hex|dec)\b", line, re.I) for line in lines[:5]):
        return 1.0
    frames = 0
    for line in lines:
        timed = _TIMED.fullmatch(line)
        frames += timed is not None and any(
            kind.fullmatch(timed["rest"]) for kind in (_CLASSIC, _FD, _ERROR)
        )
    return frames / max(len(lines), 1)


def read(path: Path) -> FrameTable:
    """Read an ASC file; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    return next(read_chunks(path, ALL_FRAMES))


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """:func:`read` in chunks of ``frames`` frames or somewhat more.

    Raises:
        CaptureError: as :func:`read`.
    """
    reader = _Reader()
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in read_lines(path, ".", reader.fast, reader.exact, quarantine, frames=frames):
        yield table.add(columns, quarantine, "attack", reader.warnings())


class _Reader:
    """What the lines before say about the following ones."""

    def __init__(self) -> None:
        self.base, self.relative = 16, False
        self.clock = 0.0
        self.added = self.events = 0
        self.buses = Buses()

    def exact(self, line: str) -> Row | None:
        """One line; None for a heading or an event that is no frame.

        Raises:
            BadLine: if it is neither.
        """
        timed = _TIMED.fullmatch(line)
        if not timed:
            if not _HEADER.fullmatch(line):
                raise BadLine("not an ASC line")
            self._set(line)
            return None
        timestamp, rest = exact_timestamp(timed["time"]), timed["rest"]
        if self.relative:
            # The time since the line before, be that a frame or an event.
            timestamp = self.clock = self.clock + timestamp
            self.added += 1
        row = self._frame(timestamp, rest)
        self.events += row is None
        return row

    def warnings(self) -> tuple[str, ...]:
        """What there is to tell of the lines so far."""
        warnings = self.buses.warnings()
        if self.events:
            warnings += (f"{self.events} events that are no frames (status, statistics) left out",)
        if self.added:
            warnings += ("times are relative to the line before and were added up",)
        return warnings

    def _set(self, line: str) -> None:
        if match := re.match(r"\s*base\s+(hex|dec)", line, re.I):
            self.base = 16 if match[1].lower() == "hex" else 10
            self.relative = bool(re.search(r"timestamps\s+relative", line, re.I))

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are classical data frames in the usual spelling."""
        text, words = lines.text, split_words(lines)
        first = text.characters[words.word(0)[0]]
        is_setting = (first == ord("b")) | (first == ord("B"))
        if not settings_first(lines, is_setting, is_frame=first < ord("A"), take=self._set):
            return nothing_fast(lines)
        if self.base != 16 or self.relative:
            return nothing_fast(lines)
        id_start, id_end = words.word(2)
        extended = (text.characters[id_end - 1] | 0x20) == ord("x")
        columns, good = read_words(
            lines,
            words,
            time=words.word(0),
            number=(id_start, id_end - extended),
            length=words.word(5),
            data=6,
        )
        columns.flags = np.where(extended, np.uint8(EXTENDED), np.uint8(0))
        good &= extended | (columns.arbitration_id <= STANDARD_MAX)
        good &= equals(text, *words.word(3), "Rx") | equals(text, *words.word(3), "Tx")
        good &= equals(text, *words.word(4), "d")
        good &= lines.delimiter(0, ".") & (lines.cut(0) < words.word(0)[1])
        return columns, see_buses(text, *words.word(1), good, self.buses, r"\d+")

    def _frame(self, timestamp: float, rest: str) -> Row | None:
        if match := _ERROR.fullmatch(rest):
            row = Row(timestamp, 0, ERROR, 0, b"")
        elif match := _CLASSIC.fullmatch(rest):
            row = self._classic(timestamp, match)
        elif match := _FD.fullmatch(rest):
            row = self._fd(timestamp, match)
        elif _FRAME.fullmatch(rest) and "J1939TP" not in rest:
            raise BadLine("frame is not understood")
        else:
            return None
        self.buses.see(match["bus"])
        return row

    def _classic(self, timestamp: float, match: re.Match[str]) -> Row:
        number, flags = self._id(match["id"])
        fields = match["rest"].split()
        if match["kind"] in "rR":
            # Only a first digit is a DLC: behind it, or alone, stand statistics.
            asked = self._number(fields[0]) if fields and fields[0].isdigit() else 0
            return Row(timestamp, number, flags | REMOTE, min(asked, 8), b"")
        if not fields:
            raise BadLine("DLC is missing")
        dlc = self._number(fields[0])
        if dlc > 15:
            # Some tools write CAN FD frames like classical ones, with the length for a DLC.
            if dlc not in FD_LENGTHS:
                raise BadLine("DLC is beyond 15")
            return Row(timestamp, number, flags | FD, dlc, self._bytes(fields[1:], dlc))
        length = min(dlc, 8)
        return Row(timestamp, number, flags, length, self._bytes(fields[1:], length))

    def _fd(self, timestamp: float, match: re.Match[str]) -> Row:
        number, flags = self._id(match["id"])
        dlc, length = self._number(match["dlc"]), int(match["length"][:12])
        if dlc > 15 or length > 64:
            raise BadLine("DLC is beyond 15")
        if not length and dlc:
            # CAN FD has no remote frames: this is a classical one on a CAN FD bus.
            return Row(timestamp, number, flags | REMOTE, min(dlc, 8), b"")
        payload = self._bytes(match["rest"].split(), length)
        return Row(timestamp, number, flags | FD, length, payload)

    def _number(self, text: str) -> int:
        try:
            number = int(text[:12], self.base)
        except ValueError:
            number = -1
        if number < 0:
            raise BadLine("DLC is not a number")
        return number

    def _id(self, text: str) -> tuple[int, int]:
        digits = text.removesuffix("x").removesuffix("X")
        extended = digits != text
        try:
            number = int(digits[:12], self.base)
        except ValueError:
            number = -1
        if number < 0:
            raise BadLine("id is not a number")
        if number > (EXTENDED_MAX if extended else STANDARD_MAX):
            raise BadLine(f"id is beyond {29 if extended else 11} bits")
        return number, EXTENDED if extended else 0

    def _bytes(self, fields: list[str], length: int) -> bytes:
        if len(fields) < length:
            raise BadLine("fewer bytes than the DLC says")
        try:
            return bytes(int(field[:8], self.base) for field in fields[:length])
        except ValueError:
            raise BadLine("payload is not made of bytes") from None
