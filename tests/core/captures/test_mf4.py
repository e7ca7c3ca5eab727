"""MF4 beyond what python-can writes: order, pieces, single bits, sizes, a library that fails."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import can
import numpy as np
import pytest
from asammdf import MDF, Signal, Source
from asammdf.blocks import v4_constants as v4c
from can.io.mf4 import RTR_DTYPE, STD_DTYPE
from hypothesis import given
from hypothesis import strategies as st

from core.captures.formats import mf4, mf4_process
from core.captures.formats import pieces as pieces_module
from core.captures.frame_table import EXTENDED, FD, REMOTE
from core.captures.rows import Buses, Columns, Quarantine, concatenate
from core.errors import CaptureError

START = datetime(2020, 9, 13, tzinfo=UTC)


def records(kind: np.dtype, frames: int, **parts: Any) -> np.ndarray:
    """Frames as they lie in a file; ``DataLength`` and DLC are 2 where not told."""
    name = kind.names[0].split(".")[0]
    out = np.zeros(frames, kind)
    for part, values in {"DLC": 2, "DataLength": 2, **parts}.items():
        if f"{name}.{part}" in kind.names:
            out[f"{name}.{part}"] = values
    return out


def write(
    path: Path, *groups: tuple[np.ndarray, np.ndarray], compression: int = 0, bits: Any = ()
) -> Path:
    """A file of groups (records, times); ``bits`` as (part, offset, count) changes where one is."""
    with MDF(version="4.10") as mdf:
        mdf.header.start_time = START
        for frames, times in groups:
            name = frames.dtype.names[0].split(".")[0]
            source = Source("CAN", "CAN", "", v4c.SOURCE_BUS, v4c.BUS_TYPE_CAN)
            mdf.append(Signal(frames, np.asarray(times, float), name=name, source=source))
        for part, offset, count in bits:
            for channel in mdf.groups[0].channels:
                if channel.name.endswith(f".{part}"):
                    channel.bit_offset, channel.bit_count = offset, count
        mdf.save(path, compression=compression, overwrite=True)
    return path


def test_groups_are_joined_in_the_order_of_time(tmp_path: Path) -> None:
    data = records(STD_DTYPE, 4, ID=[1, 2, 3, 4], BusChannel=1)
    remote = records(RTR_DTYPE, 3, ID=[0x800, 6, 7], BusChannel=2)
    path = write(tmp_path / "x.mf4", (data, [0, 2, 4, 6]), (remote, [1, 2, 7]))
    read = mf4.read(path)
    assert read.arbitration_id.tolist() == [1, 0x800, 2, 6, 3, 4, 7]
    assert (read.timestamp - START.timestamp()).tolist() == [0, 1, 2, 2, 4, 6, 7]
    assert read.flags.tolist() == [0, REMOTE | EXTENDED, 0, REMOTE, 0, 0, REMOTE]
    assert "mixed buses in one file: 1, 2" in read.warnings[0]


def test_a_clock_that_goes_back_is_told_and_keeps_the_order(tmp_path: Path) -> None:
    data = records(STD_DTYPE, 4, ID=[1, 2, 3, 4])
    read = mf4.read(write(tmp_path / "x.mf4", (data, [5, 6, 1, 2])))
    assert read.arbitration_id.tolist() == [1, 2, 3, 4]
    assert "timestamps go backwards 1 times" in read.warnings[0]


def test_parts_that_are_single_bits_are_read_as_such(tmp_path: Path) -> None:
    """EDL is the second bit of its byte, in which others lie too; ID has only 29 bits."""
    data = records(STD_DTYPE, 3, ID=[0xE0000001, 2, 3], EDL=[0b101, 0b010, 0b111])
    where = [("EDL", 1, 1), ("ID", 0, 29)]
    read = mf4.read(write(tmp_path / "x.mf4", (data, [1, 2, 3]), bits=where))
    assert read.arbitration_id.tolist() == [1, 2, 3]
    assert read.flags.tolist() == [0, FD, FD]


def test_frames_that_contradict_themselves_are_set_aside(tmp_path: Path) -> None:
    data = records(STD_DTYPE, 3, ID=[1, 0x3FFFFFFF, 3], DataLength=[2, 2, 65])
    read = mf4.read(write(tmp_path / "x.mf4", (data, [1, 2, 3])))
    assert read.arbitration_id.tolist() == [1]
    assert read.skipped.counts == {"frame contradicts itself": 2}
    assert [number for number, _, _ in read.skipped.examples] == [2, 3]


@pytest.mark.parametrize("compression", [0, 1, 2])
def test_parts_of_some_records_make_up_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: int
) -> None:
    rng = np.random.default_rng(0)
    groups = []
    for kind, frames in ((STD_DTYPE, 1000), (RTR_DTYPE, 300), (STD_DTYPE, 50)):
        times = np.sort(rng.integers(0, 500, frames)) / 8
        groups.append((records(kind, frames, ID=rng.integers(0, 2000, frames)), times))
    groups[0][0]["CAN_DataFrame.DataBytes"] = rng.integers(0, 256, (1000, 64))
    groups[0][0]["CAN_DataFrame.DataLength"][700] = 64
    path = write(tmp_path / "x.mf4", *groups, compression=compression)
    whole = mf4.read(path)
    monkeypatch.setattr(mf4_process, "RECORDS", 37)
    parts = list(mf4_process.read_parts(path, tmp_path, None, Buses(), Quarantine()))
    assert len(parts) > 20
    joined = concatenate(parts)
    for name in mf4_process.COLUMNS:
        np.testing.assert_array_equal(getattr(joined, name), getattr(whole, name))


def test_a_large_capture_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = mf4_process.RECORDS + 10
    small = np.dtype(
        [(n, "u1", (8,)) if "Bytes" in n else (n, STD_DTYPE[n]) for n in STD_DTYPE.names]
    )
    data = records(small, frames, ID=np.arange(frames) % 2000)
    path = write(tmp_path / "x.mf4", (data, np.arange(frames) / 4096))
    monkeypatch.setattr(pieces_module, "PIECE_FRAMES", mf4_process.RECORDS - 10)
    pieces = list(mf4.read_chunks(path))
    assert len(pieces) > 1
    whole = mf4.read(path)
    assert len(whole) == frames
    for name in mf4_process.COLUMNS:
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(whole, name))


def stream(times: list[int], number: int, size: int) -> Iterator[Columns]:
    """Frames numbered from ``number``, some at a time."""
    for at in range(0, len(times), size):
        part = Columns.empty(len(times[at : at + size]))
        part.timestamp = np.array(times[at : at + size], float)
        part.arbitration_id = np.arange(number + at, number + at + len(part.timestamp), dtype="u4")
        yield part


@given(
    st.lists(st.lists(st.integers(0, 20), max_size=30), max_size=4),
    st.integers(1, 8),
)
def test_streams_are_merged_as_if_they_were_sorted_at_once(
    streams: list[list[int]], size: int
) -> None:
    parts = [stream(times, 100 * i, size) for i, times in enumerate(streams)]
    merged = concatenate(list(mf4_process.merge(parts))).arbitration_id.tolist()
    ahead = [int(t) for times in streams for t in np.maximum.accumulate(times, dtype=int)]
    numbers = [100 * i + j for i, times in enumerate(streams) for j in range(len(times))]
    assert merged == [number for _, number in sorted(zip(ahead, numbers, strict=True))]


def test_a_file_that_unpacks_to_too_much_is_refused_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mf4, "unpacked_limit", lambda: 1 << 20)
    frames = 50_000
    data = (records(STD_DTYPE, frames, ID=1), np.arange(frames) / 4096)
    packed = write(tmp_path / "x.mf4", data, compression=2)
    with pytest.raises(CaptureError, match="unpacks to 4 MiB, more than 1"):
        mf4.read(packed)
    assert sum(len(piece) for piece in mf4.read_chunks(packed)) == frames
    assert len(mf4.read(write(tmp_path / "y.mf4", data))) == frames


def test_the_reading_process_is_limited_in_memory() -> None:
    code = """
from core.captures.formats import mf4_process
mf4_process.unpacked_limit = lambda: 100 << 20
mf4_process._limit_self(0)
bytearray(150 << 20)
try:
    bytearray(1 << 30)
except MemoryError:
    print("limited")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"limited\n"


def test_files_without_can_frames_are_refused(tmp_path: Path) -> None:
    with MDF(version="4.10") as mdf:
        mdf.append(Signal(np.arange(3), np.arange(3.0), name="speed"))
        mdf.save(tmp_path / "x.mf4")
    with pytest.raises(CaptureError, match="no CAN frames in it"):
        mf4.read(tmp_path / "x.mf4")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A small file."""
    with can.MF4Writer(tmp_path / "example.mf4") as writer:
        writer.on_message_received(can.Message(timestamp=1.6e9, arbitration_id=5, data=b"\1"))
    return tmp_path / "example.mf4"


def test_no_file_is_left_behind(
    tmp_path: Path, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    content = bytearray(example.read_bytes())
    content[60:62] = b"\1\0"  # Not finalized: asammdf works on a copy.
    damaged = tmp_path / "damaged.mf4"
    damaged.write_bytes(content[:500])
    assert len(mf4.read(example)) == 1
    with pytest.raises(CaptureError, match="damaged MDF file: "):
        mf4.read(damaged)
    next(mf4.read_chunks(example))
    assert list(temporary.iterdir()) == []


def test_a_library_that_crashes_costs_one_file(example: Path) -> None:
    assert mf4.read(example).arbitration_id.tolist() == [5]
    process = mf4._PROCESS._process
    assert process
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert mf4.read(example).arbitration_id.tolist() == [5]


def test_two_files_can_be_read_side_by_side(example: Path) -> None:
    first, second = mf4.read_chunks(example), mf4.read_chunks(example)
    assert [len(next(first)), len(next(second))] == [1, 1]
    assert next(first, None) is None


@pytest.mark.parametrize("answer", [b"", b'{"fra', b'{"frames": 9, "width": 8}\n' + bytes(99)])
def test_a_copy_that_dies_is_told(tmp_path: Path, answer: bytes) -> None:
    log = tmp_path / "log"
    reader = mf4._Reader(tmp_path / "x.mf4")
    for said, reason in (
        (None, "asammdf crashed, or found no end"),
        ("a\nNo memory\n\n", "No memory"),
    ):
        if said:
            log.write_text(said)
        with pytest.raises(CaptureError, match=f"x.mf4: damaged MDF file: {reason}"):
            list(reader._answered(BufferedReader(BytesIO(answer)), log))
