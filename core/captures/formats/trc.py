"""PEAK TRC, versions 1.0 to 2.1.

::

         1)     17535  00000100  8  00 00 00 00 00 00 00 00                 1.0
         1)     17535.4  Tx     00000100  8  00 00 00 00 00 00 00 00        1.1
         1)     17535.400 1  Tx    00000100 -  8    00 00 00 00 00 00 00 00 1.3; 1.2 lacks the "-"
          1     17535.400 DT 1  00000100 Tx -  8    00 00 00 00 00 00 00 00 2.x, as $COLUMNS says

Times are milliseconds since the start time in the header (days since 1899-12-30), which version 1.0
lacks. Identifiers of eight digits are extended. Messages that are no frames (status, warnings) are
counted and told.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    FD_LENGTHS,
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
    distinct,
    equals,
    nothing_fast,
    printable,
    read_frame_words,
    read_integer,
    read_lines,
    read_time,
    see_buses,
    settings_first,
    split_words,
)

NAME = "peak-trc"
UNIX_EPOCH_DAYS = 25569
"""1970-01-01 in days since 1899-12-30."""
COLUMNS = {
    "1.0": "NOIlD",
    "1.1": "NOTIlD",
    "1.2": "NOBTIlD",
    "1.3": "NOBTIRlD",
    "2.0": "NOTIdlD",
    "2.1": "NOTBIdRlD",
}
"""Columns of each version, named as ``$COLUMNS`` names them; ``l`` length, ``L`` DLC, ``d``
direction, ``R`` reserved."""
_DATA = {"DT": 0, "RX": 0, "TX": 0, "RR": REMOTE, "FD": FD, "FB": FD, "FE": FD, "BI": FD}
_ERROR = ("ER", "ERROR")
_OTHER = ("ST", "EC", "EV", "WARNG", "STATUS", "OVERR", "BUSHVY")

_LINE = re.compile(
    r"\s*\d+\)?\s+-?[\d.]+\s+(\d+\s+)?([A-Za-z]{2,6}\s+)?(\d+\s+)?[0-9A-Fa-f]{4,8}\s.*"
)


def sniff(head: bytes) -> float:
    """1 for a PEAK header, else the share of the first lines that look like numbered messages."""
    lines = [line for line in head.decode("utf-8", "replace").splitlines()[:50] if line.strip()]
    if any(line.startswith((";$FILEVERSION", ";$STARTTIME")) for line in lines[:5]):
        return 1.0
    body = [line for line in lines if not line.startswith(";")]
    numbered = [line for line in body if re.match(r"\s*\d+\)\s", line) and _LINE.fullmatch(line)]
    return len(numbered) / max(len(body), 1)


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a PEAK trace, ``frames`` frames or somewhat more at a time; it has no labels.

    Raises:
        CaptureError: if the file cannot be read or holds no frame.
    """
    reader, negative = _Reader(), 0
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in read_lines(path, "", reader.fast, reader.exact, quarantine, frames=frames):
        warnings = reader.warnings()
        negative += int(np.count_nonzero(columns.timestamp < 0))
        if negative:
            warnings += (f"{negative} frames have a negative time",)
        yield table.add(columns, quarantine, "attack", warnings)


class _Reader:
    """What the header says about the lines."""

    def __init__(self) -> None:
        self.version, self.columns = "1.0", list(COLUMNS["1.0"])
        self.start = 0.0
        self.others = 0
        self.buses = Buses()

    def exact(self, line: str) -> Row | None:
        """One line; None for a comment or no frame.

        Raises:
            BadLine: if it is neither.
        """
        line = line.strip()
        if line.startswith(";"):
            self._header(line)
            return None
        fields = line.split(maxsplit=len(self.columns) - 1)
        known = dict(zip(self.columns, fields, strict=False))
        kind = known.get("T", "DT").upper()
        if kind in _OTHER or known.get("I", "").upper() == "FFFFFFFF":
            self.others += 1
            return None
        if not re.fullmatch(r"\d+\)?", known.get("N", "0")):
            raise BadLine("not a TRC line")
        timestamp = exact_timestamp(known.get("O", "")) / 1000 + self.start
        if kind in _ERROR:
            return Row(timestamp, 0, ERROR, 0, b"")
        if kind not in _DATA:
            raise BadLine("message type is not known")
        row = self._frame(timestamp, known, _DATA[kind])
        if "B" in known:
            self.buses.see(known["B"])
        return row

    def warnings(self) -> tuple[str, ...]:
        """What there is to tell of the lines so far."""
        warnings = self.buses.warnings()
        if self.version not in COLUMNS:
            warnings += (f"file version {self.version[:20]} is not known and was read as 1.0",)
        if self.others:
            warnings += (f"{self.others} messages that are no frames (status, warnings) left out",)
        return warnings

    def _frame(self, timestamp: float, known: dict[str, str], flags: int) -> Row:
        digits = known.get("I", "")
        number = exact_id(digits)
        if len(digits) > 4:
            flags |= EXTENDED
        elif number > STANDARD_MAX:
            raise BadLine("standard id is beyond 11 bits")
        if "L" in known:
            length = FD_LENGTHS[exact_length(known["L"], 15)]
        else:
            length = exact_length(known.get("l", ""), 64)
        if not flags & FD:
            length = min(length, 8) if "L" in known else exact_length(known.get("l", ""))
        data = known.get("D", "").split()
        if data[:1] == ["RTR"] or flags & REMOTE:
            return Row(timestamp, number, flags | REMOTE, length, b"")
        return Row(timestamp, number, flags, length, exact_bytes(data, length))

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are frames in the usual spelling."""
        text, words = lines.text, split_words(lines)
        start = words.word(0)[0]
        comment = text.characters[start] == ord(";")
        is_setting = comment & (text.characters[start + 1] == ord("$"))
        if not settings_first(lines, is_setting, (words.count > 0) & ~comment, self._header):
            return nothing_fast(lines)
        place = {name: k for k, name in enumerate(self.columns)}
        data = len(self.columns) - 1
        if not ({"L", "l"} & place.keys()) or not {"O", "I"} <= place.keys():
            return nothing_fast(lines)
        if place.get("D") != data:
            return nothing_fast(lines)
        good = printable(lines) & (words.count >= data)
        if "N" in place:
            start, end = words.word(place["N"])
            good &= read_integer(text, start, end - (text.characters[end - 1] == ord(")")))[1]
        columns, fine = self._frames(text, words, place, good)
        columns.timestamp, timed = read_time(text, *words.word(place["O"]))
        columns.timestamp = columns.timestamp / 1000 + self.start
        good &= fine & timed
        if "B" in place:
            good = see_buses(text, *words.word(place["B"]), good, self.buses)
        return columns, good

    def _frames(
        self, text: Text, words: Words, place: dict[str, int], where: npt.NDArray[np.bool_]
    ) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """The frames, but for their times, of the lines ``where`` there may be some."""
        flags = {0: where}
        if "T" in place:
            flags = {}
            for kind, same in distinct(text, *words.word(place["T"]), where):
                if kind.upper() in _DATA:
                    flag = _DATA[kind.upper()]
                    flags[flag] = flags.get(flag, np.zeros_like(where)) | same
        if set(flags) == {0} and flags[0].all():
            return self._read(text, words, place, 0)
        columns, good = Columns.empty(len(where)), np.zeros(len(where), bool)
        for flag, is_kind in flags.items():
            rows = np.flatnonzero(is_kind)
            part, good[rows] = self._read(text, words.take(rows), place, flag)
            columns.put_rows(rows, part)
        return columns, good

    def _read(
        self, text: Text, words: Words, place: dict[str, int], flag: int
    ) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """Frames of one kind: 0, ``REMOTE`` or ``FD``."""
        start, end = words.word(place.get("L", place.get("l", 0)))
        code, good = read_integer(text, start, end)
        good &= (end - start <= 3) & (code <= (15 if "L" in place else 64 if flag == FD else 8))
        length = np.where(good, code, 0)
        if "L" in place:
            length = np.array(FD_LENGTHS)[length] if flag == FD else np.minimum(length, 8)
        data, (start, end) = place["D"], words.word(place["I"])
        asked = equals(text, *words.word(data), "RTR") & (words.count > data)
        remote = asked | (flag == REMOTE)
        columns, fine = read_frame_words(
            text,
            words,
            number=(start, end),
            length=np.where(remote, 0, length),
            data=data,
            most=64 if flag == FD else 8,
        )
        columns.length = length.astype(np.uint8)
        extended = end - start > 4
        columns.flags = np.where(extended, np.uint8(EXTENDED), np.uint8(0))
        columns.flags |= np.where(remote, np.uint8(flag | REMOTE), np.uint8(flag))
        return columns, good & fine & (extended | (columns.arbitration_id <= STANDARD_MAX))

    def _header(self, line: str) -> None:
        name, _, value = line.strip().partition("=")
        value = value.strip()
        if name == ";$FILEVERSION":
            self.version = value
            self.columns = list(COLUMNS.get(value, COLUMNS["1.0"]))
        elif name == ";$COLUMNS" and value:
            self.columns = value.split(",")
        elif name == ";$STARTTIME":
            try:
                days = float(value)
            except ValueError:
                return
            if math.isfinite(days) and 0 < days < 1e6:
                self.start = (days - UNIX_EPOCH_DAYS) * 86400
