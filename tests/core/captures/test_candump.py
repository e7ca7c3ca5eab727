"""Candump logs: the grammar by hand, and the vectorised reader against a plain one."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.captures import text
from core.captures.formats import candump
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE
from core.captures.readers import READERS
from core.captures.rows import BadLine, Buses
from core.errors import CaptureError
from tests.core.captures.capture_strategies import (
    Frame,
    damaged,
    frames,
    frames_of,
    table_of,
    write_text,
)

read = READERS[candump.NAME].read
HEX = "0123456789abcdefABCDEF"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "(1436509053.850870) vcan0 0C9#8021C0071B101000",
            (1436509053.85087, 0xC9, 0, 8, bytes.fromhex("8021C0071B101000"), 0),
        ),
        ("(0.000177) can0 110#02202e13 ", (0.000177, 0x110, 0, 4, b"\x02\x20\x2e\x13", 0)),
        ("(1.5) can0 18FEF100#FF", (1.5, 0x18FEF100, EXTENDED, 1, b"\xff", 0)),
        ("(1.5) can0 00000123#", (1.5, 0x123, EXTENDED, 0, b"", 0)),
        ("(1.5) can0 123#R", (1.5, 0x123, REMOTE, 0, b"", 0)),
        ("(1.5) can0 12345678#R8", (1.5, 0x12345678, EXTENDED | REMOTE, 8, b"", 0)),
        ("(1.5) can0 123##1112233", (1.5, 0x123, FD, 3, b"\x11\x22\x33", 0)),
        ("(1.5) can0 123##0", (1.5, 0x123, FD, 0, b"", 0)),
        (
            "(1.5) can0 12345678##F" + "AB" * 64,
            (1.5, 0x12345678, EXTENDED | FD, 64, b"\xab" * 64, 0),
        ),
        ("(1.5) can0 20000004#0004", (1.5, 4, ERROR, 2, b"\x00\x04", 0)),
        ("(12.091016) can0 410#a02c 1\tFalse", (12.091016, 0x410, 0, 2, b"\xa0\x2c", 1)),
        ("(12.091016) can0 410#a02c       1\tFalse", (12.091016, 0x410, 0, 2, b"\xa0\x2c", 1)),
        ("(12.091016) can0 410#a02c False\t1", (12.091016, 0x410, 0, 2, b"\xa0\x2c", 0)),
        ("(1.5) can0 123##1AB 1\tFalse", (1.5, 0x123, FD, 1, b"\xab", 1)),
        ("(1.5) can0 123#11.22.33", (1.5, 0x123, 0, 3, b"\x11\x22\x33", 0)),
        ("(1.5) can0 123#1122334455667788_F", (1.5, 0x123, 0, 8, bytes(range(17, 137, 17)), 0)),
        ("(1.5) can0 123#11 R", (1.5, 0x123, 0, 1, b"\x11", 0)),
        ("  (1.5)  can0.1  123#11", (1.5, 0x123, 0, 1, b"\x11", 0)),
        ("(5) can0 123#11", (5.0, 0x123, 0, 1, b"\x11", 0)),
        ("(-1.25) can0 123#11", (-1.25, 0x123, 0, 1, b"\x11", 0)),
        ("(1513920167.16196412345) can0 123#11", (1513920167.16196412345, 0x123, 0, 1, b"\x11", 0)),
    ],
)
def test_a_line_is_read_as_the_grammar_says(tmp_path: Path, line: str, expected: Frame) -> None:
    table = read(write_text(tmp_path / "x.log", [line]))
    assert frames_of(table) == [expected]
    assert not table.payload[0, expected[3] :].any()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("(1.5) can0 0C9#80 21", "text behind the frame is not understood"),
        ("(1.5) can0 0C9#80 1", "text behind the frame is not understood"),
        ("(1.5) can0 0C9#80 1\tFalsy", "text behind the frame is not understood"),
        ("(1.5) can0 0C9#8", "payload has an odd number of digits"),
        ("(1.5) can0 0C9#80G0", "payload is not hexadecimal"),
        ("(1.5) can0 0C9#80#80", "payload is not hexadecimal"),
        ("(1.5) can0 0C9#80#", "payload is not hexadecimal"),
        ("(1.5) can0 0C9#80#180", "payload is not hexadecimal"),
        ("(1.5) can0 0C9#80# 1\tFalse", "payload is not hexadecimal"),
        ("(1.5) can0 0C9#80 x 1\tFalse", "text behind the frame is not understood"),
        ("(1.5) can0 0C9#" + "1" * 18, "payload is longer than 8 bytes"),
        ("(1.5) can0 0C9##1" + "1" * 130, "payload is longer than 64 bytes"),
        ("(1.5) can0 0C9##", "FD flags are not hexadecimal"),
        ("(1.5) can0 0C9##X11", "FD flags are not hexadecimal"),
        ("(1.5) can0 0C9#R9", "remote length is not 0 to 8"),
        ("(1.5) can0 C9#80", "id is not 3 or 8 hexadecimal digits"),
        ("(1.5) can0 0C9A#80", "id is not 3 or 8 hexadecimal digits"),
        ("(1.5) can0 0x1#80", "id is not 3 or 8 hexadecimal digits"),
        ("(1.5) can0 800#80", "standard id is beyond 11 bits"),
        ("(1.5) can0 40000000#80", "id is beyond 29 bits"),
        ("(nan) can0 0C9#80", "timestamp is not a number"),
        ("(1_0.5) can0 0C9#80", "timestamp is not a number"),
        ("(1e999) can0 0C9#80", "timestamp is not finite"),
        ("() can0 0C9#80", "timestamp is missing"),
        ("1.5 can0 0C9#80", "not a candump line"),
        ("(1.5) c\ran0 0C9#80", "not a candump line"),
        ("(1.5) c\u00a0an0 0C9#80", "not a candump line"),
        ("interface = can0, family = 29", "not a candump line"),
    ],
)
def test_a_bad_line_is_set_aside_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    good = "(1.0) can0 123#11"
    table = read(write_text(tmp_path / "x.log", [good, "", line, good]))
    assert len(table) == 2
    assert table.skipped.counts == {reason: 1}
    assert table.skipped.examples == ((3, reason, line[:120]),)
    assert any("1 of 3 lines skipped" in warning for warning in table.warnings)


def test_labels_come_from_the_first_flag_only(tmp_path: Path) -> None:
    lines = [
        "(0.1) can0 110#00 False\tFalse",
        "(0.2) can0 110#00 False\t1",
        "(0.3) can0 110#00 1\t1",
    ]
    table = read(write_text(tmp_path / "x.log", lines))
    assert table.labelled
    assert table.label.tolist() == [0, 0, 1]
    assert table.attack.tolist() == [-1, -1, 0]
    assert table.attack_names == ("malicious",)


def test_frames_without_flags_among_flagged_ones_are_told(tmp_path: Path) -> None:
    lines = ["(0.1) can0 110#00 1\tFalse", "(0.2) can0 110#00"]
    table = read(write_text(tmp_path / "x.log", lines))
    assert table.label.tolist() == [1, 0]
    assert table.warnings == ("1 frames have no label and are taken as not attacked",)


def test_a_log_without_flags_is_unlabelled(tmp_path: Path) -> None:
    table = read(write_text(tmp_path / "x.log", ["(0.1) can0 110#00"]))
    assert not table.labelled
    assert table.attack_names == ()


def test_backward_times_are_kept_in_place_and_told(tmp_path: Path) -> None:
    lines = [f"({t}) can0 110#00" for t in (1.0, 3.0, 2.0, 4.0, 3.5)]
    table = read(write_text(tmp_path / "x.log", lines))
    assert table.timestamp.tolist() == [1.0, 3.0, 2.0, 4.0, 3.5]
    assert "timestamps go backwards 2 times, first at frame 2" in table.warnings[0]


@pytest.mark.parametrize(("first", "time"), [(0.5, "relative"), (1436509053.5, "absolute")])
def test_times_are_dates_or_count_from_a_start(tmp_path: Path, first: float, time: str) -> None:
    table = read(write_text(tmp_path / "x.log", [f"({first}) can0 110#00"]))
    assert table.time == time


@pytest.mark.parametrize(("end", "last"), [("\n", True), ("\n", False), ("\r\n", True)])
def test_line_ends_do_not_matter(tmp_path: Path, end: str, last: bool) -> None:
    lines = ["(1.25) can0 110#0011", "(2.25) can0 110#0011 ", "(3.25) can0 110#0011 1\tFalse"]
    table = read(write_text(tmp_path / "x.log", lines, end, last))
    assert table.timestamp.tolist() == [1.25, 2.25, 3.25]
    assert table.length.tolist() == [2, 2, 2]
    assert table.label.tolist() == [0, 0, 1]


@given(st.lists(frames(kinds=True), min_size=1, max_size=30), st.booleans())
def test_what_is_written_is_read_back(
    scratch: Path, generated: list[Frame], labelled: bool
) -> None:
    generated = [(*f[:5], f[5] * labelled) for f in generated]
    path = scratch / "round.log"
    candump.write(table_of(generated, labelled), path)
    table = read(path)
    assert frames_of(table) == generated
    assert table.labelled == labelled
    assert table.skipped.counts == {}


@st.composite
def plain_lines(draw: st.DrawFn) -> str:
    """Mostly well-formed lines of all kinds."""
    time = draw(st.sampled_from(["0.000001", "1436509053.850870", "12.5", "7", "-3.25", "9e-06"]))
    digits = draw(st.text(HEX, min_size=3, max_size=3) | st.text(HEX, min_size=8, max_size=8))
    data = draw(st.text(HEX, max_size=17) | st.sampled_from(["R", "R8", "#1", "#0" + "5A" * 20]))
    rest = draw(st.sampled_from(["", " ", "  ", " R", " False\tFalse", " 1\tFalse", "   0 True"]))
    return f"({time}) {draw(st.sampled_from(['can0', 'vcan1', 'can0.1']))} {digits}#{data}{rest}"


def is_finite_decimal(value: str) -> bool:
    """Whether Python reads it as a finite number, and it holds nothing that only Python accepts."""
    try:
        return math.isfinite(float(value)) and set(value) <= set("0123456789.+-eE")
    except ValueError:
        return False


def reference(line: str) -> Frame | None:
    """One line, by one strict regular expression per kind of frame; None if it is no frame."""
    match = re.match(r"^\s*\(([^()]*)\)\s+\S+\s+([^#\s]*)#(\S*)([^\n]*)$", line)
    if not match:
        return None
    time, digits, data, rest = match.groups()
    if not is_finite_decimal(time):
        return None
    if len(digits) not in (3, 8) or any(c not in HEX for c in digits):
        return None
    number, flags = int(digits, 16), EXTENDED * (len(digits) == 8)
    if len(digits) == 8 and number & 0x20000000:
        number, flags = number - 0x20000000, ERROR
    if number > (0x7FF if len(digits) == 3 else 0x1FFFFFFF):
        return None
    label = 0
    if rest.split() not in ([], ["R"], ["T"]):
        words = rest.split()
        if len(words) != 2 or any(w not in ("True", "False", "1", "0") for w in words):
            return None
        label = int(words[0] in ("True", "1"))
    if re.match(r"^[Rr][0-8]?$", data):
        return float(time), number, flags | REMOTE, int(data[1:] or 0), b"", label
    limit = 16
    if data.startswith("#"):
        if data[1:2] not in tuple(HEX):
            return None
        data, limit, flags = data[2:], 128, flags | FD
    else:
        data = re.sub(r"_[9A-Fa-f]$", "", data)
    data = data.replace(".", "")
    if len(data) > limit or len(data) % 2 or any(c not in HEX for c in data):
        return None
    return float(time), number, flags, len(data) // 2, bytes.fromhex(data), label


DAMAGE = "()#. \t0aFgR_-+e\r\x00é\ufeff"


@given(st.lists(damaged(plain_lines(), DAMAGE), min_size=1, max_size=25))
def test_damaged_logs_are_read_as_a_plain_parser_reads_them(
    scratch: Path, lines: list[str]
) -> None:
    path = write_text(scratch / "damaged.log", lines)
    # The damage may have put a carriage return at a line's end, where it belongs to the line end.
    lines = [line.removeprefix("\ufeff").removesuffix("\r") for line in lines]
    expected = [reference(line) for line in lines if line.strip()]
    if not any(expected):
        with pytest.raises(CaptureError):
            read(path)
        return
    table = read(path)
    assert frames_of(table) == [frame for frame in expected if frame]
    assert sum(table.skipped.counts.values()) == expected.count(None)


@given(st.lists(damaged(plain_lines(), DAMAGE), min_size=1, max_size=25))
@example(["(12.5) c\ran0 000#"])
def test_the_fast_way_never_contradicts_the_exact_one(lines: list[str]) -> None:
    cut = text.split_lines(("\n".join(lines) + "\n").encode(), " \t.#")
    columns, good = candump._fast(cut, Buses())
    for i in np.flatnonzero(good):
        try:
            row = candump.exact(cut.line(i))
        except BadLine as bad:
            pytest.fail(f"{cut.line(i)!r} was taken, but: {bad}")
        assert row.timestamp == columns.timestamp[i]
        assert (row.arbitration_id, row.flags) == (columns.arbitration_id[i], columns.flags[i])
        assert row.payload == columns.payload[i, : columns.length[i]].tobytes()
        assert (row.length, row.label) == (columns.length[i], columns.label[i])


def test_usual_lines_all_go_the_fast_way() -> None:
    block = "".join(
        f"({t:.6f}) can0 {i}#{d}{r}\n"
        for t in (0.0, 1513920167.161964)
        for i in ("123", "18FEF100", "20000004")
        for d in ("", "11", "1122334455667788", "#1" + "AB" * 12)
        for r in ("", " ", " False\tFalse", "      1\tFalse")
    )
    _, good = candump._fast(text.split_lines(block.encode(), " \t.#"), Buses())
    assert good.all()


def test_blocks_may_end_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"({i}.5) can0 {i:03X}#{'AB' * (i % 9)}" for i in range(200)]
    lines[50] = "noise"
    lines[150] = "(1.5) can0 123##1" + "CD" * 64
    path = write_text(tmp_path / "x.log", lines, last=False)
    whole = read(path)
    monkeypatch.setattr(text, "BLOCK_BYTES", 97)
    parts = read(path)
    assert frames_of(parts) == frames_of(whole)
    assert parts.skipped == whole.skipped
    assert parts.skipped.examples == ((51, "not a candump line", "noise"),)


def test_nothing_usable_is_refused_with_the_first_line(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.log", ["hello", "world"])
    with pytest.raises(CaptureError, match=r"x\.log.*not a candump line \(2\).*line 1: 'hello'"):
        read(path)


@pytest.mark.real_data
def test_real_log_agrees_with_the_plain_parser(real_data: Path) -> None:
    path = real_data / "formats" / "candump" / "sample-can.log"
    table = read(path)
    assert len(table) == 6158
    assert frames_of(table) == [reference(line) for line in path.read_text().splitlines()]


@pytest.mark.real_data
def test_real_flags_label_the_modified_id(real_data: Path) -> None:
    folder = real_data / "formats" / "candump_flags"
    table = read(folder / "S-1-1-malicious-CONST-msg-mod-0x410-0.4-0.6.log")
    assert (len(table), int(table.label.sum()), table.labelled) == (17935, 60, True)
    assert set(table.arbitration_id[table.label == 1].tolist()) == {0x410}
    benign = read(folder / "S-1-1-benign.log")
    assert (benign.labelled, int(benign.label.sum())) == (True, 0)
    double = read(next(folder.glob("*DOUBLE*.log")))
    assert int(double.label.sum()) == 661
    assert set(double.arbitration_id[double.label == 1].tolist()) == {0x110, 0x410}
