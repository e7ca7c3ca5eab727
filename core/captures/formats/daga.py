"""The CSV of the DAGA data set.

::

    timestamp,CAN_ID,DLC,PAYLOAD_HEX,PAYLOAD_BIN,ANOMALY
    0.000235,1D0,64,8000000000001D0,1000...,FALSE
    9e-06,290.0,8,8,1000,True

DLC counts bits; identifiers and payloads are hexadecimal without leading zeros, and identifiers
may have gone through a table as numbers (``290.0`` is 0x290). Written from descriptions of the
format and tested on files made from this grammar, not on the originals.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.csv_columns import Header, head_names, put_labels
from core.captures.frame_table import FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    EXTENDED_MAX,
    STANDARD_MAX,
    BadLine,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_id,
    exact_label,
    exact_payload,
    exact_timestamp,
    id_flags,
    stem_attack_name,
)
from core.captures.text import (
    Lines,
    read_hex_number,
    read_integer,
    read_time,
)

NAME = "daga"
NEEDED = ("timestamp", "can_id", "dlc", "payload_hex")


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    return float(set(NEEDED) <= set(head_names(head)))


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a DAGA CSV, ``frames`` frames or somewhat more at a time.

    Its attack is named by the file\'s name.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    header = Header(path, NEEDED)
    timestamp, number, length, data = (header.names.index(name) for name in NEEDED)
    label = header.index("anomaly", "label")

    def exact(line: str) -> Row:
        fields = header.fields(line)
        arbitration_id = exact_id(fields[number].removesuffix(".0"))
        bits = fields[length].removesuffix(".0")
        if not re.fullmatch("[0-9]{1,2}", bits) or int(bits) > 64 or int(bits) % 8:
            raise BadLine("DLC is not 0 to 64 bits in steps of 8")
        digits = fields[data].removeprefix("0x")
        if len(digits) > int(bits) // 4:
            raise BadLine("payload is longer than the DLC says")
        payload = exact_payload(digits.zfill(int(bits) // 4))
        return Row(
            exact_timestamp(fields[timestamp]),
            arbitration_id,
            int(arbitration_id > STANDARD_MAX),
            len(payload),
            payload,
            -1 if label is None else exact_label(fields[label]),
        )

    def fast(lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        text, columns = lines.text, Columns.empty(len(lines))
        good = (lines.count == len(header.names) - 1) & (lines.count_of('"') == 0)
        columns.timestamp, fine = read_time(text, *lines.field(timestamp))
        good &= fine
        columns.arbitration_id, fine = read_hex_number(text, *lines.field(number))
        good &= fine & (columns.arbitration_id <= EXTENDED_MAX)
        columns.flags = id_flags(columns.arbitration_id)
        bits_start, bits_end = lines.field(length)
        bits, fine = read_integer(text, bits_start, bits_end)
        good &= fine & (bits_end - bits_start <= 2) & (bits <= 64) & (bits % 8 == 0) & (bits > 0)
        columns.length = np.where(good, bits // 8, 0).astype(np.uint8)
        start, end = lines.field(data)
        good &= (end - start >= 1) & (4 * (end - start) <= bits)
        # The number's two halves, moved to the front of the eight bytes.
        half = np.maximum(end - 8, start)
        low, fine = read_hex_number(text, half, end)
        high, more = read_hex_number(text, start, half)
        good &= fine & (more | (half == start))
        value = np.where(half > start, high, 0).astype(np.uint64) << np.uint64(32) | low
        value <<= np.where(good, 64 - bits, 0).astype(np.uint64)
        columns.payload = value.astype(">u8")[:, None].view(np.uint8)
        if label is not None:
            good = put_labels(columns, text, lines.field(label), good, exact_label)
        return columns, good

    warnings = ("no ANOMALY column: the capture is unlabelled",) if label is None else ()
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in header.read_lines(',"', fast, exact, quarantine, frames):
        yield table.add(columns, quarantine, stem_attack_name(path), warnings)
