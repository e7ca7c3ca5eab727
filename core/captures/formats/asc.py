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

import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import (
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
    MAX_LINE,
    Lines,
    Positions,
    Text,
    Words,
    equals,
    nothing_fast,
    printable,
    read_decimal,
    read_digit,
    read_frame_words,
    read_integer,
    read_lines,
    read_number,
    see_buses,
    settings_first,
    split_words,
)

NAME = "vector-asc"

_HEADER = re.compile(
    r"\s*(date\b|base\s+(hex|dec)|(no\s+)?internal\s+events|//|(begin|end)\s+trigger|;|#).*", re.I
)
_BASE = re.compile(r"\s*base\s+(hex|dec)", re.I)
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


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read an ASC file, ``frames`` frames or somewhat more at a time; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    reader = _Reader()
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    ways = reader.fast, reader.exact, quarantine
    for columns in read_lines(path, ".", *ways, frames=frames, reach=reader.reach):
        yield table.add(columns, quarantine, "attack", reader.warnings())


_Read = Callable[[Text, Words], tuple[Columns, npt.NDArray[np.bool_]]]
"""Reads lines of one kind."""


def _is_way(text: Text, start: Positions, end: Positions) -> npt.NDArray[np.bool_]:
    return equals(text, start, end, "Rx") | equals(text, start, end, "Tx")


def _is_bit(text: Text, start: Positions, end: Positions) -> npt.NDArray[np.bool_]:
    return equals(text, start, end, "0") | equals(text, start, end, "1")


def _error(text: Text, words: Words) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """``TIME 1 ErrorFrame``, ``TIME CANFD 5 Tx ErrorFrame``: what is behind does not matter."""
    columns = Columns.empty(len(words.first))
    columns.flags += np.uint8(ERROR)
    return columns, np.ones(len(words.first), bool)


class _Reader:
    """What the lines before say about the following ones."""

    def __init__(self) -> None:
        self.base, self.relative = 16, False
        self.clock = 0.0
        self.added, self.events = False, 0
        self._clocks: npt.NDArray[np.float64] | None = None
        """Where times are relative, the clock before each line of a block read in columns."""
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
            timestamp += self.clock
            if not math.isfinite(timestamp):
                raise BadLine("timestamp is not finite")
            self.clock, self.added = timestamp, True
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
        if match := _BASE.match(line):
            self.base = 16 if match[1].lower() == "hex" else 10
            self.relative = bool(re.search(r"timestamps\s+relative", line, re.I))

    def reach(self, index: int) -> None:
        """Before :meth:`exact` reads a line of the block that :meth:`fast` has read."""
        if self._clocks is not None:
            self.clock = float(self._clocks[index])

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are frames in the usual spelling."""
        text, words = lines.text, split_words(lines)
        if self._clocks is not None:
            self.clock, self._clocks = float(self._clocks[-1]), None
        if not self._settings(lines, words):
            return nothing_fast(lines)
        start, end = words.word(0)
        point = lines.cut(0)
        timestamp, timed = read_decimal(text, start, point, end)
        timed &= lines.delimiter(0, ".") & (point < end) & (words.count > 1) & printable(lines)
        timed &= lines.end - lines.start <= MAX_LINE
        if self.relative:
            clocks = self._added_up(lines, timestamp, timed)
            if not np.isfinite(clocks[-1]):
                return nothing_fast(lines)
            self._clocks, timestamp = clocks, clocks[1:]
            self.added |= bool(timed.any())
        columns, good = self._frames(text, words, timed)
        columns.timestamp = timestamp
        bus = words.word(1 + equals(text, *words.word(1), "CANFD"))
        return columns, see_buses(text, *bus, good, self.buses, r"\d+")

    def _settings(self, lines: Lines, words: Words) -> bool:
        """Take in a header at the block's start; whether the lines can be read in columns then."""
        first = lines.text.characters[words.word(0)[0]]
        is_setting, is_frame = np.zeros(len(lines), bool), np.ones(len(lines), bool)
        for index in np.flatnonzero((first != ord("-")) & (first - ord("0") > 9)).tolist():
            line = lines.line(index)
            is_setting[index] = bool(_BASE.match(line))
            is_frame[index] = bool(line.strip()) and not _HEADER.fullmatch(line)
        return settings_first(lines, is_setting, is_frame, self._set)

    def _added_up(
        self,
        lines: Lines,
        timestamp: npt.NDArray[np.float64],
        timed: npt.NDArray[np.bool_],
    ) -> npt.NDArray[np.float64]:
        """The clock before each line, and after the last, ``[L + 1]``; summed from first to last.

        Args:
            timestamp: times since the line before, where ``timed`` says that they are read.
        """
        steps = np.where(timed, timestamp, 0.0)
        for index in np.flatnonzero(~timed & (lines.end - lines.start <= MAX_LINE)).tolist():
            if match := _TIMED.fullmatch(lines.line(index)):
                with suppress(BadLine):
                    steps[index] = exact_timestamp(match["time"])
        with np.errstate(over="ignore", invalid="ignore"):
            return np.cumsum(np.append(self.clock, steps))

    def _frames(
        self, text: Text, words: Words, timed: npt.NDArray[np.bool_]
    ) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """The frames of lines that have a time, but for the time, and where they hold."""
        fd = equals(text, *words.word(1), "CANFD")
        data = timed & ~fd & equals(text, *words.word(4), "d")
        if data.all():
            return self._data(text, words)
        kinds: list[tuple[npt.NDArray[np.bool_], _Read]] = [(data, self._data)]
        error = equals(text, *words.word(2 + fd), "ErrorFrame")
        way = _is_way(text, *words.word(2 + fd)) & equals(text, *words.word(3 + fd), "ErrorFrame")
        error = timed & ((error & (words.count > 2 + fd)) | (way & (words.count > 3 + fd)))
        kinds.append((error, _error))
        kinds.append((timed & fd & ~error, self._fd_data))
        kinds.append((timed & ~fd & equals(text, *words.word(4), "r"), self._remote))
        columns, good = Columns.empty(len(timed)), np.zeros(len(timed), bool)
        for is_kind, read in kinds:
            if len(rows := np.flatnonzero(is_kind)):
                part, good[rows] = read(text, words.take(rows))
                columns.put_rows(rows, part)
        return columns, good

    def _data(self, text: Text, words: Words) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """``TIME 1 18EBFF00x Rx d 8 01 A0 0F A6 60 3B D1 40``"""
        return self._read(text, words, 2, read_digit(text, *words.word(5)), 6)

    def _remote(self, text: Text, words: Words) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """``TIME 1 300 Tx r 8``, or without the number, or something else in its place."""
        columns, good = self._read(text, words, 2, np.zeros_like(words.first), 5)
        start, end = words.word(5)
        number = (words.count > 5) & (text.characters[start] - ord("0") <= 9)
        asked = np.where(number, read_digit(text, start, end), 0)
        columns.length = np.clip(asked, 0, 8).astype(np.uint8)
        columns.flags |= REMOTE
        return columns, good & (asked >= 0)

    def _fd_data(self, text: Text, words: Words) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """``TIME CANFD 2 Rx 300 Name 1 0 8 8 01 02 03 04 05 06 07 08``, with or without name."""
        named = ~_is_bit(text, *words.word(5))
        brs, esi, dlc, length = (words.word(k + named) for k in (5, 6, 7, 8))
        bytes_, fine = read_integer(text, *length)
        code, good = read_number(text, *dlc, self.base)
        bytes_ = np.where(fine & (length[1] - length[0] <= 2), bytes_, -1)
        columns, holds = self._read(text, words, 4, bytes_, 9 + named)
        good &= holds & _is_bit(text, *brs) & _is_bit(text, *esi) & (code <= 15)
        remote = (bytes_ == 0) & (code > 0)
        columns.length[remote] = np.minimum(code[remote], 8)
        columns.flags |= np.where(remote, np.uint8(REMOTE), np.uint8(FD))
        return columns, good

    def _read(
        self,
        text: Text,
        words: Words,
        number: int,
        length: npt.NDArray[np.intp],
        data: int | npt.NDArray[np.intp],
    ) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """Frames whose words ``number`` are identifiers, with ``length`` bytes from ``data`` on."""
        start, end = words.word(number)
        extended = (text.characters[end - 1] | 0x20) == ord("x")
        columns, good = read_frame_words(
            text,
            words,
            number=(start, end - extended),
            length=length,
            data=data,
            base=self.base,
            most=64 if number == 4 else 8,
        )
        columns.flags = np.where(extended, np.uint8(EXTENDED), np.uint8(0))
        good &= extended | (columns.arbitration_id <= STANDARD_MAX)
        return columns, good & _is_way(text, *words.word(3))

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
        dlc = self._number(match["dlc"])
        length = int(match["length"]) if len(match["length"]) <= 12 else 65
        if dlc > 15 or length > 64:
            raise BadLine("DLC is beyond 15")
        if not length and dlc:
            # CAN FD has no remote frames: this is a classical one on a CAN FD bus.
            return Row(timestamp, number, flags | REMOTE, min(dlc, 8), b"")
        payload = self._bytes(match["rest"].split(), length)
        return Row(timestamp, number, flags | FD, length, payload)

    def _number(self, text: str) -> int:
        number = self._integer(text)
        if number < 0:
            raise BadLine("DLC is not a number")
        return number

    def _id(self, text: str) -> tuple[int, int]:
        digits = text.removesuffix("x").removesuffix("X")
        extended = digits != text
        number = self._integer(digits)
        if number < 0:
            raise BadLine("id is not a number")
        if number > (EXTENDED_MAX if extended else STANDARD_MAX):
            raise BadLine(f"id is beyond {29 if extended else 11} bits")
        return number, EXTENDED if extended else 0

    def _integer(self, text: str) -> int:
        """A number of up to 12 digits; negative where it is none."""
        try:
            return int(text, self.base) if len(text) <= 12 else -1
        except ValueError:
            return -1

    def _bytes(self, fields: list[str], length: int) -> bytes:
        if len(fields) < length:
            raise BadLine("fewer bytes than the DLC says")
        try:
            return bytes(self._integer(field) for field in fields[:length])
        except ValueError:
            raise BadLine("payload is not made of bytes") from None
