"""Reading a binary capture piece by piece."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from core.captures.frame_table import FrameTable
from core.captures.rows import Columns

PIECE_FRAMES = 1_000_000
"""Frames of a piece, about."""


class PartReader(Protocol):
    """Reads one file from its start to its end, once."""

    def parts(self) -> Iterator[Columns]:
        """The frames, some at a time."""

    def table(self, parts: Sequence[Columns], width: int = 8) -> FrameTable:
        """Parts as a table of at least ``width`` payload bytes, with what there is to tell."""


def read_pieces(reader_of_file: Callable[[], PartReader]) -> Iterator[FrameTable]:
    """Tables of about a million frames, all as wide as the widest.

    How wide that is only the whole file tells: one of several pieces is read twice.
    """
    reader = reader_of_file()
    parts: list[Columns] = []
    frames, width = 0, 0
    for part in reader.parts():
        # A rest without frames, which can be told of but makes no table, joins the piece before it.
        if frames >= PIECE_FRAMES and len(part.timestamp):
            width = width or max(p.payload.shape[1] for p in reader_of_file().parts())
            yield reader.table(parts, width)
            parts, frames = [], 0
        parts.append(part)
        frames += len(part.timestamp)
    yield reader.table(parts, width or 8)
