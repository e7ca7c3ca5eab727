"""Vector BLF: objects one behind the other, packed into containers.

The layout is that of python-can (``can.io.blf``), which is the measure in the tests. Here the
objects are taken apart in columns, many times faster than one by one. Objects that are no frames
are counted and told; where the chain of objects is broken it is taken up at the next one, and the
gap is counted too.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from core.captures.formats.pieces import read_pieces
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import EXTENDED_MAX, Buses, Columns, Quarantine, TableBuilder, concatenate
from core.captures.text import unpacked_limit
from core.errors import CaptureError

NAME = "vector-blf"
MAGIC = b"LOGG"
BLOCK_BYTES = 512 << 10
"""Unpacked bytes taken apart at a time: few enough to stay in the processor's cache."""
CONTAINER_BYTES, OBJECT_BYTES, FRAME_BYTES = 64 << 20, 16 << 20, 4 << 10
"""The largest container (packed or unpacked), object and frame object that are believed.
Containers of 128 KiB are usual."""

Positions = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

_SIGNATURE = b"LOBJ"
_FOUR = np.dtype("<u4")
_SIGNED = np.frombuffer(_SIGNATURE, _FOUR)
_GAP = 4
"""Padding between two objects, at most."""
_CONTAINER, _UNPACKED, _ZLIB = 10, 0, 2
_LENGTHS = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64])
# Signature, length of the header, its version, length of the object, its type.
_OBJECT = struct.Struct("<4sHHII")
# Signature, length of the header, ..., start (year, month, day of the week, day, h, min, s, ms).
_FILE = struct.Struct("<4sL32x8H16x")


def _record(**fields: tuple[int, Any]) -> np.dtype[np.void]:
    """A structure of fields by their place and type."""
    places, kinds = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "offsets": list(places), "formats": list(kinds)})


_HEADER = _record(
    header_size=(4, "<u2"),
    version=(6, "<u2"),
    size=(8, "<u4"),
    kind=(12, "<u4"),
    unit=(16, "<u4"),
    time=(24, "<u8"),
)
_BODY = {1: 32, 2: 40}
"""Where the frame begins in an object, by the version of the header."""


@dataclass(frozen=True)
class _Layout:
    """A type of object that holds a frame."""

    record: np.dtype[np.void]
    remote: int = 0
    """Bit of ``flags``."""
    fd: int = 0
    """Bit of ``fd_flags``; 0 where such an object cannot hold a CAN FD frame."""

    @property
    def data(self) -> int:
        """Where the data begin."""
        assert self.record.fields
        return int(self.record.fields["data"][1])


_MESSAGE = _Layout(
    _record(channel=(0, "<u2"), flags=(2, "u1"), dlc=(3, "u1"), id=(4, "<u4"), data=(8, "8u1")),
    remote=0x80,
)
_ERROR_FRAME = _Layout(
    _record(channel=(0, "<u2"), dlc=(10, "u1"), id=(16, "<u4"), data=(24, "8u1"))
)
_FD_MESSAGE = _Layout(
    _record(
        channel=(0, "<u2"),
        flags=(2, "u1"),
        dlc=(3, "u1"),
        id=(4, "<u4"),
        fd_flags=(13, "u1"),
        valid=(14, "u1"),
        data=(20, "64u1"),
    ),
    remote=0x80,
    fd=0x1,
)
_FD_MESSAGE_64 = _Layout(
    _record(
        channel=(0, "u1"),
        dlc=(1, "u1"),
        valid=(2, "u1"),
        id=(4, "<u4"),
        flags=(12, "<u4"),
        fd_flags=(12, "<u4"),
        extra_at=(35, "u1"),
        data=(40, "64u1"),
    ),
    remote=0x10,
    fd=0x1000,
)
_LAYOUTS = {
    1: _MESSAGE,
    86: _MESSAGE,
    73: _ERROR_FRAME,
    100: _FD_MESSAGE,
    101: _FD_MESSAGE_64,
}
_PAD = bytes(max(_BODY.values()) + max(layout.record.itemsize for layout in _LAYOUTS.values()))
"""Behind a block, so that a structure may be read beyond its end."""


def sniff(head: bytes) -> float:
    """1 for a BLF file."""
    return float(head.startswith(MAGIC))


def read(path: Path) -> FrameTable:
    """Read a BLF file; it has no labels.

    Raises:
        CaptureError: if the file cannot be read, is damaged, holds no frame, or unpacks to more
            than a share of the memory (:func:`read_chunks` has no such limit).
    """
    reader = _Reader(path)
    return reader.table(list(reader.parts(unpacked_limit())))


def read_chunks(path: Path) -> Iterator[FrameTable]:
    """:func:`read` in pieces of about a million frames.

    Raises:
        CaptureError: as :func:`read`.
    """
    yield from read_pieces(_Reader(path))


class _Reader:
    """What is found on the way through one file."""

    def __init__(self, path: Path) -> None:
        self.path, self.builder = path, TableBuilder(path, NAME)
        self.start = 0.0
        self.objects = 0
        self.buses = Buses()
        self.quarantine = Quarantine()
        self.others: Counter[str] = Counter()

    def table(self, parts: Sequence[Columns]) -> FrameTable:
        """The next frames as a table, with what there is to tell of all so far."""
        warnings = self.buses.warnings()
        if self.others:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(self.others.items()))
            warnings += (f"{self.others.total()} objects are no frames that can be read: {kinds}",)
        return self.builder.add(concatenate(parts), self.quarantine, "attack", warnings)

    def parts(self, limit: int | None = None) -> Iterator[Columns]:
        """The frames, a block at a time; ``limit`` is what all may unpack to."""
        rest, waiting, size, total = b"", [], 0, 0
        for content, whole in self._containers():
            waiting.append(content)
            size += len(content)
            if size >= BLOCK_BYTES or not whole:
                total += size
                if limit is not None and total > limit:
                    raise CaptureError(
                        f"{self.path}: unpacks to more than {limit >> 20} MiB, a quarter of the "
                        "memory; split it up"
                    )
                part, rest = self._block(b"".join([rest, *waiting]))
                yield part
                waiting, size = [], 0
                if not whole:
                    rest = b""  # What follows does not continue it.
        part, rest = self._block(b"".join([rest, *waiting]))
        if _SIGNATURE in rest:
            self._damage("file ends within an object", repr(rest[:16]))
        yield part

    def _containers(self) -> Iterator[tuple[bytes, bool]]:
        """What each container holds, unpacked, and whether that is all of it."""
        try:
            with self.path.open("rb") as file:
                head = file.read(_FILE.size)
                if len(head) < _FILE.size or not head.startswith(MAGIC):
                    raise CaptureError(f"{self.path}: damaged BLF file: no whole file header")
                _, size, *start = _FILE.unpack(head)
                self.start = _seconds(start)
                file.seek(size)
                while head := file.read(_OBJECT.size):
                    at = file.tell() - len(head)
                    if len(head) < _OBJECT.size:
                        self._damage("file ends within an object", f"byte {at}")
                        return
                    signature, _, _, size, kind = _OBJECT.unpack(head)
                    if signature != _SIGNATURE or not _OBJECT.size <= size <= CONTAINER_BYTES:
                        self._damage("no container where one should be", f"byte {at}")
                        _seek_signature(file, at + 1)
                        yield b"", False
                        continue
                    packed = file.read(size - _OBJECT.size)
                    file.seek(size % 4, 1)
                    if kind == _CONTAINER:
                        yield self._unpack(packed, size - _OBJECT.size, at)
                    else:
                        self.others[f"type {kind}"] += 1
        except OSError as error:
            raise CaptureError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _unpack(self, packed: bytes, size: int, at: int) -> tuple[bytes, bool]:
        """What a container of ``size`` bytes at ``at`` holds, and whether that is all of it."""
        # Method, unpacked size (of no use here).
        method, packed, whole = packed[:2], packed[16:], 16 <= len(packed) == size
        if method == _UNPACKED.to_bytes(2, "little"):
            content = packed
        elif method == _ZLIB.to_bytes(2, "little"):
            unpacker = zlib.decompressobj()
            try:
                content = unpacker.decompress(packed, CONTAINER_BYTES)
                if unpacker.unconsumed_tail:
                    raise CaptureError(
                        f"{self.path}: damaged BLF file: the container at byte {at} unpacks to "
                        f"more than {CONTAINER_BYTES >> 20} MiB"
                    )
                whole &= unpacker.eof
            except zlib.error:
                content, whole = b"", False
        else:
            content, whole = b"", False
        if not whole:
            self._damage("container is damaged or cut off", f"byte {at}")
        return content, whole

    def _damage(self, reason: str, text: str, objects: int = 0) -> None:
        self.quarantine.add(self.objects + objects + 1, reason, text)

    def _block(self, content: bytes) -> tuple[Columns, bytes]:
        """The frames among the whole objects, and the rest behind those."""
        padded = content + _PAD
        at, end = self._objects(padded, len(content))
        header = _records(padded, _HEADER, at)
        begin = np.zeros(len(at), np.int64)
        for version, body in _BODY.items():
            begin[header["version"] == version] = body
        kinds = header["kind"]
        known = np.isin(kinds, list(_LAYOUTS))
        for kind, count in zip(*np.unique(kinds[~known], return_counts=True), strict=True):
            self.others[f"type {kind}"] += int(count)
        frames = known & (begin > 0)
        if strange := int(np.count_nonzero(known & ~frames)):
            self.others["header of an unknown version"] += strange
        columns, channel, good = Columns.empty(len(at)), np.zeros(len(at), int), ~frames
        # Units of ten microseconds, or nanoseconds.
        time = header["time"].astype(np.float64)
        columns.timestamp = time / np.where(header["unit"] == 1, 1e5, 1e9) + self.start
        for kind, layout in _LAYOUTS.items():
            rows = np.flatnonzero((kinds == kind) & frames)
            if len(rows):
                record = _records(padded, layout.record, at[rows] + begin[rows])
                size = header["size"][rows].astype(np.int64)
                good[rows] = _put(columns, rows, layout, record, size, begin[rows])
                channel[rows] = record["channel"]
        for odd in np.flatnonzero(~good).tolist():
            text = f"type {kinds[odd]}, id {columns.arbitration_id[odd]:X}"
            self._damage("frame contradicts itself", text, odd)
        frames &= good
        for bus in np.unique(channel[frames]).tolist():
            self.buses.see(str(bus - 1))
        self.objects += len(at)
        return columns.select(frames), content[end:]

    def _objects(self, padded: bytes, size: int) -> tuple[Positions, int]:
        """Where ``[O]`` whole objects begin, and where the first begins that is not whole."""
        characters = np.frombuffer(padded, np.uint8, max(size - _OBJECT.size + 1, 0))
        at = np.flatnonzero(characters == _SIGNATURE[0])
        at = at[_records(padded, _FOUR, at) == _SIGNED]
        header = _records(padded, _HEADER, at)
        end = at + header["size"]
        # Nearly always, each signature stands where the object before it ends.
        before = np.concatenate(([0], end[:-1]))
        chained = (at >= before) & (at <= before + _GAP)
        most = np.where(np.isin(header["kind"], list(_LAYOUTS)), FRAME_BYTES, OBJECT_BYTES)
        least = np.maximum(header["header_size"], _OBJECT.size)
        believed = (least <= header["size"]) & (header["size"] <= most)
        if len(at) and (chained & believed).all() and (end[:-1] <= size).all():
            stop = int(end[-1] if end[-1] <= size else at[-1])
            if stop + 8 > size or padded.find(_SIGNATURE, stop, stop + 8) >= 0:
                return at[end <= size], stop
        return self._objects_one_by_one(padded, size)

    def _objects_one_by_one(self, padded: bytes, size: int) -> tuple[Positions, int]:
        """:meth:`_objects` where data look like objects, or the chain is broken."""
        found: list[int] = []
        at = 0
        while at + 8 <= size:
            start = padded.find(_SIGNATURE, at, at + 8)
            if start < 0:
                self._damage(
                    "no object where one should be", repr(padded[at : at + 16]), len(found)
                )
                start = padded.find(_SIGNATURE, at, size)
            if start < 0:
                at = size  # A signature cut in two by the end costs one more object.
                break
            at = start
            if at + _OBJECT.size > size:
                break
            _, header_size, _, length, kind = _OBJECT.unpack_from(padded, at)
            most = FRAME_BYTES if kind in _LAYOUTS else OBJECT_BYTES
            if not max(header_size, _OBJECT.size) <= length <= most:
                reason = "object is smaller than its header, or too large"
                self._damage(reason, f"type {kind}, {length} bytes", len(found))
                at += len(_SIGNATURE)
            elif at + length > size:
                break
            else:
                found.append(at)
                at += length
        return np.array(found, np.int64), at


def _put(
    columns: Columns,
    rows: Positions,
    layout: _Layout,
    record: Records,
    size: Positions,
    begin: Positions,
) -> npt.NDArray[np.bool_]:
    """Set frames of one type of object.

    Args:
        rows: where in ``columns`` ``[R]``.
        size: of the objects ``[R]``.
        begin: where in its object each record begins ``[R]``.

    Returns:
        Which of them agree with themselves ``[R]``.
    """
    identifier, dlc, data = record["id"], record["dlc"].astype(np.int64), record["data"]
    flags = np.where(identifier >> 31, np.uint8(EXTENDED), np.uint8(0))
    length = there = np.minimum(dlc, 8)  # Of a classical frame, whatever is written as its DLC.
    room = size - begin
    good = room >= (layout.data if layout.fd else layout.record.itemsize)
    if layout is _ERROR_FRAME:
        # Its number and length say what the error was, in codes of the hardware.
        flags[:] = ERROR
    else:
        flags[record["flags"] & layout.remote != 0] |= REMOTE
    if layout.fd:
        fd = (record["fd_flags"] & layout.fd != 0) & (flags & REMOTE == 0)
        flags[fd] |= FD
        length = _LENGTHS[np.minimum(dlc, 15)]
        there = record["valid"].astype(np.int64)
        good &= (there <= length) | (flags & REMOTE != 0)
        # Of the data, zeros at the end may be left out; where they end, something else may begin.
        if layout is _FD_MESSAGE_64:
            extra_at = record["extra_at"].astype(np.int64)
            room = np.where(extra_at > 0, extra_at - begin, room)
        there = np.clip(room - layout.data, 0, there)
    there = np.where(flags & REMOTE, 0, there)
    if columns.payload.shape[1] == 8 and (length[good] > 8).any():
        columns.payload = np.pad(columns.payload, ((0, 0), (0, 56)))
    width = min(data.shape[1], columns.payload.shape[1])
    data = data[:, :width]
    columns.payload[rows, :width] = np.where(np.arange(width) < there[:, None], data, 0)
    columns.arbitration_id[rows] = identifier & np.uint32(EXTENDED_MAX)
    columns.flags[rows], columns.length[rows] = flags, length
    return good


def _records(padded: bytes, layout: np.dtype[Any], at: Positions) -> Records:
    """Copies of the structures that begin at the bytes ``at`` ``[N]``."""
    size = layout.itemsize
    # As plain bytes, since numpy copies structures field by field.
    everywhere: Records = np.ndarray((len(padded) - size + 1,), f"V{size}", padded, 0, (1,))
    return everywhere[at].view(layout)


def _seek_signature(file: BinaryIO, start: int) -> None:
    """Go to the next object from byte ``start`` on, or to the end."""
    file.seek(start)
    while chunk := file.read(BLOCK_BYTES):
        if (found := chunk.find(_SIGNATURE)) >= 0:
            file.seek(found - len(chunk), 1)
            return
        if len(chunk) == BLOCK_BYTES:
            file.seek(1 - len(_SIGNATURE), 1)  # It may lie across.


def _seconds(date: list[int]) -> float:
    """A Windows SYSTEMTIME (UTC) as Unix time; 0 where it is none."""
    year, month, _, day, hour, minute, second, millisecond = date
    try:
        when = datetime(year, month, day, hour, minute, second, millisecond * 1000, UTC)
    except ValueError:
        return 0.0
    return when.timestamp()
