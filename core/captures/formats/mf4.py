"""ASAM MDF 4 with CAN bus logging, read with asammdf.

The frames lie in groups with the channels ``CAN_DataFrame``, ``CAN_RemoteFrame`` and
``CAN_ErrorFrame`` and their parts (``.ID``, ``.IDE``, ``.DataLength``, ``.DataBytes``, ...); the
groups are joined in the order of time. Files with decoded signals only have no frames to read.
"""

import contextlib
import io
import logging
import mmap
import struct
import tempfile
import traceback
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import EXTENDED_MAX, Buses, Columns, Quarantine, build_table, concatenate
from core.errors import CaptureError

NAME = "mf4"
MAGIC = (b"MDF     ", b"UnFinMF ")
KINDS = {"CAN_DataFrame": 0, "CAN_RemoteFrame": REMOTE, "CAN_ErrorFrame": ERROR}
# What asammdf raises on damaged files: it checks little, so that damage shows anywhere in it.
DAMAGE = (
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    EOFError,
    MemoryError,
    RecursionError,
    NotImplementedError,
)


def sniff(head: bytes) -> float:
    """1 for an MDF file."""
    return float(head.startswith(MAGIC))


def read(path: Path) -> FrameTable:
    """Read the CAN frames of an MDF 4 file; it has no labels.

    Raises:
        CaptureError: if the file cannot be read, is damaged or holds no CAN frames.
    """
    # Here, because the library takes a second to load and few captures need it.
    from asammdf import MDF
    from asammdf.blocks.utils import MdfException

    # It logs tracebacks of what it raises, too.
    logging.getLogger("asammdf").setLevel(logging.CRITICAL + 1)
    buses, quarantine = Buses(), Quarantine()
    try:
        # It prints some of what goes wrong.
        with contextlib.redirect_stdout(io.StringIO()), MDF(path) as mdf:
            groups: list[Any] = mdf.groups
            parts = [
                _group(mdf, index, name, buses, quarantine)
                for index, group in enumerate(groups)
                for name in KINDS
                if group.channel_group.cycles_nr
                and name in {channel.name for channel in group.channels}
            ]
            start = mdf.header.start_time.timestamp()
    except (MdfException, *DAMAGE) as error:
        _settle(error)
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CaptureError(f"{path}: damaged MDF file: {reason}") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not parts:
        raise CaptureError(
            f"{path}: no CAN frames in it; expected bus logging (CAN_DataFrame), not signals"
        )
    columns = concatenate(parts)
    order = np.argsort(columns.timestamp, kind="stable")
    columns = Columns(*(getattr(columns, n)[order] for n in Columns.__dataclass_fields__))
    columns.timestamp = columns.timestamp + start
    return build_table(path, NAME, columns, quarantine, "attack", buses.warnings())


def _settle(error: BaseException) -> None:
    """Close half-built objects of asammdf, whose own way to close fails when they are collected."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        half_built: Any = frame.f_locals.get("self")
        if hasattr(half_built, "_closed"):
            half_built._closed = True
        left = list(frame.f_locals.values())
        left += [getattr(half_built, n, None) for n in ("_file", "_tempfile", "_mapped_file")]
        for thing in left:
            if isinstance(thing, io.IOBase | mmap.mmap | tempfile._TemporaryFileWrapper):
                thing.close()


def _group(mdf: Any, index: int, name: str, buses: Buses, quarantine: Quarantine) -> Columns:
    """The frames of one channel group."""
    there = {channel.name for channel in mdf.groups[index].channels}

    def part(suffix: str) -> npt.NDArray[Any] | None:
        channel = f"{name}.{suffix}"
        if channel not in there:
            return None
        return np.asarray(mdf.get(channel, group=index, raw=True).samples)

    times = np.asarray(mdf.get_master(index), np.float64)
    frames, kind = len(times), KINDS[name]
    columns = Columns.empty(frames)
    columns.timestamp = times
    columns.flags[:] = kind
    channels = part("BusChannel")
    if channels is not None:
        for bus in np.unique(channels).tolist():
            buses.see(str(bus))
    number, extended, fd = part("ID"), part("IDE"), part("EDL")
    good = np.isfinite(times)
    if number is not None and not kind & ERROR:
        number = number.astype(np.int64) & 0x7FFF_FFFF
        good &= number <= EXTENDED_MAX
        columns.arbitration_id = np.where(good, number, 0).astype(np.uint32)
        is_extended = columns.arbitration_id > 0x7FF
        if extended is not None:
            is_extended |= extended.astype(np.int64) != 0
        columns.flags |= np.where(is_extended, np.uint8(EXTENDED), np.uint8(0))
    length, data = part("DataLength"), part("DataBytes")
    if length is None or kind & REMOTE:
        # A remote frame has no data; what it asks for is its DLC.
        dlc = part("DLC")
        length = length if dlc is None else np.minimum(dlc, 8)
    if length is not None:
        good &= (length >= 0) & (length <= 64)
        columns.length = np.where(good, length, 0).astype(np.uint8)
    if fd is not None and not kind:
        columns.flags |= np.where(fd.astype(np.int64) != 0, np.uint8(FD), np.uint8(0))
    if data is not None and data.ndim == 2 and not kind & REMOTE:
        width = 64 if columns.length.max(initial=0) > 8 else 8
        payload = np.zeros((frames, width), np.uint8)
        payload[:, : data.shape[1]] = data[:, :width]
        payload[np.arange(width) >= columns.length[:, None]] = 0
        columns.payload = payload
    for at in np.flatnonzero(~good).tolist():
        quarantine.add(at + 1, "frame contradicts itself", f"{name} {at}")
    return columns.select(good)
