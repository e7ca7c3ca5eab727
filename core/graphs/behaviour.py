"""What each frame does, compared with the last frame of the same id: the ground of every feature.

An id's number says nothing on another car, so nothing here depends on it.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, FrameTable
from core.errors import CaptureError

_EVEN_BYTES = np.uint64(0x00FF00FF00FF00FF)
_LANES = np.uint64(0x0001000100010001)
_BITS = (1 << np.arange(8)).astype(np.uint8)


@dataclass(frozen=True)
class FrameBehaviour:
    """Per-frame quantities of ``F`` frames in a row, with ``K`` distinct ids."""

    interval: npt.NDArray[np.float64]
    """``[F]`` seconds since the id's last frame; infinite on its first."""
    gap: npt.NDArray[np.float64]
    """``[F]`` frames on the bus since then; 0 on the id's first."""
    changed: npt.NDArray[np.float64]
    """``[F]`` bits in which the two payloads differ; 0 on the id's first."""
    novel: npt.NDArray[np.float64]
    """``[F]`` share of the 8 (or 64) byte positions with a value that the id never had there."""
    byte_mean: npt.NDArray[np.float64]
    """``[F]`` mean payload byte, as a share of 255."""
    all_zero: npt.NDArray[np.bool_]
    """``[F]``"""

    def join(self, other: "FrameBehaviour") -> "FrameBehaviour":
        """These frames, then the others."""
        return FrameBehaviour(
            *(
                np.concatenate([getattr(self, f.name), getattr(other, f.name)])
                for f in fields(FrameBehaviour)
            )
        )

    def take(self, frames: Any) -> "FrameBehaviour":
        """The frames of a slice (a view) or of an index."""
        return FrameBehaviour(*(getattr(self, f.name)[frames] for f in fields(FrameBehaviour)))


class FrameComparer:
    """Compares the frames of one capture with those before, however they are cut into chunks.

    What it remembers of an id is its last frame and which byte values it had at which position:
    256 bytes (2 KiB where frames have 64 bytes) per id, whatever the length of the capture.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.frames = 0
        """Frames compared so far."""
        self._ids = np.empty(0, np.int64)
        self._slots = np.empty(0, np.int64)
        self._time = np.empty(0)
        self._index = np.empty(0, np.int64)
        self._words = np.empty((0, width // 8), np.uint64)
        self._seen = np.empty((0, width * 32), np.uint8)  # one bit per position and value

    def compare(
        self, table: FrameTable, ids: npt.NDArray[np.int64], code: npt.NDArray[np.int64]
    ) -> FrameBehaviour:
        """Compare the next frames of the capture with the last ones of the same id.

        Args:
            ids: ``[K]`` distinct identifiers, ascending.
            code: ``[F]`` index of each frame's identifier in ``ids``.

        Raises:
            CaptureError: if the payloads are wider than those that came before.
        """
        frames = len(table)
        payload = _of_width(table.payload, self.width)
        # Grouped by id and in order of time within each group, the frame before is the row above.
        # A stable sort takes one pass for each byte of the numbers.
        order = np.argsort(code.astype(np.min_scalar_type(len(ids))), kind="stable")
        grouped = code[order]
        opens = np.ones(frames, bool)
        np.not_equal(grouped[1:], grouped[:-1], out=opens[1:])
        head = np.flatnonzero(opens)
        size = np.diff(np.append(head, frames))
        tail = head + size - 1
        slot = self._slots_of(ids[grouped[head]])
        first = head[self._index[slot] < 0]

        time = table.timestamp[order]
        step = np.empty(frames)
        np.subtract(time[1:], time[:-1], out=step[1:])
        step[head] = time[head] - self._time[slot]
        np.maximum(step, 0.0, out=step)
        step[first] = np.inf
        interval = np.empty(frames)
        interval[order] = step

        np.subtract(order[1:], order[:-1], out=step[1:])
        step[head] = order[head] + self.frames - self._index[slot]
        step[first] = 0.0
        gap = np.empty(frames)
        gap[order] = step

        words = payload.view(np.uint64)
        sorted_words = words[order]
        difference = np.empty_like(sorted_words)
        np.bitwise_xor(sorted_words[1:], sorted_words[:-1], out=difference[1:])
        difference[head] = sorted_words[head] ^ self._words[slot]
        bits = _row_sums(np.bitwise_count(difference))
        bits[first] = 0
        changed = np.empty(frames)
        changed[order] = bits

        # On an id's first frame every position may hold a value that it never had there.
        difference[first] = ~np.uint64(0)
        base = np.repeat(slot * (self.width * 256), size)
        novel = self._novel(difference, sorted_words, base, order)

        self._time[slot] = time[tail]
        self._index[slot] = order[tail] + self.frames
        self._words[slot] = sorted_words[tail]
        self.frames += frames
        total = _row_sums(_byte_sums(words))
        byte_mean = total / (255.0 * np.maximum(table.length, 1))
        return FrameBehaviour(interval, gap, changed, novel, byte_mean, total == 0)

    def _novel(
        self,
        difference: npt.NDArray[np.uint64],
        words: npt.NDArray[np.uint64],
        base: npt.NDArray[np.int64],
        order: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        """Share of novel bytes per frame; only a byte that differs from the one before can be.

        Args:
            base: place of each frame's identifier in what was seen, counted in bits.
        """
        place = np.flatnonzero(difference.view(np.uint8).reshape(-1) != 0)
        # The width is 8 or 64: shifts, which are several times faster than divisions.
        row = place >> (self.width.bit_length() - 1)
        key = base[row]
        key += (place & (self.width - 1)) << 8
        key += words.view(np.uint8).reshape(-1)[place]
        seen = self._seen.reshape(-1)
        unseen = np.flatnonzero(seen[key >> 3] & _BITS[key & 7] == 0)
        key, row, first = _grouped(key[unseen], row[unseen], len(order).bit_length())
        key, row = key[first], row[first]
        np.bitwise_or.at(seen, key >> 3, _BITS[key & 7])
        return np.bincount(order[row], minlength=len(order)) / self.width

    def _slots_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Row of each of the ascending ``ids`` in what is remembered; room is made for new ones."""
        place = np.searchsorted(self._ids, ids)
        new = np.ones(len(ids), bool)
        inside = place < len(self._ids)
        new[inside] = self._ids[place[inside]] != ids[inside]
        if new.any():
            number = len(self._ids) + np.arange(np.count_nonzero(new))
            self._ids = np.insert(self._ids, place[new], ids[new])
            self._slots = np.insert(self._slots, place[new], number)
            if len(self._ids) > len(self._index):
                # Room for twice as many: the cost of moving stays in proportion to the ids.
                rows = 2 * len(self._ids)
                self._time = _with_rows(self._time, rows)
                self._index = _with_rows(self._index, rows)
                self._words = _with_rows(self._words, rows)
                self._seen = _with_rows(self._seen, rows)
            self._index[number] = -1
        return self._slots[np.searchsorted(self._ids, ids)]


def identifiers(table: FrameTable) -> npt.NDArray[np.int64]:
    """``[F]`` arbitration ids, with bit 31 set on 29-bit ones."""
    extended = (table.flags & EXTENDED) != 0
    return table.arbitration_id.astype(np.int64) | extended.astype(np.int64) << 31


def distinct(
    key: npt.NDArray[np.int64], upper: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The different values of ``key`` (0 to ``upper`` - 1), ascending, and each one's place there.

    >>> distinct(np.array([7, 3, 7]), 8)
    (array([3, 7]), array([1, 0, 1]))
    """
    if upper <= max(1 << 16, 2 * len(key)):  # A table of flags is faster than sorting.
        seen = np.zeros(upper, bool)
        seen[key] = True
        values = np.flatnonzero(seen)
        place = np.empty(upper, np.int64)
        place[values] = np.arange(len(values))
        return values, place[key]
    shift = len(key).bit_length()
    if upper.bit_length() + shift > 63:
        return np.unique(key, return_inverse=True)
    values, where, first = _grouped(key, np.arange(len(key)), shift)
    code = np.empty_like(key)
    code[where] = np.cumsum(first) - 1
    return values[first], code


def _grouped(
    key: npt.NDArray[np.int64], row: npt.NDArray[np.int64], shift: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Keys and their rows (below ``2 ** shift``) in ascending order, and the first of equal keys.

    Sorted as one number each: numpy sorts numbers several at a time, but their places one by one.
    """
    both = np.sort(key << shift | row)
    key = both >> shift
    first = np.ones(len(key), bool)
    np.not_equal(key[1:], key[:-1], out=first[1:])
    return key, both & ((1 << shift) - 1), first


def _byte_sums(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Sum of the eight bytes of each word, all at once: pairs of bytes, then the four pairs."""
    pairs = (words & _EVEN_BYTES) + ((words >> np.uint64(8)) & _EVEN_BYTES)
    return (pairs * _LANES) >> np.uint64(48)


def _row_sums(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if values.shape[1] == 1:
        return values[:, 0].astype(np.int64)
    return values.sum(axis=1, dtype=np.int64)


def _of_width(payload: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    if payload.shape[1] > width:
        raise CaptureError(
            f"payloads of {payload.shape[1]} bytes after others of {width}: "
            "expected all chunks of a capture to be as wide as its widest frame"
        )
    if payload.shape[1] < width:
        payload = np.pad(payload, ((0, 0), (0, width - payload.shape[1])))
    return np.ascontiguousarray(payload)


def _with_rows(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    larger = np.zeros((rows, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
