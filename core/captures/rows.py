"""What the readers share: single fields read exactly, bad lines set aside, the table put together.

A reader parses nearly all frames in columns. The few odd ones it hands, as text, to the ``exact_*``
functions here, which accept or name the reason; so the slow way says what a format means, and the
fast way must only agree with it.
"""

import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, FrameTable, Skipped
from core.errors import CaptureError

STANDARD_MAX, EXTENDED_MAX = 0x7FF, 0x1FFF_FFFF
FD_LENGTHS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64)
"""Payload bytes of a CAN FD frame, by its DLC."""
MOST_ATTACKS, MOST_BUSES = 1000, 100
EXAMPLES_PER_REASON = 3
EXAMPLE_LENGTH = 120
ABSOLUTE_FROM_S = 1e8
"""Times from here on (1973) are dates; smaller ones count from some start."""
CHUNK_FRAMES = 1_000_000
"""Frames read at a time of a capture that may be larger than memory."""
ALL_FRAMES = sys.maxsize
LOOK_FRAMES = 100_000
"""Frames at the start of a capture that tell what its times are; never more than a first chunk."""

_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
# 2.00E+06
_SPREADSHEET = re.compile(r"[0-9]+([.,][0-9]+)?[eE]\+[0-9]+")
_HEX = re.compile(r"[0-9A-Fa-f]*")
_LABELS = {
    **dict.fromkeys(("1", "1.0", "true", "t", "attack"), 1),
    **dict.fromkeys(("0", "0.0", "false", "r", "normal", "benign"), 0),
}


class BadLine(ValueError):
    """A line that is no frame; the message is the reason under which it is counted."""


class Row(NamedTuple):
    """One frame, read the slow way.

    ``label`` is 0, or 1 and up for the attacks in the order of their names, or -1 where the line
    has none.
    """

    timestamp: float
    arbitration_id: int
    flags: int
    length: int
    payload: bytes
    label: int = -1


@dataclass
class Columns:
    """``F`` frames while they are read; like a frame table, but for the labels.

    ``label`` is -1 where unknown, 0 where not attacked, else 1 + the index of the attack's name.
    """

    timestamp: npt.NDArray[np.float64]
    arbitration_id: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    length: npt.NDArray[np.uint8]
    payload: npt.NDArray[np.uint8]
    label: npt.NDArray[np.signedinteger]

    @classmethod
    def empty(cls, frames: int, width: int = 8) -> "Columns":
        """Columns for ``frames`` frames, all zero."""
        return cls(
            np.zeros(frames),
            np.zeros(frames, np.uint32),
            np.zeros(frames, np.uint8),
            np.zeros(frames, np.uint8),
            np.zeros((frames, width), np.uint8),
            np.full(frames, -1, np.int16),
        )

    def put(self, index: int, row: Row) -> None:
        """Set one frame."""
        width = self.payload.shape[1]
        if len(row.payload) > width:
            self.payload = np.pad(self.payload, ((0, 0), (0, 64 - width)))
        self.timestamp[index] = row.timestamp
        self.arbitration_id[index] = row.arbitration_id
        self.flags[index] = row.flags
        self.length[index] = row.length
        self.payload[index] = 0
        self.payload[index, : len(row.payload)] = np.frombuffer(row.payload, np.uint8)
        self.label[index] = row.label

    def put_rows(self, rows: npt.NDArray[np.intp], part: "Columns") -> None:
        """Set the frames at ``rows``, all but their times, which stay."""
        missing = part.payload.shape[1] - self.payload.shape[1]
        if missing > 0:
            self.payload = np.pad(self.payload, ((0, 0), (0, missing)))
        self.arbitration_id[rows] = part.arbitration_id
        self.flags[rows] = part.flags
        self.length[rows] = part.length
        self.payload[rows, : part.payload.shape[1]] = part.payload
        self.label[rows] = part.label

    def narrowed(self) -> "Columns":
        """The same frames, with payloads of 8 bytes where none is longer."""
        if self.payload.shape[1] > 8 and self.length.max(initial=0) <= 8:
            self.payload = np.ascontiguousarray(self.payload[:, :8])
        return self

    def select(self, mask: npt.NDArray[np.bool_]) -> "Columns":
        """The frames where ``mask`` ``[F]`` holds."""
        if mask.all():
            return self
        return Columns(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))


def concatenate(parts: Sequence[Columns]) -> Columns:
    """All parts in order, with the widest part's payload width.

    The parts are emptied on the way: memory holds no more than one column twice.
    """
    width = max((part.payload.shape[1] for part in parts), default=8)
    whole = Columns.empty(0, width)
    for name in Columns.__dataclass_fields__ if parts else ():
        arrays = [getattr(part, name) for part in parts]
        if name == "payload":
            arrays = [
                a if a.shape[1] == width else np.pad(a, ((0, 0), (0, width - a.shape[1])))
                for a in arrays
            ]
        joined = np.concatenate(arrays)
        setattr(whole, name, joined)
        for part in parts:
            setattr(part, name, joined[:0])
    return whole


@dataclass
class Quarantine:
    """Bad lines, counted by reason, the first few of each kept."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: list[tuple[int, str, str]] = field(default_factory=list)

    def add(self, line_number: int, reason: str, text: str) -> None:
        """Set one line aside. Line numbers count from 1."""
        count = self.counts[reason] = self.counts.get(reason, 0) + 1
        if count <= EXAMPLES_PER_REASON:
            self.examples.append((line_number, reason, text[:EXAMPLE_LENGTH]))

    def skipped(self) -> Skipped:
        """What a frame table keeps of it."""
        return Skipped(dict(self.counts), tuple(self.examples))


class AttackNames:
    """The attacks of a capture, numbered as they come."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> int:
        """1 + the index of an attack's name.

        Raises:
            BadLine: if there are more than 1,000: those are no classes.
        """
        label = self._labels.get(name)
        if label is None:
            if len(self.names) >= MOST_ATTACKS:
                raise BadLine(f"attack class beyond the first {MOST_ATTACKS}")
            self.names.append(name[:EXAMPLE_LENGTH])
            label = self._labels[name] = len(self.names)
        return label

    def of(self, attacked: str, *names: str) -> int:
        """0 where a field says benign; else the label of the attack that these fields name.

        Raises:
            BadLine: if the field is no label, or as :meth:`label`.
        """
        if not exact_label(attacked):
            return 0
        return self.label(" ".join(dict.fromkeys(name for name in names if name)) or "attack")


class Buses:
    """The buses named in a capture: a frame table holds one bus, so several are worth a warning."""

    def __init__(self) -> None:
        self.names: dict[str, None] = {}

    def see(self, name: str) -> None:
        """Note a bus."""
        if len(self.names) < MOST_BUSES:
            self.names[name[:EXAMPLE_LENGTH]] = None

    def warnings(self) -> tuple[str, ...]:
        """A warning where there are several."""
        if len(self.names) < 2:
            return ()
        return (
            f"mixed buses in one file: {', '.join(sorted(self.names))}; equal ids of different "
            "buses are taken as one",
        )


def exact_byte(text: str) -> int:
    """Two hexadecimal digits (a single one is what is left of a cut-off line).

    Raises:
        BadLine: otherwise.
    """
    if len(text) != 2 or not _HEX.fullmatch(text):
        raise BadLine("a payload byte is not two hexadecimal digits")
    return int(text, 16)


def exact_bytes(fields: Sequence[str], length: int) -> bytes:
    """The first ``length`` of the fields, one byte each.

    Raises:
        BadLine: if there are fewer, or one is no byte.
    """
    if len(fields) < length:
        raise BadLine("fewer bytes than the DLC says")
    return bytes(exact_byte(field) for field in fields[:length])


def exact_length(text: str, most: int = 8) -> int:
    """A decimal DLC up to ``most``.

    Raises:
        BadLine: otherwise.
    """
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) > most:
        raise BadLine(f"DLC is not 0 to {most}")
    return int(text)


def exact_timestamp(text: str) -> float:
    """Seconds, rounded to the nearest float64.

    Raises:
        BadLine: if it is no finite decimal number.
    """
    if not text:
        raise BadLine("timestamp is missing")
    if not _NUMBER.fullmatch(text):
        raise BadLine("timestamp is not a number")
    value = float(text)
    if not math.isfinite(value):
        raise BadLine("timestamp is not finite")
    return value


def exact_id(text: str) -> int:
    """An identifier of 1 to 8 hexadecimal digits, with or without ``0x``; at most 29 bits.

    Raises:
        BadLine: otherwise.
    """
    digits = text[2:] if text[:2] in ("0x", "0X") else text
    if not 1 <= len(digits) <= 8 or not _HEX.fullmatch(digits):
        if _SPREADSHEET.fullmatch(text):
            raise BadLine("id was turned into a number by a spreadsheet")
        raise BadLine("id is not hexadecimal")
    value = int(digits, 16)
    if value > EXTENDED_MAX:
        raise BadLine("id is beyond 29 bits")
    return value


def exact_payload(text: str, max_bytes: int = 8) -> bytes:
    """Contiguous hexadecimal bytes, possibly none.

    Raises:
        BadLine: if there are too many, half a byte, or something else.
    """
    if not _HEX.fullmatch(text):
        raise BadLine("payload is not hexadecimal")
    if len(text) > 2 * max_bytes:
        raise BadLine(f"payload is longer than {max_bytes} bytes")
    if len(text) % 2:
        raise BadLine("payload has an odd number of digits")
    return bytes.fromhex(text)


def exact_label(text: str) -> int:
    """0 or 1 for the usual ways to say benign and attacked.

    Raises:
        BadLine: otherwise.
    """
    try:
        return _LABELS[text.lower()]
    except KeyError:
        raise BadLine("label is missing" if not text else "label is not understood") from None


def id_flags(arbitration_id: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """``EXTENDED`` where an identifier needs more than 11 bits: all that a bare number can tell."""
    return np.where(arbitration_id > STANDARD_MAX, np.uint8(EXTENDED), np.uint8(0))


def stem_attack_name(path: Path) -> str:
    """The attack a file of 0/1 labels is about: its name up to the first ``-`` or dot."""
    return path.name.split(".")[0].split("-")[0] or "attack"


class TableBuilder:
    """The frame tables of a capture that is read in chunks.

    The columns of a table are those of its chunk. All else counts from the capture's start, so that
    the last table says of the capture what the only one would say if it were read at once.
    """

    def __init__(self, path: Path, format: str) -> None:
        self.path, self.format = path, format
        self._frames = self._unknown = 0
        self._backwards = self._first_backwards = 0
        self._last = -math.inf
        self._time = ""
        self._labels = np.empty(0, np.intp)
        """Labels of attacks, in the order of their first frames."""

    def add(
        self,
        columns: Columns,
        quarantine: Quarantine,
        attack_name: str | Sequence[str],
        warnings: Sequence[str] = (),
        *,
        timed: bool = True,
    ) -> FrameTable:
        """The table of the next frames.

        Args:
            quarantine: what was set aside since the capture's start.
            attack_name: of all attacked frames, or the names that the labels number from 1: in
                later chunks there may be more.
            warnings: those of the format, about all that was read so far.
            timed: whether the capture has times; else frames have an order only.

        Raises:
            CaptureError: if nothing could be used so far; the message says why.
        """
        skipped = sum(quarantine.counts.values())
        reasons = ", ".join(f"{r} ({n})" for r, n in quarantine.counts.items())
        if not self._frames and not len(columns.timestamp):
            if not skipped:
                raise CaptureError(
                    f"{self.path}: no frames in it; expected a {self.format} capture"
                )
            line, _, text = quarantine.examples[0]
            raise CaptureError(
                f"{self.path}: nothing usable as {self.format}: {reasons}; "
                f"first at line {line}: {text!r}"
            )
        self._count(columns)
        notes = list(warnings)
        if skipped:
            notes.append(f"{skipped} of {self._frames + skipped} lines skipped: {reasons}")
        if self._backwards:
            notes.append(
                f"timestamps go backwards {self._backwards} times, first at frame "
                f"{self._first_backwards}; frames stay in the order of the file"
            )
        labelled = self._unknown < self._frames
        if labelled and self._unknown:
            notes.append(f"{self._unknown} frames have no label and are taken as not attacked")
        if not timed:
            notes.append(
                "no time column: only the order of the frames is known, timing features are off"
            )
        names = (attack_name,) if isinstance(attack_name, str) else attack_name
        attacked, attack = self._attacks(columns.label)
        return FrameTable(
            timestamp=columns.timestamp,
            arbitration_id=columns.arbitration_id,
            flags=columns.flags,
            length=columns.length,
            payload=columns.payload,
            label=attacked.astype(np.uint8),
            attack=attack,
            attack_names=tuple(names[label - 1] for label in self._labels.tolist()),
            labelled=labelled,
            format=self.format,
            time=self._time if timed else "missing",
            skipped=quarantine.skipped(),
            warnings=tuple(notes),
        )

    def _count(self, columns: Columns) -> None:
        times = columns.timestamp
        if not len(times):
            return
        if not self._time:
            dates = times[:LOOK_FRAMES] >= ABSOLUTE_FROM_S
            self._time = "absolute" if np.count_nonzero(dates) * 2 > len(dates) else "relative"
        backwards = np.flatnonzero(times < np.append(self._last, times[:-1]))
        if len(backwards) and not self._backwards:
            self._first_backwards = self._frames + int(backwards[0])
        self._backwards += len(backwards)
        self._last = float(times[-1])
        self._unknown += int(np.count_nonzero(columns.label < 0))
        self._frames += len(times)

    def _attacks(
        self, label: npt.NDArray[np.signedinteger]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int16]]:
        """Where ``[F]`` frames are attacked, and by which attack."""
        attacked = label > 0
        if not attacked.any():
            return attacked, np.full(len(label), -1, np.int16)
        used, first = np.unique(label[attacked], return_index=True)
        used = used[np.argsort(first)]
        self._labels = np.append(self._labels, used[~np.isin(used, self._labels)]).astype(np.intp)
        place = np.full(int(self._labels.max()) + 1, -1, np.int16)
        place[self._labels] = np.arange(len(self._labels))
        return attacked, place[np.maximum(label, 0)]
