"""Captures written and read by the libraries alone: python-can and asammdf.

Both are loaded where they are used, because that takes seconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.captures.formats import asc, blf, mf4
from core.captures.frame_table import EXTENDED, FrameTable


class Library(NamedTuple):
    """A format, as a library handles it."""

    suffix: str
    write: Callable[[FrameTable, Path], None]
    read: Callable[[Path], int]
    """Reads all frames, one by one where the library hands them out so; returns how many."""


def write_with_python_can(table: FrameTable, path: Path) -> None:
    """Write frames as BLF or ASC, as the path's ending says."""
    import can

    writer = {".blf": can.BLFWriter, ".asc": can.ASCWriter}[path.suffix]
    with writer(path) as out:
        for row in range(len(table)):
            out.on_message_received(
                can.Message(
                    timestamp=float(table.timestamp[row]),
                    arbitration_id=int(table.arbitration_id[row]),
                    is_extended_id=bool(table.flags[row] & EXTENDED),
                    data=table.payload[row, : table.length[row]].tobytes(),
                )
            )


def read_with_python_can(path: Path) -> int:
    """Loop over the messages of a BLF or ASC file."""
    import can

    with can.LogReader(path) as messages:
        return sum(1 for _ in messages)


def write_with_asammdf(table: FrameTable, path: Path) -> None:
    """Write frames as bus logging, compressed as loggers do."""
    from asammdf import MDF, Signal, Source
    from asammdf.blocks import v4_constants as v4c

    columns: dict[str, Any] = {
        "BusChannel": np.ones(len(table), np.uint8),
        "ID": table.arbitration_id,
        "IDE": table.flags & EXTENDED,
        "DLC": table.length,
        "DataLength": table.length,
        "DataBytes": table.payload,
    }
    frames = np.rec.fromarrays(
        list(columns.values()),
        [(f"CAN_DataFrame.{name}", c.dtype, c.shape[1:]) for name, c in columns.items()],
    )
    source = Source("CAN", "CAN", "", v4c.SOURCE_BUS, v4c.BUS_TYPE_CAN)
    with MDF(version="4.10") as mdf:
        mdf.header.start_time = datetime.fromtimestamp(float(table.timestamp[0]), UTC)
        times = table.timestamp - table.timestamp[0]
        mdf.append(Signal(frames, times, name="CAN_DataFrame", source=source))
        mdf.save(path, compression=2)


def read_with_asammdf(path: Path) -> int:
    """Open a file and get each part of the frames that a frame table has."""
    from asammdf import MDF

    with MDF(path) as mdf:
        for part in ("BusChannel", "ID", "IDE", "DataLength", "DataBytes"):
            mdf.get(f"CAN_DataFrame.{part}", group=0, raw=True)
        return len(mdf.get_master(0))


LIBRARIES = {
    blf.NAME: Library(".blf", write_with_python_can, read_with_python_can),
    asc.NAME: Library(".asc", write_with_python_can, read_with_python_can),
    mf4.NAME: Library(".mf4", write_with_asammdf, read_with_asammdf),
}
