"""Reading a binary capture piece by piece."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from core.captures.frame_table import FrameTable
from core.captures.rows import Columns

PIECE_FRAMES = 1_000_000
"""Frames of a piece, about."""


class PartReader(Protocol):
    """Reads one file from its start to its end, once."""

    def parts(self) -> Iterator[Columns]:
        """The frames, some at a time."""

    def table(self, parts: Sequence[Columns]) -> FrameTable:
        """The next frames as a table, with what there is to tell of all so far."""


def read_pieces(reader: PartReader) -> Iterator[FrameTable]:
    """Tables of about a million frames."""
    parts: list[Columns] = []
    frames = 0
    for part in reader.parts():
        # A rest without frames joins the piece before it.
        if frames >= PIECE_FRAMES and len(part.timestamp):
            yield reader.table(parts)
            parts, frames = [], 0
        parts.append(part)
        frames += len(part.timestamp)
    yield reader.table(parts)
