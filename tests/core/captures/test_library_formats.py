"""ASC, BLF, TRC and MF4: files that python-can writes, and what python-can reads of them."""

import struct
import zlib
from pathlib import Path

import can
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.captures.formats import asc, blf, mf4, trc
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError
from tests.core.captures.capture_strategies import Frame, frames, frames_of


def message(frame: Frame, channel: int = 0) -> can.Message:
    """A frame as python-can has it."""
    timestamp, number, flags, length, payload, _ = frame
    return can.Message(
        timestamp=timestamp,
        arbitration_id=number,
        is_extended_id=bool(flags & EXTENDED),
        is_remote_frame=bool(flags & REMOTE),
        is_error_frame=bool(flags & ERROR),
        is_fd=bool(flags & FD),
        dlc=length,
        data=payload,
        channel=channel,
    )


def write(path: Path, writer: type, table: list[Frame]) -> Path:
    """Frames as a file that python-can writes."""
    with writer(path) as out:
        for frame in table:
            out.on_message_received(message(frame))
    return path


def comparable(table: list[Frame], start: float, *, error_ids: bool) -> list[Frame]:
    """Frames by the times since the first and without what formats do not keep."""
    return [
        (
            round(f[0] - start, 3),
            0 if f[2] & ERROR and not error_ids else f[1],
            f[2],
            0 if f[2] & ERROR else f[3],
            b"" if f[2] & ERROR else f[4],
            0,
        )
        for f in table
    ]


def sorted_frames(kinds: bool) -> st.SearchStrategy[list[Frame]]:
    """Frames in the order of time from a second on, on millisecond ticks."""
    steps = st.lists(st.tuples(frames(kinds=kinds), st.integers(1, 500)), min_size=1, max_size=8)

    def place(parts: list[tuple[Frame, int]]) -> list[Frame]:
        now, out = 1_600_000_000_000, []
        for frame, gap in parts:
            now += gap
            out.append((now / 1000, *frame[1:5], 0))
        return out

    return steps.map(place)


@settings(max_examples=40)
@given(table=sorted_frames(kinds=True))
def test_asc_reads_what_python_can_writes(scratch: Path, table: list[Frame]) -> None:
    # CAN FD frames without data look like remote ones, in this writer's form.
    table = [f for f in table if not (f[2] & FD and not f[3])] or [(1.6e9, 1, 0, 0, b"", 0)]
    read = READERS[asc.NAME].read(write(scratch / "x.asc", can.ASCWriter, table))
    got = frames_of(read)
    # The writer starts at the first frame's time.
    assert comparable(got, got[0][0], error_ids=False) == comparable(
        table, table[0][0], error_ids=False
    )
    assert read.skipped.counts == {}


@settings(max_examples=40)
@given(table=sorted_frames(kinds=True))
def test_blf_reads_what_python_can_writes(scratch: Path, table: list[Frame]) -> None:
    read = blf.read(write(scratch / "x.blf", can.BLFWriter, table))
    got = frames_of(read)
    assert comparable(got, 1.6e9, error_ids=True) == comparable(table, 1.6e9, error_ids=True)
    assert read.skipped.counts == {}
    assert read.time == "absolute"


@settings(max_examples=40)
@given(table=sorted_frames(kinds=False))
def test_trc_reads_what_python_can_writes(scratch: Path, table: list[Frame]) -> None:
    path = write(scratch / "x.trc", can.TRCWriter, table)
    got = frames_of(READERS[trc.NAME].read(path))
    expected = [
        (m.timestamp, m.arbitration_id, int(m.is_extended_id), m.dlc, bytes(m.data), 0)
        for m in can.TRCReader(path)
    ]
    assert comparable(got, 1.6e9, error_ids=False) == comparable(expected, 1.6e9, error_ids=False)
    assert len(got) == len(table)


def test_mf4_reads_what_python_can_writes(tmp_path: Path) -> None:
    table: list[Frame] = [
        (1.6e9, 0x123, 0, 2, b"\x01\x02", 0),
        (1.6e9 + 0.5, 0x18FEF100, EXTENDED, 8, bytes(range(8)), 0),
        (1.6e9 + 1.0, 0x124, REMOTE, 4, b"", 0),
        (1.6e9 + 1.5, 0x125, FD, 12, bytes(range(12)), 0),
    ]
    read = read_capture(write(tmp_path / "x.mf4", can.MF4Writer, table))
    got = frames_of(read)
    assert [f[1:] for f in got] == [f[1:] for f in table]
    assert [f[0] - got[0][0] for f in got] == pytest.approx([0, 0.5, 1, 1.5], abs=1e-6)


@pytest.mark.real_data
def test_asc_agrees_with_python_can_on_a_real_file(real_data: Path) -> None:
    path = next((real_data / "formats" / "vector_asc").glob("*.asc"))
    expected = [
        (m.timestamp, m.arbitration_id, int(m.is_extended_id), m.dlc, bytes(m.data), 0)
        for m in can.ASCReader(path)
    ]
    assert frames_of(READERS[asc.NAME].read(path)) == expected


def blf_file(path: Path, container: bytes) -> Path:
    """A BLF file with one compressed container."""
    head = path.with_suffix(".head")
    write(head, can.BLFWriter, [(1.6e9, 1, 0, 0, b"", 0)])
    packed = struct.pack("<H6xL4x", 2, len(container)) + zlib.compress(container)
    block = struct.pack("<4sHHLL", b"LOBJ", 16, 1, 16 + len(packed), 10) + packed
    path.write_bytes(head.read_bytes()[:144] + block + b"\0" * (len(block) % 4))
    return path


def test_blf_objects_without_a_size_do_not_hang(tmp_path: Path) -> None:
    empty = struct.pack("<4sHHLL", b"LOBJ", 32, 1, 0, 1) + b"\0" * 64
    with pytest.raises(CaptureError, match="smaller than its header"):
        blf.read(blf_file(tmp_path / "x.blf", empty))


def test_blf_objects_that_are_not_read_are_told(tmp_path: Path) -> None:
    error = struct.pack("<4sHHLL", b"LOBJ", 32, 1, 48, 2) + b"\0" * 32
    frame = struct.pack("<4sHHLL", b"LOBJ", 32, 1, 48, 1) + struct.pack("<LHHQ", 1, 0, 0, 100000)
    frame += struct.pack("<HBBL8s", 1, 0, 2, 0x123, b"\x01\x02")
    read = blf.read(blf_file(tmp_path / "x.blf", error + frame))
    assert [f[1:] for f in frames_of(read)] == [(0x123, 0, 2, b"\x01\x02", 0)]
    assert "1 objects are no frames that can be read: type 2 (1)" in read.warnings


@pytest.mark.parametrize("keep", [8, 100, 144, 200])
def test_cut_off_files_are_refused(tmp_path: Path, keep: int) -> None:
    table: list[Frame] = [(1.6e9, 0x123, 0, 2, b"\x01\x02", 0)]
    for writer, module in ((can.BLFWriter, blf), (can.MF4Writer, mf4)):
        path = write(
            tmp_path / f"x{module.NAME}.{'mf4' if module is mf4 else 'blf'}", writer, table
        )
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(CaptureError):
            module.read(path)
