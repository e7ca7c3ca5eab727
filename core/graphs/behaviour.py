"""What each frame does, compared with the last frame of the same id: the ground of every feature.

An id's number says nothing on another car, so nothing here depends on it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import EXTENDED, FrameTable

CHANNELS = (
    "has_previous",
    "interval",
    "interval_squared",
    "gap",
    "gap_squared",
    "changed_bits",
    "changed_bits_squared",
    "all_zero",
    "byte_mean",
    "length",
    "novel_bytes",
)
"""Columns of :attr:`FrameBehaviour.channels`."""


@dataclass(frozen=True)
class FrameBehaviour:
    """Per-frame quantities of a capture of ``F`` frames with ``K`` distinct ids."""

    ids: npt.NDArray[np.int64]
    """``[K]`` distinct identifiers, ascending; bit 31 is set on 29-bit ones."""
    code: npt.NDArray[np.int64]
    """``[F]`` index of each frame's identifier in ``ids``."""
    interval: npt.NDArray[np.float64]
    """``[F]`` seconds since the id's last frame; infinite on its first."""
    channels: npt.NDArray[np.float64]
    """``[F, len(CHANNELS)]`` the summable columns named in :data:`CHANNELS`."""


def frame_behaviour(table: FrameTable) -> FrameBehaviour:
    """Compare every frame with the last one of the same id, over the whole capture at once.

    ``gap`` counts frames on the bus since then, ``changed_bits`` is the Hamming distance of the two
    payloads as a share of 64 bits, ``novel_bytes`` the share of the 8 (or 64) byte positions that
    hold a value which this id never had there before.
    """
    frames = len(table)
    ids, code = identifiers(table)
    order = np.argsort(code.astype(np.uint16) if len(ids) <= 65536 else code, kind="stable")
    follows = np.empty(frames, bool)
    follows[:1] = False
    np.equal(code[order[1:]], code[order[:-1]], out=follows[1:])
    previous = np.full(frames, -1, np.int64)
    previous[order[1:][follows[1:]]] = order[:-1][follows[1:]]

    known = previous >= 0
    before = np.maximum(previous, 0)
    channels = np.zeros((frames, len(CHANNELS)))
    interval = np.where(known, np.maximum(table.timestamp - table.timestamp[before], 0.0), np.inf)
    finite = np.where(known, interval, 0.0)
    gap = np.where(known, np.arange(frames) - before, 0).astype(np.float64)
    changed = np.where(known, _changed_bits(table.payload, before), 0) / 64.0
    total = table.payload.sum(axis=1, dtype=np.int64)

    channels[:, 0] = known
    channels[:, 1] = finite
    channels[:, 2] = finite * finite
    channels[:, 3] = gap
    channels[:, 4] = gap * gap
    channels[:, 5] = changed
    channels[:, 6] = changed * changed
    channels[:, 7] = total == 0
    channels[:, 8] = total / (255.0 * np.maximum(table.length, 1))
    channels[:, 9] = table.length / 8.0
    channels[:, 10] = _novel_bytes(table.payload, code, len(ids)) / table.payload.shape[1]
    return FrameBehaviour(ids, code, interval, channels)


def identifiers(table: FrameTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Distinct identifiers ``[K]`` and each frame's index among them ``[F]``."""
    key = table.arbitration_id.astype(np.int64) | (
        (table.flags & EXTENDED).astype(np.int64) // EXTENDED << 31
    )
    top = int(key.max(initial=0))
    if top < 1 << 16:  # 11-bit ids: a table of flags is faster than sorting
        seen = np.zeros(top + 1, bool)
        seen[key] = True
        return np.flatnonzero(seen), (np.cumsum(seen) - 1)[key]
    return np.unique(key, return_inverse=True)


def _changed_bits(
    payload: npt.NDArray[np.uint8], before: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    words = np.ascontiguousarray(payload).view(np.uint64)
    return np.bitwise_count(words ^ words[before]).sum(axis=1, dtype=np.int64)


def _novel_bytes(
    payload: npt.NDArray[np.uint8], code: npt.NDArray[np.int64], ids: int
) -> npt.NDArray[np.int64]:
    """Number of byte positions with a value that the id never had there before."""
    frames, width = payload.shape
    index = np.arange(frames - 1, -1, -1, dtype=np.int32)
    backwards = (code * 256)[::-1]
    novel = np.zeros(frames, np.int64)
    first = np.empty(ids * 256, np.int32)
    for position in range(width):
        slot = backwards + payload[::-1, position]
        # Written last to first, each slot ends up with the first frame that had the value.
        first[slot] = index
        novel += (first[slot] == index)[::-1]
    return novel
