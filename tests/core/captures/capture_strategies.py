"""Generated frame tables and damaged lines, and the comparison of what was read with a plain list.

Used by the tests of several formats.
"""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable

FD_LENGTHS = (0, 1, 7, 8, 12, 16, 20, 24, 32, 48, 64)
Frame = tuple[float, int, int, int, bytes, int]
"""(timestamp, id, flags, length, payload, label) of one frame."""


def frames_of(table: FrameTable) -> list[Frame]:
    """A frame table as a plain list."""
    return [
        (
            float(table.timestamp[i]),
            int(table.arbitration_id[i]),
            int(table.flags[i]),
            int(table.length[i]),
            b"" if table.flags[i] & REMOTE else table.payload[i, : table.length[i]].tobytes(),
            int(table.label[i]),
        )
        for i in range(len(table))
    ]


def table_of(frames: list[Frame], labelled: bool = True) -> FrameTable:
    """A plain list as a frame table."""
    wide = 64 if any(len(f[4]) > 8 for f in frames) else 8
    payload = np.zeros((len(frames), wide), np.uint8)
    for i, frame in enumerate(frames):
        payload[i, : len(frame[4])] = list(frame[4])
    label = np.array([f[5] for f in frames], np.uint8)
    return FrameTable(
        timestamp=np.array([f[0] for f in frames], np.float64),
        arbitration_id=np.array([f[1] for f in frames], np.uint32),
        flags=np.array([f[2] for f in frames], np.uint8),
        length=np.array([f[3] for f in frames], np.uint8),
        payload=payload,
        label=label,
        attack=np.where(label == 1, np.int16(0), np.int16(-1)),
        attack_names=("attack",) if label.any() else (),
        labelled=labelled,
        format="generated",
    )


@st.composite
def frames(draw: st.DrawFn, *, kinds: bool, labelled: bool = True) -> Frame:
    """One frame; with ``kinds``, also remote, error and CAN FD frames."""
    microseconds = draw(st.integers(0, 2_000_000_000_000_000))
    extended = draw(st.booleans())
    number = draw(st.integers(0x800, 0x1FFFFFFF) if extended else st.integers(0, 0x7FF))
    flags = EXTENDED if extended else 0
    payload = draw(st.binary(max_size=8))
    length = len(payload)
    kind = draw(st.sampled_from(["data"] * 3 + ["remote", "error", "fd"])) if kinds else "data"
    if kind == "remote":
        flags, payload = flags | REMOTE, b""
    elif kind == "error":
        flags = ERROR
    elif kind == "fd":
        length = draw(st.sampled_from(FD_LENGTHS))
        flags, payload = flags | FD, draw(st.binary(min_size=length, max_size=length))
    label = draw(st.integers(0, 1)) if labelled else 0
    return microseconds / 1e6, number, flags, length, payload, label


@st.composite
def damaged(draw: st.DrawFn, lines: st.SearchStrategy[str], alphabet: str) -> str:
    """A line with up to three characters put in, taken out or replaced."""
    line = draw(lines)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(line)))
        line = (
            line[:at]
            + draw(st.sampled_from(["", *alphabet]))
            + line[at + draw(st.integers(0, 1)) :]
        )
    return line


def write_text(path: Path, lines: list[str], end: str = "\n", last: bool = True) -> Path:
    """Lines as a file, byte for byte."""
    path.write_bytes((end.join(lines) + (end if last else "")).encode("utf-8", "surrogateescape"))
    return path
