"""BLF beyond what python-can writes: every kind of object, damage, sizes, pieces."""

import struct
import zlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import can
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.captures.formats import blf
from core.captures.formats import pieces as pieces_module
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.errors import CaptureError
from tests.core.captures.capture_strategies import Frame, frames_of
from tests.core.captures.test_format_fuzz import damage as damaged
from tests.core.captures.test_format_fuzz import damages

HEAD = struct.pack("<4sL32x8H16x72x", b"LOGG", 144, 2020, 9, 0, 13, 12, 26, 40, 500)
START = 1_600_000_000.5


def blf_object(kind: int, body: bytes, time: int = 0, unit: int = 2, version: int = 1) -> bytes:
    """An object with the padding that belongs behind it."""
    rest = struct.pack("<LHHQ", unit, 0, 0, time) + bytes(8 if version == 2 else 0)
    size = 16 + len(rest) + len(body)
    head = struct.pack("<4sHHLL", b"LOBJ", 16 + len(rest), version, size, kind)
    return head + rest + body + bytes(size % 4)


def message(number: int = 0x123, data: bytes = b"\1\2", flags: int = 0, **header: int) -> bytes:
    """A CAN message object."""
    body = struct.pack("<HBBL8s", 1, flags, len(data), number, data)
    return blf_object(1, body, **header)


def container(content: bytes, method: int = 2) -> bytes:
    """An object that packs others."""
    packed = zlib.compress(content) if method == 2 else content
    body = struct.pack("<H6xL4x", method, len(content)) + packed
    size = 16 + len(body)
    return struct.pack("<4sHHLL", b"LOBJ", 16, 1, size, 10) + body + bytes(size % 4)


def write(path: Path, containers: Sequence[bytes], head: bytes = HEAD) -> Path:
    path.write_bytes(head + b"".join(containers))
    return path


def python_can_reads(path: Path) -> list[Frame]:
    """The frames as python-can has them, those left out that contradict themselves."""
    frames: list[Frame] = []
    with can.BLFReader(path) as reader:
        for m in reader:
            flags = (EXTENDED if m.is_extended_id else 0) | (REMOTE if m.is_remote_frame else 0)
            flags |= FD if m.is_fd and not m.is_remote_frame else 0
            data, length = bytes(m.data), m.dlc
            if m.is_error_frame:
                flags, data, length = ERROR, data[:8], min(length, 8)
            if len(data) <= length:
                frames.append((m.timestamp, m.arbitration_id, flags, length, data, 0))
    return frames


def without_padding(frames: Sequence[Frame]) -> list[Frame]:
    """Frames whose data end in no zeros: of some objects, not all data are there."""
    return [(*f[:4], f[4].rstrip(b"\0"), 0) for f in frames]


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """An object of one of the kinds that hold frames, or of another one."""
    u8, u16, u32 = (st.integers(0, (1 << bits) - 1) for bits in (8, 16, 32))
    header = {
        "time": draw(st.integers(0, 1 << 50)),
        "unit": draw(st.sampled_from([1, 2])),
        "version": draw(st.sampled_from([1, 1, 2])),
    }
    kind = draw(st.sampled_from([1, 73, 86, 100, 101, 2, 65]))
    channel, flags, number = draw(u16), draw(u8), draw(u32)
    data = draw(st.one_of(st.binary(max_size=64), st.just(b"LOBJ"), st.just(b"LOBJ" * 12)))
    if kind in (1, 86):
        body = struct.pack("<HBBL8s", channel, flags, draw(st.integers(0, 8)), number, data[:8])
    elif kind == 73:
        dlc = draw(st.integers(0, 15))
        body = struct.pack("<HHLBBBxLLH2x8s", channel, 0, 0, 0, 0, dlc, 0, number, 0, data[:8])
    elif kind == 100:
        dlc, fd = draw(st.integers(0, 20)), draw(u8)
        valid = draw(st.integers(0, 64))
        body = struct.pack("<HBBLLBBB5x64s", channel, flags, dlc, number, 0, 0, fd, valid, data)
    elif kind == 101:
        dlc, valid, fd = draw(st.integers(0, 20)), draw(st.integers(0, 64)), draw(u32)
        header_size = 40 if header["version"] == 2 else 32
        extra = draw(st.sampled_from([0, header_size + 40 + len(data) // 2]))
        rest = (0, fd, 0, 0, 0, 0, 0, 0, extra, 0)
        body = struct.pack("<BBBBLLLLLLLHBBL", channel & 255, dlc, valid, 0, number, *rest) + data
    else:
        body = data
    return blf_object(kind, body, **header)


@settings(max_examples=80)
@given(
    stream=st.lists(objects(), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 2000), max_size=6),
    method=st.sampled_from([0, 2]),
)
def test_objects_of_every_kind_are_read_as_python_can_reads_them(
    scratch: Path, stream: list[bytes], cuts: list[int], method: int
) -> None:
    content = message() + b"".join(stream)
    places = [0, *sorted(cuts), len(content)]
    parts = [content[i:j] for i, j in pairwise(places)]
    path = write(scratch / "kinds.blf", [container(part, method) for part in parts])
    read = blf.read(path)
    expected = python_can_reads(path)
    assert [f[1:] for f in without_padding(frames_of(read))] == [
        f[1:] for f in without_padding(expected)
    ]
    assert read.timestamp == pytest.approx([f[0] for f in expected], rel=0, abs=3e-7)
    others = sum(int.from_bytes(o[12:16], "little") in (2, 65) for o in stream)
    assert (f"{others} objects are no frames" in " ".join(read.warnings)) == bool(others)


def test_times_start_at_the_files_start_in_both_units(tmp_path: Path) -> None:
    content = message(time=123_456_789, unit=1) + message(time=1_234_567_890_123, unit=2)
    read = blf.read(write(tmp_path / "x.blf", [container(content)]))
    assert read.timestamp.tolist() == [START + 1234.56789, START + 1234.567890123]
    assert read.time == "absolute"


def test_a_start_that_is_no_date_means_relative_times(tmp_path: Path) -> None:
    head = bytearray(HEAD)
    head[40:56] = bytes(16)
    read = blf.read(write(tmp_path / "x.blf", [container(message(time=5 * 10**9))], bytes(head)))
    assert read.timestamp.tolist() == [5.0]
    assert read.time == "relative"


def test_data_that_look_like_objects_are_data(tmp_path: Path) -> None:
    data = [b"LOBJ\x10\0\0\0", b"LOBJ\xff\xff\xff\xff", b"\0\0LOBJ\0\0"]
    content = b"".join(message(data=d) for d in data * 100)
    read = blf.read(write(tmp_path / "x.blf", [container(content)]))
    assert [f[4] for f in frames_of(read)] == data * 100
    assert read.skipped.counts == {}


def test_a_break_in_the_chain_costs_only_what_is_broken(tmp_path: Path) -> None:
    small = bytearray(message(7))
    small[8:12] = (8).to_bytes(4, "little")
    large = bytearray(message(8))
    large[8:12] = (1 << 20).to_bytes(4, "little")
    lost = b"\xaa" * 100
    content = b"".join([message(1), small, message(2), lost, message(3), large, message(4)])
    read = blf.read(write(tmp_path / "x.blf", [container(content)]))
    assert read.arbitration_id.tolist() == [1, 2, 3, 4]
    assert read.skipped.counts["object is smaller than its header, or too large"] == 2
    assert read.skipped.counts["no object where one should be"] == 3


def damage(packed: bytes) -> bytes:
    """A container whose packed bytes are wrong."""
    return packed[:40] + b"\xff" * 8 + packed[48:]


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (damage(container(message(2) * 50)), "container is damaged or cut off"),
        (container(message(2), method=7), "container is damaged or cut off"),
        (b"\xaa" * 1000, "no container where one should be"),
        (struct.pack("<4sHHLL", b"LOBJ", 16, 1, 1 << 30, 10), "no container where one should be"),
    ],
    ids=["packed wrongly", "packing unknown", "no container", "too large"],
)
def test_a_damaged_container_costs_only_itself(tmp_path: Path, middle: bytes, reason: str) -> None:
    whole = message(1) + message(3)
    # The second message begins in the container before the damaged one.
    parts = [container(whole[:70]), middle, container(message(4) + message(5))]
    read = blf.read(write(tmp_path / "x.blf", parts))
    assert read.arbitration_id.tolist() == [1, 4, 5]
    assert read.skipped.counts[reason] == 1


def test_of_a_cut_off_file_the_whole_frames_are_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = b"".join(message(i, rng.bytes(8), time=i) for i in range(1, 1000))
    path = write(tmp_path / "x.blf", [container(content)])
    path.write_bytes(path.read_bytes()[:-5000])
    read = blf.read(path)
    assert 300 < len(read) < 999
    assert read.arbitration_id.tolist() == list(range(1, len(read) + 1))
    assert read.skipped.counts == {"container is damaged or cut off": 1}


def test_an_object_cut_off_at_the_end_is_told(tmp_path: Path) -> None:
    content = message(1) + message(2)
    read = blf.read(write(tmp_path / "x.blf", [container(content[:-20])]))
    assert read.arbitration_id.tolist() == [1]
    assert read.skipped.counts == {"file ends within an object": 1}


def test_a_frame_too_short_for_its_kind_is_set_aside(tmp_path: Path) -> None:
    content = blf_object(1, bytes(12)) + message(5) + blf_object(100, bytes(10))
    read = blf.read(write(tmp_path / "x.blf", [container(content)]))
    assert read.arbitration_id.tolist() == [5]
    assert read.skipped.counts == {"frame contradicts itself": 2}
    assert [line for line, _, _ in read.skipped.examples] == [1, 3]


def test_a_header_of_an_unknown_version_is_told(tmp_path: Path) -> None:
    content = message(1) + message(2, version=3) + message(3)
    read = blf.read(write(tmp_path / "x.blf", [container(content)]))
    assert read.arbitration_id.tolist() == [1, 3]
    assert read.skipped.counts == {}
    assert "header of an unknown version (1)" in read.warnings[0]


def test_a_container_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blf, "CONTAINER_BYTES", 1 << 20)
    path = write(tmp_path / "x.blf", [container(message()), container(bytes(2 << 20))])
    assert path.stat().st_size < 5000
    for work in (lambda: blf.read(path), lambda: list(blf.read_chunks(path))):
        with pytest.raises(CaptureError, match=r"at byte \d+ unpacks to more than 1 MiB"):
            work()


def test_a_file_that_unpacks_to_too_much_is_read_in_pieces_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blf, "unpacked_limit", lambda: 1 << 20)
    monkeypatch.setattr(pieces_module, "PIECE_FRAMES", 12_000)
    path = write(tmp_path / "x.blf", [container(message() * 12_000)] * 4)
    with pytest.raises(CaptureError, match="unpacks to more than 1 MiB"):
        blf.read(path)
    assert [len(piece) for piece in blf.read_chunks(path)] == [12_000] * 4


def same(pieces: list[FrameTable], whole: FrameTable) -> None:
    """Whether the pieces, one behind the other, are the whole, and the last tells as much."""
    width = whole.payload.shape[1]
    for name in ("timestamp", "arbitration_id", "flags", "length", "label", "attack"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    padded = [np.pad(p.payload, ((0, 0), (0, width - p.payload.shape[1]))) for p in pieces]
    np.testing.assert_array_equal(np.concatenate(padded), whole.payload)
    last = pieces[-1]
    assert (last.skipped, last.warnings, last.time) == (whole.skipped, whole.warnings, whole.time)


@pytest.mark.parametrize("fd_at", [3, 950, None])
def test_pieces_make_up_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fd_at: int | None
) -> None:
    monkeypatch.setattr(pieces_module, "PIECE_FRAMES", 100)
    monkeypatch.setattr(blf, "BLOCK_BYTES", 2000)
    content = [message(i, bytes([i % 256]), time=i) for i in range(1, 1000)]
    if fd_at is not None:
        body = struct.pack("<HBBLLBBB5x64s", 2, 0, 15, 9, 0, 0, 1, 64, bytes(range(64)))
        content[fd_at] = blf_object(100, body, time=fd_at)
    content[500] = blf_object(1, b"")
    stream = b"".join(content)
    parts = [stream[at : at + 777] for at in range(0, len(stream), 777)]
    path = write(tmp_path / "x.blf", [container(part) for part in parts])
    pieces, whole = list(blf.read_chunks(path)), blf.read(path)
    assert len(pieces) > 5
    assert len(whole) == 998
    same(pieces, whole)


def test_pieces_of_nothing_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.blf", [container(blf_object(65, b"text"))])
    with pytest.raises(CaptureError, match="no frames in it"):
        list(blf.read_chunks(path))


@settings(max_examples=60)
@given(todo=damages())
def test_a_damaged_file_is_the_same_in_pieces(
    scratch: Path, todo: list[tuple[str, int, int]]
) -> None:
    path = scratch / "damaged.blf"
    rng = np.random.default_rng(0)
    content = b"".join(message(i, rng.bytes(i % 9), time=i) for i in range(300))
    write(path, [container(content[at : at + 777], 0) for at in range(0, len(content), 777)])
    path.write_bytes(HEAD + damaged(path.read_bytes()[len(HEAD) :], todo))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blf, "BLOCK_BYTES", 2000)
        patch.setattr(pieces_module, "PIECE_FRAMES", 20)
        try:
            whole = blf.read(path)
        except CaptureError:
            with pytest.raises(CaptureError):
                list(blf.read_chunks(path))
        else:
            same(list(blf.read_chunks(path)), whole)
