"""Vector BLF, read with python-can.

python-can passes over some objects without a word (plain error objects among them): they are
counted here and told.
"""

import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.rows import EXTENDED_MAX, Buses, Columns, Quarantine, build_table
from core.errors import CaptureError

if TYPE_CHECKING:
    from can import Message

NAME = "vector-blf"
MAGIC = b"LOGG"
READ_OBJECTS = {1, 73, 86, 100, 101}
"""CAN message, error (extended), message 2, CAN FD, CAN FD 64."""
_OBJECT = struct.Struct("<4sHHII")


def sniff(head: bytes) -> float:
    """1 for a BLF file."""
    return float(head.startswith(MAGIC))


def read(path: Path) -> FrameTable:
    """Read a BLF file; it has no labels.

    Raises:
        CaptureError: if the file cannot be read, is damaged or holds no frame.
    """
    # Here, because the library takes seconds to load (it loads asammdf) and few captures need it.
    from can.io.blf import BLFParseError, BLFReader

    class Reader(BLFReader):
        """python-can's reader, whose loop an empty object would hold up for ever."""

        def _parse_container(self, data: bytes) -> Iterator["Message"]:
            if not count_objects(self._tail + data, objects):
                raise BLFParseError("an object is smaller than its header")
            yield from super()._parse_container(data)

    objects: Counter[int] = Counter()
    buses, quarantine = Buses(), Quarantine()
    times: list[float] = []
    numbers: list[int] = []
    flags: list[int] = []
    lengths: list[int] = []
    payloads: list[bytes] = []
    try:
        with path.open("rb") as file, Reader(file) as reader:
            for message in reader:
                data, length = bytes(message.data or b""), message.dlc
                if message.is_error_frame:
                    # Its number and length say what the error was, in codes of the hardware.
                    data, length = data[:8], min(length, 8)
                if message.arbitration_id > EXTENDED_MAX or not len(data) <= length <= 64:
                    quarantine.add(len(times) + 1, "frame contradicts itself", str(message)[:120])
                    continue
                times.append(message.timestamp)
                numbers.append(message.arbitration_id)
                flags.append(_flags(message))
                lengths.append(length)
                payloads.append(data)
                buses.see(str(message.channel))
    except (
        BLFParseError,
        struct.error,
        zlib.error,
        EOFError,
        ValueError,
        ArithmeticError,
    ) as error:
        raise CaptureError(f"{path}: damaged BLF file: {error or type(error).__name__}") from error
    except OSError as error:
        raise CaptureError(f"{path}: cannot be read: {error.strerror or error}") from error
    columns = Columns.empty(len(times), 64 if max(lengths, default=0) > 8 else 8)
    columns.timestamp = np.array(times, np.float64)
    columns.arbitration_id = np.array(numbers, np.uint32)
    columns.flags = np.array(flags, np.uint8)
    columns.length = np.array(lengths, np.uint8)
    width = columns.payload.shape[1]
    rows = b"".join(payload.ljust(width, b"\0") for payload in payloads)
    columns.payload = np.frombuffer(rows, np.uint8).reshape(-1, width).copy()
    warnings = buses.warnings()
    skipped = {kind: n for kind, n in sorted(objects.items()) if kind not in READ_OBJECTS}
    if skipped:
        kinds = ", ".join(f"type {kind} ({count})" for kind, count in skipped.items())
        warnings += (f"{sum(skipped.values())} objects are no frames that can be read: {kinds}",)
    return build_table(path, NAME, columns, quarantine, "attack", warnings)


def _flags(message: "Message") -> int:
    # An error frame has no identifier of its own.
    if message.is_error_frame:
        return ERROR
    flags = EXTENDED if message.is_extended_id else 0
    if message.is_remote_frame:
        return flags | REMOTE
    return flags | (FD if message.is_fd else 0)


def count_objects(data: bytes, objects: Counter[int]) -> bool:
    """Walk through a container from object to object, as python-can does, and count their types.

    Returns:
        False at an object that is smaller than its header: python-can would stay at it.
    """
    position = 0
    while (position := data.find(b"LOBJ", position, position + 8)) >= 0:
        if position + _OBJECT.size > len(data):
            break
        _, header_size, _, size, kind = _OBJECT.unpack_from(data, position)
        if size < max(header_size, _OBJECT.size):
            return False
        if position + size > len(data):
            break
        objects[kind] += 1
        position += size
    return True
