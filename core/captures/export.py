"""Captures written to files: for ourselves without loss, for other programs in their formats.

====================  ==========================================================================
``.arrow, .parquet``  everything, also what was skipped and warned of; :func:`read_capture` gives
                      the same frame table again
``.log``              candump; times to the microsecond, labels without the attacks' names
``.csv``              can-train-and-test; the same, and only classical data frames
====================  ==========================================================================
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.captures import arrow_io
from core.captures.formats import can_train_and_test_csv, candump
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import STANDARD_MAX
from core.errors import CaptureError
from core.files import atomic_path


def export(table: FrameTable, path: Path) -> list[str]:
    """Write a capture, atomically, in the format that the file's ending names.

    Returns:
        What the format has no place for, in words.

    Raises:
        CaptureError: if the ending is none of the above, there is no frame left to write, or a time
            lies before 0, which text formats do not have.
        StorageError: if it cannot be written.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise CaptureError(f"{path}: expected an ending of {', '.join(WRITERS)}")
    return writer(table, path)


def _arrow(table: FrameTable, path: Path) -> list[str]:
    arrow_io.save(table, path)
    return []


def _parquet(table: FrameTable, path: Path) -> list[str]:
    # Arrow takes a name as text only where that is UTF-8.
    with atomic_path(path) as temporary, pa.OSFile(os.fsencode(temporary), "wb") as sink:
        pq.write_table(arrow_io.to_arrow(table), sink)
    return []


def _candump(table: FrameTable, path: Path) -> list[str]:
    lost = _lost(table, path)
    candump.write(table, path)
    return lost


def _csv(table: FrameTable, path: Path) -> list[str]:
    lost = _lost(table, path)
    # Read back, an extended identifier this short would be a standard one.
    short = (table.flags == EXTENDED) & (table.arbitration_id <= STANDARD_MAX)
    fit = (table.flags & (REMOTE | ERROR | FD) == 0) & ~short
    if not fit.any():
        raise CaptureError(f"{path}: no classical data frame to write, got {len(table)} others")
    if not fit.all():
        lost.append(f"{np.count_nonzero(~fit)} frames left out: remote, error, CAN FD or short ids")
    columns = ("timestamp", "arbitration_id", "flags", "length", "payload", "label", "attack")
    table = replace(table, **{name: getattr(table, name)[fit] for name in columns})
    can_train_and_test_csv.write(table, path)
    return lost


def _lost(table: FrameTable, path: Path) -> list[str]:
    """What no text format keeps."""
    if len(table) and table.timestamp.min() < 0:
        raise CaptureError(f"{path}: expected times from 0, got {table.timestamp.min()}")
    return ["no times: all are written as 0"] if table.time == "missing" else []


WRITERS: dict[str, Callable[[FrameTable, Path], list[str]]] = {
    ".arrow": _arrow,
    ".parquet": _parquet,
    ".log": _candump,
    ".csv": _csv,
}
