"""A capture in columns: no Python object per frame."""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

EXTENDED, REMOTE, ERROR, FD = 1, 2, 4, 8
"""Bits of :attr:`FrameTable.flags`."""


@dataclass(frozen=True)
class Skipped:
    """Lines of a capture that could not be read: how many for which reason, and the first few."""

    counts: dict[str, int] = field(default_factory=dict)
    """Reason -> number of lines."""
    examples: tuple[tuple[int, str, str], ...] = ()
    """(line number from 1, reason, start of the text), at most a few per reason."""


@dataclass(frozen=True)
class FrameTable:
    """``F`` frames of one capture, in the order of the file.

    Shapes: every column has length ``F``; ``payload`` is ``[F, width]`` with ``width`` 8 for
    classical CAN and 64 where a CAN FD frame needs it, padded with zeros beyond ``length``.
    """

    timestamp: npt.NDArray[np.float64]
    """Seconds; absolute (Unix) or relative, as in the file."""
    arbitration_id: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    """Sum of ``EXTENDED``, ``REMOTE``, ``ERROR`` and ``FD``."""
    length: npt.NDArray[np.uint8]
    """Payload bytes (0 to 64); of a remote frame, which has none, the bytes it asks for."""
    payload: npt.NDArray[np.uint8]
    label: npt.NDArray[np.uint8]
    """1 where the frame was injected or altered, else 0; all 0 where the file has no labels."""
    attack: npt.NDArray[np.int16]
    """Index into ``attack_names``; -1 for frames that are no attack."""
    attack_names: tuple[str, ...] = ()
    labelled: bool = False
    """Whether the file says which frames are attacks."""
    format: str = ""
    """Name of the reader that read it."""
    time: str = "absolute"
    """``absolute``, ``relative`` or ``missing``."""
    skipped: Skipped = field(default_factory=Skipped)
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.timestamp)


def frames_of(table: FrameTable, rows: slice) -> FrameTable:
    """Some of a capture's frames in a row, as a view."""
    return replace(
        table,
        timestamp=table.timestamp[rows],
        arbitration_id=table.arbitration_id[rows],
        flags=table.flags[rows],
        length=table.length[rows],
        payload=table.payload[rows],
        label=table.label[rows],
        attack=table.attack[rows],
    )
