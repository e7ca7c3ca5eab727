"""Vector ASC in its spellings: decimal, relative, remote, error and CAN FD lines."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import text
from core.captures.formats import asc
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE
from core.captures.readers import READERS, read_capture
from core.captures.rows import FD_LENGTHS
from tests.core.captures.capture_strategies import Frame, damaged, frames_of, write_text
from tests.core.captures.test_chunks import check, reading
from tests.core.captures.test_text_formats import (
    ALPHABET,
    assert_both_ways_agree,
    assert_same,
    read_noting,
    read_slowly,
)

HEX, DEC = "base hex  timestamps absolute", "base dec  timestamps absolute"
RELATIVE = "base hex  timestamps relative"
BYTES = "01 0A ff 7F 80 55 aa 00"
EVENTS = (
    "   0.000000 Start of measurement",
    "   1.015991 1  Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%",
    "   0.125991 CAN 2 Status:chip status error active",
    "   3.297743 1  J1939TP FEE3p        6    0  0   -   Rx   d 23 A0 0F",
    "  -0.500000 1  Statistic: D 0",
)
SPELLINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "decimal": (
        DEC,
        (
            "   3.098426 1  418119424x      Rx   d 8 1 160 15 166 96 59 209 64  Length = 273910",
            "   3.2 1  244 Tx d 2 000   07",
            "   3.3 2  2047 Rx d 0",
            "   3.4 1  536870911x Rx r 8 Length = 1",
            "   3.5 CANFD   1 Rx  768  Nm  1 0 9 12 1 2 3 4 5 6 7 8 9 10 11 255  102203 133",
            "   3.6 CANFD   1 Rx  768  1 0 15 64" + " 255" * 64,
        ),
    ),
    "relative": (
        RELATIVE,
        (
            "   0.100000 1  18EBFF00x       Rx   d 2 01 02",
            "   0.2 1  F4 Rx d 0",
            "   0.3 1  F4 Rx r",
            "   0.7 1  ErrorFrame",
            "   0.1 CANFD 1 Tx F4 1 0 1 1 0A",
        ),
    ),
    "decimal and relative": (
        "base dec timestamps relative",
        ("  0.1 1 100 Rx d 1 9", "  0.2 1 100x Rx d 2 10 11"),
    ),
    "fd": (
        HEX,
        (
            f"  30.005021 CANFD   1 Rx        300                    1 0 8  8 {BYTES}  102203 133",
            f"  30.005041 CANFD   2 Tx  1C4D80A7x  Name_12  0 1 f 64 {' '.join([BYTES] * 8)}",
            "  30.005051 CANFD   1 Rx 30A 0x 0 0 0 0",
            f"  30.005061 CANFD   1 Rx 30A 12 0 0 a 16 {BYTES} {BYTES}",
            "  30.300981 CANFD   3 Tx     50005x                    0 1 5 0 140000 73 200050",
            "  30.300991 CANFD   3 Tx     d                         0 1 5 0 140000 73 200050",
            "  30.4 CANFD 3 Tx 7FF N 0 0 F 0",
            "  30.5 CANFD 3 Tx d 0 0 8 8 01 02 03 04 05 06 07 08",
        ),
    ),
    "remote": (
        HEX,
        (
            "   2.510001 2 100 Tx r",
            "   2.520002 3 200 Tx r Length = 1704000 BitCount = 145 ID = 88888888x",
            "   2.584921 4 300 Rx r 8 Length = 1704000 BitCount = 145 ID = 88888888x",
            "   2.6 4 1FFFFFFFx Rx r 9",
        ),
    ),
    "error": (
        HEX,
        (
            "   2.501000 1 ErrorFrame",
            "   3.501000 1 ErrorFrame ECC: 10100010",
            "   3.501 1 Rx ErrorFrame",
            "   4.5 2 ErrorFrame Flags = 0xe CodeExt = 0x20a2 Code = 0x82 ID = 0 DLC = 0",
            "  30.806898 CANFD   5 Tx ErrorFrame Not Acknowledge error, dominant error flag fffe",
            "  30.9 CANFD 5 ErrorFrame",
            "  31.9 1 ErrorFrame Rx d 1 01",
        ),
    ),
    "usual": (
        HEX,
        ("   3.098426 1  18EBFF00x  Rx   d 2 01 02  Length = 9", "   3.2 2  F4\tTx d 0"),
    ),
}
MIXED = tuple(line for header, lines in SPELLINGS.values() if "dec" not in header for line in lines)
SPELLINGS["mixed"] = (HEX, MIXED)
SPELLINGS["mixed and relative"] = (RELATIVE, MIXED)
ALL = pytest.mark.parametrize("name", list(SPELLINGS))


def read(tmp_path: Path, *lines: str) -> list[Frame]:
    """The frames of an ASC file of these lines."""
    return frames_of(READERS[asc.NAME].read(write_text(tmp_path / "x.asc", list(lines))))


@ALL
def test_each_spelling_is_read_in_columns(tmp_path: Path, name: str) -> None:
    header, lines = SPELLINGS[name]
    path = write_text(tmp_path / "x.asc", [header, *lines * 3])
    table, slow = read_noting(path, asc.NAME)
    assert slow == []
    assert len(table) == 3 * len(lines)
    assert table.skipped.counts == {}
    assert_same(table, read_slowly(path, asc.NAME))


@ALL
def test_one_odd_line_leaves_the_others_in_columns(tmp_path: Path, name: str) -> None:
    header, lines = SPELLINGS[name]
    odd = "   0.125 1  10  rx   D 0"
    path = write_text(tmp_path / "x.asc", [header, *lines, odd, *EVENTS, "rubbish", *lines])
    table, slow = read_noting(path, asc.NAME)
    assert slow == [odd]
    assert len(table) == 2 * len(lines) + 1
    assert table.skipped.counts == {"not an ASC line": 1}
    assert_same(table, read_slowly(path, asc.NAME))


@ALL
@given(data=st.data())
def test_damaged_lines_read_the_same_in_columns_and_one_by_one(
    scratch: Path, name: str, data: st.DataObject
) -> None:
    header, lines = SPELLINGS[name]
    usual = st.sampled_from(lines)
    line = st.one_of(
        usual,
        usual,
        damaged(usual, ALPHABET),
        st.sampled_from(EVENTS),
        damaged(st.sampled_from([*EVENTS, *MIXED, HEX, DEC, RELATIVE]), ALPHABET),
    )
    found = data.draw(st.lists(line, min_size=1, max_size=15))
    path = write_text(scratch / "both.asc", [header, *found])
    with reading(data.draw(st.sampled_from([97, 300, 5000])), 100):
        assert_both_ways_agree(path, asc.NAME)


@ALL
@given(data=st.data())
def test_chunks_of_any_size_are_the_whole(scratch: Path, name: str, data: st.DataObject) -> None:
    header, lines = SPELLINGS[name]
    line = st.sampled_from([*lines, *lines, *EVENTS, *SPELLINGS["usual"][1]])
    found = data.draw(st.lists(line, min_size=1, max_size=25))
    path = write_text(scratch / "chunks.asc", [header, *found])
    check(path, asc.NAME, data.draw(st.integers(97, 900)), data.draw(st.integers(1, 8)))


@st.composite
def written(draw: st.DrawFn, base: int) -> tuple[str, Frame]:
    """A line as the grammar has it, and its frame; the time is a step in microseconds."""
    step, extended = draw(st.integers(0, 10**9)), draw(st.booleans())
    number = draw(st.integers(0, 0x1FFFFFFF if extended else 0x7FF))
    flags, mark = (EXTENDED, "x") if extended else (0, "")
    kind = draw(st.sampled_from(["data", "remote", "error", "fd", "fd remote"]))
    way, bus = draw(st.sampled_from(["Rx", "Tx"])), draw(st.integers(1, 3))
    digits, byte = ("{:X}", "{:02X}") if base == 16 else ("{:d}", "{:d}")
    name = draw(st.sampled_from(["", "Name", "01", "1a"]))
    behind = draw(st.sampled_from(["", "  Length = 1 ID = 88x", "  1000 8 a"]))
    time, identifier = f"{step / 1e6: 9.6f}", digits.format(number) + mark
    code = draw(st.integers(0 if kind == "fd" else 1, 15 if kind.startswith("fd") else 8))
    length = FD_LENGTHS[code]
    payload = draw(st.binary(min_size=length, max_size=length))
    text = " ".join(byte.format(value) for value in payload)
    if kind == "error":
        return f"{time} {bus} ErrorFrame{behind}", (step, 0, ERROR, 0, b"", 0)
    if kind == "data":
        line = f"{time} {bus}  {identifier:<15} {way}   d {length} {text}{behind}"
        return line, (step, number, flags, length, payload, 0)
    if kind == "remote":
        line = f"{time} {bus}  {identifier:<15} {way}   r {length}{behind}"
        return line, (step, number, flags | REMOTE, length, b"", 0)
    dlc = f"{code:x}" if base == 16 else f"{code}"
    line = f"{time} CANFD {bus:>3} {way} {identifier:>8} {name:>32} 1 0 {dlc}"
    if kind == "fd remote":
        return f"{line} 0 {behind}", (step, number, flags | REMOTE, min(code, 8), b"", 0)
    return f"{line} {length:>2} {text}{behind}", (step, number, flags | FD, length, payload, 0)


@pytest.mark.parametrize("clock", ["absolute", "relative"])
@pytest.mark.parametrize("base", [16, 10])
@given(data=st.data())
def test_what_is_written_is_read(scratch: Path, clock: str, base: int, data: st.DataObject) -> None:
    found = data.draw(st.lists(written(base), min_size=1, max_size=12))
    head = f"base {'hex' if base == 16 else 'dec'}  timestamps {clock}"
    path = write_text(scratch / "written.asc", [head, *(line for line, _ in found)])
    table, slow = read_noting(path, asc.NAME)
    assert slow == []
    assert [frame[1:] for frame in frames_of(table)] == [frame[1:] for _, frame in found]
    times = np.array([frame[0] for _, frame in found])
    times = np.cumsum(times) if clock == "relative" else times
    np.testing.assert_allclose(table.timestamp, times / 1e6, rtol=1e-12)


def test_relative_times_are_summed_in_order_without_other_rounding(tmp_path: Path) -> None:
    """Every line adds to the clock, in floating point and from first to last: events and damaged
    frames too, lines without a time not."""
    rng = np.random.default_rng(0)
    steps = rng.integers(0, 10**7, 5000) / 1e6
    spelling = ["1 F4 Rx d 1 0A", "1 Statistic: D 0", "1 F4 Rx d 1 0G", "1 ErrorFrame"]
    kinds = rng.integers(0, 4, len(steps))
    lines = [f" {step:.6f} {spelling[kind]}" for step, kind in zip(steps, kinds, strict=True)]
    lines[100:100] = ["rubbish", "// a remark", "  ", "1" * 400 + ".5 1 F4 Rx d 1 0A"]
    path = write_text(tmp_path / "x.asc", [RELATIVE, *lines])
    clock, expected = 0.0, []
    for step, kind in zip(steps.tolist(), kinds, strict=True):
        clock += step
        expected += [clock] if kind in (0, 3) else []
    with reading(3000, 100):
        table, slow = read_noting(path, asc.NAME)
    assert slow == []
    assert table.timestamp.tolist() == expected
    assert table.skipped.counts == {
        "payload is not made of bytes": np.count_nonzero(kinds == 2),
        "not an ASC line": 1,
        "timestamp is not finite": 1,
    }


def test_a_clock_beyond_all_numbers_is_set_aside(tmp_path: Path) -> None:
    far = "9" * 308 + ".0"
    frames = ["0.5 1 F4 Rx d 0", f"{far} 1 F4 Rx d 0", f"{far} 1 F4 Rx d 0", "0.5 1 F4 Rx d 0"]
    table = read_capture(write_text(tmp_path / "x.asc", [RELATIVE, *frames]))
    assert table.timestamp.tolist() == [0.5, 1e308, 1e308]
    assert table.skipped.counts == {"timestamp is not finite": 1}


def test_a_header_in_the_midst_holds_from_there(tmp_path: Path) -> None:
    frames = read(
        tmp_path,
        HEX,
        "  0.5 1 10 Rx d 1 10",
        DEC,
        "  0.5 1 10 Rx d 1 10",
        RELATIVE,
        "  0.5 1 10 Rx d 1 10",
        "  0.5 1 10 Rx d 1 10",
    )
    assert [(frame[0], frame[1], frame[4]) for frame in frames] == [
        (0.5, 16, b"\x10"),
        (0.5, 10, b"\x0a"),
        (0.5, 16, b"\x10"),
        (1.0, 16, b"\x10"),
    ]


def test_a_header_of_many_characters_is_set_aside_and_not_heeded(tmp_path: Path) -> None:
    long = DEC + " " * text.MAX_LINE + "."
    frames = read(tmp_path, long, "  0.5 1 10 Rx d 1 10")
    assert frames == [(0.5, 16, 0, 1, b"\x10", 0)]


def test_white_space_that_only_python_sees_parts_words_in_both_ways(tmp_path: Path) -> None:
    lines = [
        "  1.5 CANFD 1 Rx F4 Na\u00a0me 1 0 1 1 0A",
        "\u00a0 1.5 1 F4 Rx d 1 0A",
        "\u00a0" + DEC,
    ]
    path = write_text(tmp_path / "x.asc", [HEX, *lines, "  1.5 1 10 Rx d 1 10"])
    table = READERS[asc.NAME].read(path)
    assert_same(table, read_slowly(path, asc.NAME))
    assert [frame[1] for frame in frames_of(table)] == [0xF4, 10]


def test_an_id_of_more_digits_than_any_is_not_cut_off(tmp_path: Path) -> None:
    lines = [
        "  1.5 1 0000000000016 Rx d 0",
        "  1.5 1 00000016 Rx d 0",
        "  1.5 1 16 Rx d 0000000000001 1",
    ]
    table = READERS[asc.NAME].read(write_text(tmp_path / "x.asc", [DEC, *lines]))
    assert [frame[1] for frame in frames_of(table)] == [16]
    assert table.skipped.counts == {"id is not a number": 1, "DLC is not a number": 1}
