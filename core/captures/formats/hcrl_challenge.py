"""The CSV of the HCRL car hacking attack and defence challenge.

::

    Timestamp,Arbitration_ID,DLC,Data,Class,SubClass
    1597759710.1258,153,8,20 A1 10 FF 00 FF 50 1F,Normal,Normal
    1597759710.1259,0,8,00 00 00 00 00 00 00 00,Attack,Flooding

Identifiers are unpadded hexadecimal. The sub-class names the attack; a file without ``Class`` is
read as unlabelled. Written from descriptions of the format and tested on files made from this
grammar, not on the originals.
"""

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
    AttackNames,
    BadLine,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    exact_bytes,
    exact_id,
    exact_length,
    exact_timestamp,
    id_flags,
)
from core.captures.text import (
    Lines,
    read_decimal,
    read_hex_number,
    read_integer,
    read_spaced_bytes,
)

NAME = "hcrl-challenge"
NEEDED = ("timestamp", "arbitration_id", "dlc", "data")
USUAL = [*NEEDED, "class", "subclass"]


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    return float(set(NEEDED) <= set(head_names(head)))


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a challenge CSV, ``frames`` frames or somewhat more at a time.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    layout = _Layout(path)
    unlabelled = "class" not in layout.header.names
    warnings = ("no Class column: the capture is unlabelled",) if unlabelled else ()
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in layout.header.read_lines(",.", layout.fast, layout.exact, quarantine, frames):
        yield table.add(columns, quarantine, layout.attacks.names, warnings)


class _Layout:
    """Which column lies where in one file, and the attacks seen in it."""

    def __init__(self, path: Path) -> None:
        self.header = Header(path, NEEDED)
        self.attacks = AttackNames()
        self.timestamp, self.id, self.dlc, self.data = (self.header.names.index(n) for n in NEEDED)
        self.label, self.kind = self.header.index("class"), self.header.index("subclass")

    def exact(self, line: str) -> Row:
        """One line, read the slow way.

        Raises:
            BadLine: if it is no frame.
        """
        fields = self.header.fields(line)
        arbitration_id, length = exact_id(fields[self.id]), exact_length(fields[self.dlc])
        data = fields[self.data].split()
        if len(data) > length:
            raise BadLine("more bytes than the DLC says")
        label = -1
        if self.label is not None:
            kind = fields[self.kind] if self.kind is not None else ""
            label = self.attacks.of(fields[self.label], kind)
        return Row(
            exact_timestamp(fields[self.timestamp]),
            arbitration_id,
            int(arbitration_id > STANDARD_MAX),
            length,
            exact_bytes(data, length),
            label,
        )

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are in the usual order and spelling."""
        text, columns = lines.text, Columns.empty(len(lines))
        if self.header.names != USUAL:
            return columns, np.zeros(len(lines), bool)
        # The timestamp's point cuts its field in two, so that the fields behind it move by one.
        good = lines.delimiter(0, ".") & (lines.count_of(".") == 1) & (lines.count == 6)
        start, point = lines.field(0)
        columns.timestamp, fine = read_decimal(text, start, point, lines.field(1)[1])
        good &= fine
        columns.arbitration_id, fine = read_hex_number(text, *lines.field(2))
        good &= fine & (columns.arbitration_id <= EXTENDED_MAX)
        columns.flags = id_flags(columns.arbitration_id)
        length, fine = read_integer(text, *lines.field(3))
        good &= fine & (length <= 8)
        start, end = lines.field(4)
        good &= (end - start == 3 * length - 1) | ((length == 0) & (end == start))
        length = np.where(good, length, 0)
        columns.payload, fine = read_spaced_bytes(text, start, length, " ")
        columns.length = length.astype(np.uint8)
        good &= fine
        names = lines.field(5)[0], lines.field(6)[1]
        return columns, put_labels(columns, text, names, good, self.attacks.of)
