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
from pathlib import Path

from core.captures.formats.csv_columns import Header, head_names
from core.captures.frame_table import FrameTable
from core.captures.rows import (
    STANDARD_MAX,
    BadLine,
    Row,
    build_table,
    exact_id,
    exact_label,
    exact_payload,
    exact_timestamp,
    stem_attack_name,
)
from core.captures.text import nothing_fast, read_lines

NAME = "daga"
NEEDED = ("timestamp", "can_id", "dlc", "payload_hex")


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    return float(set(NEEDED) <= set(head_names(head)))


def read(path: Path) -> FrameTable:
    """Read a DAGA CSV; its attack is named by the file's name.

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

    columns, quarantine = read_lines(
        path, "", nothing_fast, exact, skip_bytes=header.skip_bytes, first_line=2
    )
    warnings = ("no ANOMALY column: the capture is unlabelled",) if label is None else ()
    return build_table(path, NAME, columns, quarantine, stem_attack_name(path), warnings)
