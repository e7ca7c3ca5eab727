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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.formats.pieces import PIECE_FRAMES, read_pieces
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import (
    EXTENDED_MAX,
    STANDARD_MAX,
    Buses,
    Columns,
    Quarantine,
    build_table,
    concatenate,
)
from core.captures.text import unpacked_limit
from core.errors import CaptureError

NAME = "mf4"
MAGIC = (b"MDF     ", b"UnFinMF ")
KINDS = {"CAN_DataFrame": 0, "CAN_RemoteFrame": REMOTE, "CAN_ErrorFrame": ERROR}
RECORDS = PIECE_FRAMES
"""Records of a group read at a time."""
BLOCK_BYTES = 64 << 20
"""What a compressed block may unpack to; the standard advises 4 MiB."""
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
    RuntimeError,
)


def sniff(head: bytes) -> float:
    """1 for an MDF file."""
    return float(head.startswith(MAGIC))


def read(path: Path) -> FrameTable:
    """Read the CAN frames of an MDF 4 file; it has no labels.

    Raises:
        CaptureError: if the file cannot be read, is damaged, holds no CAN frames, or unpacks to
            more than a share of the memory (:func:`read_chunks` has no such limit).
    """
    reader = _Reader(path)
    return reader.table(list(reader.parts(unpacked_limit())))


def read_chunks(path: Path) -> Iterator[FrameTable]:
    """:func:`read` in pieces of about a million frames.

    Raises:
        CaptureError: as :func:`read`.
    """
    yield from read_pieces(partial(_Reader, path))


class _Reader:
    """What is found on the way through one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.buses = Buses()
        self.quarantine = Quarantine()

    def table(self, parts: Sequence[Columns], width: int = 8) -> FrameTable:
        """A frame table of the parts, with what there is to tell since the last one."""
        columns = concatenate([Columns.empty(0, width), *parts])
        quarantine, self.quarantine = self.quarantine, Quarantine()
        return build_table(self.path, NAME, columns, quarantine, "attack", self.buses.warnings())

    def parts(self, limit: int | None = None) -> Iterator[Columns]:
        """The frames of all groups in the order of time; ``limit`` is what all may unpack to."""
        frames = False
        try:
            # asammdf leaves copies of damaged files in its temporary folder.
            with tempfile.TemporaryDirectory(prefix="mf4-") as folder:
                for part in self._parts(folder, limit):
                    frames = True
                    yield part
        except OSError as error:
            raise CaptureError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        if not frames:
            raise CaptureError(
                f"{self.path}: no CAN frames in it; expected bus logging (CAN_DataFrame), not "
                "signals"
            )

    def _parts(self, folder: str, limit: int | None) -> Iterator[Columns]:
        MDF, MdfException = _asammdf()
        try:
            with _silence():
                # Bus logging is taken apart here, not there.
                mdf = MDF(self.path, temporary_folder=folder, process_bus_logging=False)
            with mdf:
                groups = [
                    (index, name)
                    for index, group in enumerate(mdf.groups)
                    for name in KINDS
                    if group.channel_group.cycles_nr
                    and name in {channel.name for channel in group.channels}
                ]
                if limit is not None:
                    self._check_size([mdf.groups[g].channel_group for g, _ in groups], limit)
                start = mdf.header.start_time.timestamp()
                for part in merged([self._group(mdf, *group) for group in groups]):
                    part.timestamp = part.timestamp + start
                    yield part
        except (MdfException, OSError, *DAMAGE) as error:
            _settle(error)
            if isinstance(error, OSError):
                raise
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise CaptureError(f"{self.path}: damaged MDF file: {reason}") from error

    def _check_size(self, groups: Sequence[Any], limit: int) -> None:
        """Refuse a file that unpacks to too much; where nothing is packed, its size says enough."""
        total = sum(group.cycles_nr * group.samples_byte_nr for group in groups)
        if total > max(limit, self.path.stat().st_size):
            raise CaptureError(
                f"{self.path}: unpacks to more than {limit >> 20} MiB, a quarter of the memory; "
                "split it up"
            )

    def _group(self, mdf: Any, index: int, name: str) -> Iterator[Columns]:
        """The frames of one channel group, some at a time."""
        group = mdf.groups[index]
        channels = {c.name: c for c in group.channels if c.name.startswith(f"{name}.")}
        in_bytes = all(c.bit_offset == 0 and c.bit_count % 8 == 0 for c in channels.values())
        for first in range(0, group.channel_group.cycles_nr, RECORDS):
            get = partial(mdf.get, group=index, raw=True, record_offset=first, record_count=RECORDS)
            with _silence():
                frames = get(name)
                # All parts at once where they are whole bytes, else each by itself.
                there = (in_bytes and frames.samples.dtype.names) or ()
                part = {
                    channel.removeprefix(f"{name}."): np.asarray(
                        frames.samples[channel] if channel in there else get(channel).samples
                    )
                    for channel in channels
                }
            if not len(frames.timestamps):
                return  # The group says that it has more.
            yield self._columns(name, np.asarray(frames.timestamps, np.float64), part, first)

    def _columns(
        self,
        name: str,
        times: npt.NDArray[np.float64],
        part: dict[str, npt.NDArray[Any]],
        first: int,
    ) -> Columns:
        """Some frames of a group, from record ``first`` on."""
        frames, kind = len(times), KINDS[name]
        columns = Columns.empty(frames)
        columns.timestamp = times
        columns.flags[:] = kind
        for bus in np.unique(part.get("BusChannel", ())).tolist():
            self.buses.see(str(bus))
        good = np.isfinite(times)
        if "ID" in part and not kind & ERROR:
            number = part["ID"].astype(np.int64) & 0x7FFF_FFFF
            good &= number <= EXTENDED_MAX
            columns.arbitration_id = np.where(good, number, 0).astype(np.uint32)
            extended = columns.arbitration_id > STANDARD_MAX
            if "IDE" in part:
                extended |= part["IDE"] != 0
            columns.flags[extended] |= EXTENDED
        length = part.get("DataLength")
        if "DLC" in part and (length is None or kind & REMOTE):
            # A remote frame has no data; what it asks for is its DLC.
            length = np.minimum(part["DLC"], 8)
        if length is not None:
            good &= (length >= 0) & (length <= 64)
            columns.length = np.where(good, length, 0).astype(np.uint8)
        if "EDL" in part and not kind:
            columns.flags[part["EDL"] != 0] |= FD
        data = part.get("DataBytes")
        if data is not None and data.ndim == 2 and not kind & REMOTE:
            width = 64 if columns.length.max(initial=0) > 8 else 8
            payload = np.zeros((frames, width), np.uint8)
            payload[:, : data.shape[1]] = data[:, :width]
            payload[np.arange(width) >= columns.length[:, None]] = 0
            columns.payload = payload
        for at in np.flatnonzero(~good).tolist():
            at += first
            self.quarantine.add(at + 1, "frame contradicts itself", f"{name} {at}")
        return columns.select(good)


def merged(streams: Sequence[Iterator[Columns]]) -> Iterator[Columns]:
    """Frames of several streams in the order of time, those of each stream in its own order.

    A frame whose time goes back counts as one of the latest time before it. Of equal times, the
    first stream's frames come first. Needs memory for one part of each stream.
    """
    kept = [Columns.empty(0) for _ in streams]
    times = [np.zeros(0) for _ in streams]
    latest = [-np.inf for _ in streams]
    while min(latest, default=np.inf) < np.inf:
        behind = latest.index(min(latest))
        part = next(streams[behind], None)
        if part is None:
            latest[behind] = np.inf
        elif len(part.timestamp):
            grown = np.maximum.accumulate(np.append(latest[behind], part.timestamp))[1:]
            kept[behind] = concatenate([kept[behind], part])
            times[behind] = np.concatenate([times[behind], grown])
            latest[behind] = grown[-1]
        # Of frames before this time, no stream has any more to come.
        ready = [int(np.searchsorted(time, min(latest))) for time in times]
        if sum(ready):
            whole = concatenate([_rows(c, slice(0, n)) for c, n in zip(kept, ready, strict=True)])
            order = np.concatenate([t[:n] for t, n in zip(times, ready, strict=True)])
            kept = [_rows(c, slice(n, None)) for c, n in zip(kept, ready, strict=True)]
            times = [t[n:] for t, n in zip(times, ready, strict=True)]
            yield whole if max(ready) == sum(ready) else _rows(whole, order.argsort(kind="stable"))


def _rows(columns: Columns, rows: slice | npt.NDArray[np.intp]) -> Columns:
    return Columns(*(getattr(columns, name)[rows] for name in Columns.__dataclass_fields__))


def _asammdf() -> tuple[Any, type[Exception]]:
    """asammdf's file type and error.

    Loaded here, because that takes a second and few captures need it.
    """
    from asammdf import MDF
    from asammdf.blocks import utils
    from asammdf.blocks import v4_constants as v4c
    from lz4.frame import LZ4FrameDecompressor  # type: ignore[import-untyped]

    # It logs tracebacks of what it raises, too.
    logging.getLogger("asammdf").setLevel(logging.CRITICAL + 1)
    # By default it unpacks a block to whatever that grows to. (What is packed with Zstandard,
    # rare and new, still does.)
    deflate, lz4 = partial(_unpack, zlib.decompressobj), partial(_unpack, LZ4FrameDecompressor)
    utils.DECOMPRESS_FUNC_MAP |= {
        v4c.DZ_BLOCK_DEFLATE: deflate,
        v4c.DZ_BLOCK_TRANSPOSED: deflate,
        v4c.DZ_BLOCK_LZ: lz4,
        v4c.DZ_BLOCK_LZ_TRANSPOSED: lz4,
    }
    return MDF, utils.MdfException


def _unpack(unpacker_type: Callable[[], Any], packed: bytes) -> bytes:
    """What a compressed block holds.

    Raises:
        ValueError: if it is cut off or too large. What else is wrong with it the library says.
    """
    unpacker = unpacker_type()
    content: bytes = unpacker.decompress(packed, BLOCK_BYTES)
    if not unpacker.eof:
        raise ValueError(f"a block is cut off or unpacks to more than {BLOCK_BYTES >> 20} MiB")
    return content


def _silence() -> contextlib.AbstractContextManager[Any]:
    """asammdf prints some of what goes wrong."""
    return contextlib.redirect_stdout(io.StringIO())


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
