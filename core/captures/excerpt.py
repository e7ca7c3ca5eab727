"""A few frames in a row out of a capture that may be larger than memory."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from core.captures.frame_table import FrameTable, frames_of
from core.captures.readers import read_chunks
from core.errors import CaptureError

LONGEST = 1_000_000
"""Frames of an excerpt at most."""


def read_excerpt(
    path: Path, first: int, frames: int | None = None, end_time: float | None = None
) -> FrameTable:
    """The frames of one window.

    Args:
        first: place of the window's first frame in the capture, from 0.
        frames: how many there are; fewer where the capture ends before.
        end_time: instead of ``frames``, the time (s) of the window's last frame.

    Raises:
        CaptureError: if the file cannot be read, or ends before the window begins.
    """
    parts: list[FrameTable] = []
    seen, wanted = 0, min(frames or LONGEST, LONGEST)
    for chunk in read_chunks(path):
        begin = max(first - seen, 0)
        seen += len(chunk)
        part = frames_of(chunk, slice(begin, begin + wanted))
        if not len(part):
            continue
        later = part.timestamp > (np.inf if end_time is None else end_time)
        if later.any():
            part = frames_of(part, slice(0, int(later.argmax())))
        parts.append(part)
        wanted -= len(part)
        if not wanted or later.any():
            break
    if not parts:
        raise CaptureError(f"{path}: expected a frame {first}, but the capture has {seen} frames")
    return _join(parts)


def _join(parts: Sequence[FrameTable]) -> FrameTable:
    """Parts of one capture, one after another."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.payload.shape[1] for part in parts)
    wide = [np.pad(p.payload, ((0, 0), (0, width - p.payload.shape[1]))) for p in parts]
    names = ("timestamp", "arbitration_id", "flags", "length", "label", "attack")
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in names
    }
    return replace(parts[-1], payload=np.concatenate(wide), **columns)
