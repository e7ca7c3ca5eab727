"""The decimal CSV of CICIoV2024, which has no time: only the order of frames is known.

::

    ID,DATA_0,DATA_1,DATA_2,DATA_3,DATA_4,DATA_5,DATA_6,DATA_7,label,category,specific_class
    513,0,0,0,0,0,0,0,125,ATTACK,SPOOFING,GAS
    65,96,0,0,0,0,0,0,0,BENIGN,BENIGN,BENIGN

Everything is decimal; frames always have eight bytes. An attack is named by category and class.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.captures.formats.csv_columns import Header, exact_decimal, head_names, put_labels
from core.captures.frame_table import FrameTable
from core.captures.rows import (
    CHUNK_FRAMES,
    EXTENDED_MAX,
    STANDARD_MAX,
    AttackNames,
    Columns,
    Quarantine,
    Row,
    TableBuilder,
    id_flags,
)
from core.captures.text import Lines, read_integer

NAME = "ciciov2024"
DATA = tuple(f"data_{k}" for k in range(8))
NEEDED = ("id", *DATA, "label")
USUAL = [*NEEDED, "category", "specific_class"]


def sniff(head: bytes) -> float:
    """1 for a header with the needed columns."""
    return float(set(NEEDED) <= set(head_names(head)))


def read_chunks(path: Path, frames: int = CHUNK_FRAMES) -> Iterator[FrameTable]:
    """Read a CICIoV2024 CSV, ``frames`` frames or somewhat more at a time.

    Raises:
        CaptureError: if the file cannot be read, lacks a column or holds no frame.
    """
    layout = _Layout(path)
    quarantine, table = Quarantine(), TableBuilder(path, NAME)
    for columns in layout.header.read_lines(",", layout.fast, layout.exact, quarantine, frames):
        yield table.add(columns, quarantine, layout.attacks.names, timed=False)


class _Layout:
    """Which column lies where in one file, and the attacks seen in it."""

    def __init__(self, path: Path) -> None:
        self.header, self.attacks = Header(path, NEEDED), AttackNames()
        self.id, self.label = self.header.names.index("id"), self.header.names.index("label")
        self.data = [self.header.names.index(name) for name in DATA]
        self.names = [self.header.index(name) for name in ("category", "specific_class")]

    def exact(self, line: str) -> Row:
        """One line, read the slow way.

        Raises:
            BadLine: if it is no frame.
        """
        fields = self.header.fields(line)
        number = exact_decimal(fields[self.id], EXTENDED_MAX, "id")
        payload = bytes(exact_decimal(fields[k], 255, "byte") for k in self.data)
        names = [fields[k] for k in self.names if k is not None]
        label = self.attacks.of(fields[self.label], *names)
        return Row(0.0, number, int(number > STANDARD_MAX), 8, payload, label)

    def fast(self, lines: Lines) -> tuple[Columns, npt.NDArray[np.bool_]]:
        """All lines of a block, and where they are in the usual order and spelling."""
        text, columns = lines.text, Columns.empty(len(lines))
        if self.header.names != USUAL:
            return columns, np.zeros(len(lines), bool)
        good = lines.count == len(USUAL) - 1
        number, fine = read_integer(text, *lines.field(0))
        good &= fine & (number <= EXTENDED_MAX)
        columns.arbitration_id = np.where(good, number, 0).astype(np.uint32)
        columns.flags = id_flags(columns.arbitration_id)
        columns.length[:] = 8
        for k in range(8):
            byte, fine = read_integer(text, *lines.field(k + 1))
            good &= fine & (byte <= 255)
            columns.payload[:, k] = byte
        names = lines.field(9)[0], lines.field(11)[1]
        return columns, put_labels(columns, text, names, good, self.attacks.of)
