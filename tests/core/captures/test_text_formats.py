"""Every text format on lines written from its grammar: frames by hand, reasons, encodings."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import readers, text
from core.captures.formats import canhacker, csv_columns, gvret
from core.captures.formats.canhacker import Clock
from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError
from tests.core.captures.capture_strategies import damaged, frames_of, write_text
from tests.core.captures.format_samples import B8, SAMPLES, Sample

ALL = pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))


def check(table: FrameTable, sample: Sample) -> None:
    """Compare what was read with the sample's frames."""
    assert table.format == sample.format
    got = frames_of(table)
    assert [frame[1:] for frame in got] == [frame[1:] for frame in sample.frames]
    assert [f[0] for f in got] == pytest.approx([f[0] for f in sample.frames], rel=0, abs=1e-7)
    assert table.attack_names == sample.attacks
    assert table.time == sample.time
    assert table.skipped.counts == {}


def test_every_text_format_has_a_sample() -> None:
    assert set(SAMPLES) == {name for name, reader in READERS.items() if not reader.binary}


@ALL
def test_a_sample_is_recognised_and_read(tmp_path: Path, sample: Sample) -> None:
    check(read_capture(write_text(tmp_path / "capture.txt", list(sample.lines))), sample)


@ALL
def test_every_line_end_and_encoding_reads_the_same(tmp_path: Path, sample: Sample) -> None:
    content = "\n".join(sample.lines)
    variants = {
        "no last line end": content.encode(),
        "CRLF": (content + "\n").replace("\n", "\r\n").encode(),
        "CR only": (content + "\n").replace("\n", "\r").encode(),
        "byte order mark": b"\xef\xbb\xbf" + content.encode(),
        "UTF-16": (content + "\n").encode("utf-16"),
        "blank lines": (content + "\n\n  \n").encode(),
        "gzip": gzip.compress(content.encode()),
    }
    for name, data in variants.items():
        path = tmp_path / "capture.bin"
        path.write_bytes(data)
        assert frames_of(read_capture(path)) == frames_of(
            read_capture(write_text(tmp_path / "capture.txt", list(sample.lines)))
        ), name


@ALL
def test_bad_lines_are_set_aside_with_their_reason(tmp_path: Path, sample: Sample) -> None:
    for line, reason in sample.skipped:
        path = write_text(tmp_path / "capture.txt", [*sample.lines, line])
        table = read_capture(path, sample.format)
        assert table.skipped.counts == {reason: 1}, line
        assert table.skipped.examples == ((len(sample.lines) + 1, reason, line[:120]),)
        assert len(table) == len(sample.frames)


@ALL
def test_blocks_of_any_size_read_the_same(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path / "capture.txt", list(sample.lines))
    expected = frames_of(read_capture(path))
    monkeypatch.setattr(text, "BLOCK_BYTES", 97)
    monkeypatch.setattr(text.read_text, "__defaults__", (97,))
    assert frames_of(read_capture(path)) == expected


TEXT_MODULES = [
    module
    for module in (csv_columns, *vars(readers).values())
    if getattr(module, "read_lines", None) is not None
]


def read_slowly(path: Path, format: str | None = None) -> FrameTable:
    """Read each line with the exact parser, none in columns."""

    def read_lines(*arguments: Any, **named: Any) -> Any:
        path, delimiters, _, exact, *rest = arguments
        return text.read_lines(path, delimiters, text.nothing_fast, exact, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        for module in TEXT_MODULES:
            patch.setattr(module, "read_lines", read_lines)
        return read_capture(path, format)


def assert_same(left: FrameTable, right: FrameTable) -> None:
    """Compare all that was read."""
    assert frames_of(left) == frames_of(right)
    assert left.payload.shape == right.payload.shape
    assert left.attack.tolist() == right.attack.tolist()
    for name in ("attack_names", "labelled", "time", "skipped", "warnings"):
        assert getattr(left, name) == getattr(right, name), name


USUAL = {
    "battery-emulator": ("(683.70) RX0 7E0 [2] 01 02", "(683.71) TX1 18FF1234 [0]"),
    "can-train-and-test-csv": ("1.5,2C0,0102,0", "1.75,000,,1"),
    "candump": ("(1.5) can0 123#0102", "(1.75) can0 00000123#", "(1.75) can0 123##0AB"),
    "candump-console": (
        " (000.536)  can0  18FCF200   [2]  01 02",
        " (012.5)  can1  123   [0]",
        " (1.5)  can0  7FF   [1]  aB ",
        " (1.6)  can0  123   [2]  remote request",
        " (1.7)  can0  00000123   [8]  remote request",
        " (1.8)  can0  123  [12]  00 11 22 33 44 55 66 77 88 99 AA BB",
        " (1.9)  can0  18FCF200  [02]  01 FF",
        " (2.0)  can0  18FCF200  [64]" + " 01" * 64,
    ),
    "canhacker-trc": (
        "58,876 070      2 01 02 comment",
        "59.5 18EA0003 1 BE",
        "00,25 070      0",
        "26,641405\t1\t00000004\t112\t2\t01 02   \t00000000\t     r  \t",
        "26,651420\t2\t00000004\t18FF0112\t1\tFC\t00000000",
    ),
    "ciciov2024": (
        "65,1,2,3,4,5,6,7,8,BENIGN,BENIGN,BENIGN",
        "513,0,0,0,0,0,0,0,255,ATTACK,SPOOFING,GAS",
    ),
    "crtd": ("101.562 1T11 7DF 01 02", "102 2R29 18DB33F1 02", "103.5 R29 1F"),
    "daga": ("0.5,1D0,64,102030405060708,1000,FALSE", "0.75,290,8,8,1000,True"),
    "gvret-csv": (
        "7254438300,000007DF,false,Rx,1,2,01,02",
        "7254438800,00000123,true,Rx,1,2,0A,FF,,,,,,,",
        "7254439000,18FEF100,0,Tx,0,0,",
        "7254439000,1FE,0,Tx,0,8,01,02,03,04,05,06,07,08,",
    ),
    "hcrl-challenge": (
        "1597759710.1258,153,2,01 02,Normal,Normal",
        "1597759710.1259,0,0,,Attack,Flooding",
    ),
    "hcrl-csv": (
        "1478198376.389427,0316,2,01,02,R",
        "1478198376.389636,018f,2,fe,5b,T",
        "1478198376.39,018f,2,fe,5b,R,,,,,,",
        "1478198376.4,0000,0,T",
        "1478198376.5,0316,2,01,02",
        "1478198376.5,0316,2,01,02,,",
    ),
    "j1939-csv": ("0.5,can0,217058307,2,0102,x,normal", "0.75,can1,419356416,1,FF,y,torque"),
    "otids": (
        "Timestamp:     0.690329        ID: 0153    000    DLC: 2    01 02",
        "0.7        0380    000    2    30 bb",
        "1        18fef100    000    0",
    ),
    "peak-trc": (
        "      1     17535.500 DT 1  00000100 Tx -  2    01 02",
        "      2)     17536 dt 2  0100 Rx -  0",
        "      3     17540.500 RR 1      0704 Rx -  1",
        "      3     17540.500 RR 1  00000704 Rx -  15    what is asked for",
        "      3     17540.500 DT 1      0704 Rx -  12    RTR",
        "      4     17541.500 FD 1      0704 Rx -  9    01 02 03 04 05 06 07 08 01 02 03 04",
        "      4     17541.500 FB 1      0704 Rx -  8    01 02 03 04 05 06 07 08",
        "      4     17541.500 FB 1      0704 Tx -  15   " + " 01" * 64,
        "      5     17541.500 DT 1      0704 Rx -  11    01 02 03 04 05 06 07 08",
    ),
    "vector-asc": (
        "   3.098426 1  18EBFF00x       Rx   d 2 01 02  Length = 273910",
        "   3.2 2  F4\tTx   d 1 0a",
        "30.2 1  F4 Rx d 0",
    ),
}
HEADERS = {
    name: [
        line
        for line in sample.lines
        if sample.format in ("peak-trc", "vector-asc", "canhacker-trc") and line[:1] in ";bT"
    ]
    or [line for line in sample.lines[:1] if "," in line and not line[:1].isdigit()]
    for name, sample in SAMPLES.items()
}


def read_noting(path: Path, format: str | None = None) -> tuple[FrameTable, list[str]]:
    """Read a capture, and tell the frames that were not read in columns."""
    slow: list[str] = []

    def read_lines(
        path: Path, delimiters: str, fast: Any, exact: Any, *rest: Any, **named: Any
    ) -> Any:
        def noted(line: str) -> Any:
            row = exact(line)
            slow.extend([line] if row is not None else [])
            return row

        return text.read_lines(path, delimiters, fast, noted, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        for module in TEXT_MODULES:
            patch.setattr(module, "read_lines", read_lines)
        return read_capture(path, format), slow


@pytest.mark.parametrize("name", list(SAMPLES))
def test_usual_lines_are_read_in_columns(tmp_path: Path, name: str) -> None:
    path = write_text(tmp_path / "capture.txt", [*HEADERS[name], *USUAL[name]])
    table, slow = read_noting(path, name)
    assert slow == []
    assert len(table) == len(USUAL[name])
    assert_same(table, read_slowly(path, name))


@ALL
def test_the_slow_way_agrees_with_the_fast_one(tmp_path: Path, sample: Sample) -> None:
    lines = [*sample.lines, *(line for line, _ in sample.skipped), *sample.lines[-1:]]
    path = write_text(tmp_path / "capture.txt", lines)
    assert_same(read_capture(path), read_slowly(path))


ALPHABET = "0123456789ABCDEFabxXRTdr .,:;#$\t()[]-+_\r\x0b\u00a0\"'\u0661"


@pytest.mark.parametrize("name", list(SAMPLES))
@given(data=st.data())
def test_damaged_lines_read_the_same_in_columns_and_one_by_one(
    scratch: Path, name: str, data: st.DataObject
) -> None:
    sample = SAMPLES[name]
    body = [
        *USUAL[name],
        *sample.lines[len(HEADERS[name]) :],
        *(line for line, _ in sample.skipped),
    ]
    lines = st.one_of(
        st.sampled_from(USUAL[name]),
        damaged(st.sampled_from(body), ALPHABET),
        damaged(st.sampled_from([*HEADERS[name], *body]), ALPHABET),
    )
    found = data.draw(st.lists(lines, min_size=1, max_size=12))
    path = write_text(scratch / f"both-{name}", [*HEADERS[name], *found])
    assert_both_ways_agree(path, name)


def assert_both_ways_agree(path: Path, format: str) -> None:
    """Compare what is read in columns with what is read line by line, or the two refusals."""
    readings: list[Any] = []
    for read in (read_capture, read_slowly):
        try:
            readings.append(read(path, format))
        except CaptureError as refused:
            readings.append(str(refused))
    if isinstance(readings[0], str):
        assert readings[0] == readings[1]
    else:
        assert_same(*readings)


def test_attack_classes_keep_their_names(tmp_path: Path) -> None:
    sample = SAMPLES["hcrl-challenge"]
    table = read_capture(write_text(tmp_path / "x.csv", list(sample.lines)))
    assert table.attack.tolist() == [-1, 0, 1, 0]
    assert table.attack_names == ("Flooding", "Fuzzing")


def test_no_time_is_said(tmp_path: Path) -> None:
    table = read_capture(write_text(tmp_path / "x.csv", list(SAMPLES["ciciov2024"].lines)))
    assert any("no time column" in warning for warning in table.warnings)
    untimed = ["  can0  123   [1]  11", "  can0  124   [1]  12"]
    table = read_capture(write_text(tmp_path / "x.log", untimed))
    assert (table.format, table.time, len(table)) == ("candump-console", "missing", 2)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("gvret-csv", "7254439300,18FEF100,1,Tx,1", "7254439300,18FEF100,1,Tx,0"),
        ("candump", "(1.75) can0", "(1.75) can1"),
        ("candump-console", "(000.4)  can0", "(000.4)  can1"),
        ("vector-asc", "3.2 1  F4", "3.2 2  F4"),
        ("peak-trc", "RR 1", "RR 2"),
        ("crtd", "1R29 18DB", "2R29 18DB"),
        ("battery-emulator", "TX0", "TX1"),
        ("j1939-csv", "0.0,can0", "0.0,can1"),
    ],
)
def test_mixed_buses_are_said(tmp_path: Path, name: str, old: str, new: str) -> None:
    content = "\n".join(SAMPLES[name].lines)
    path = tmp_path / "x"
    path.write_text(content)
    assert not any("mixed buses" in warning for warning in read_capture(path).warnings)
    assert old in content
    path.write_text(content.replace(old, new))
    assert any("mixed buses" in warning for warning in read_capture(path).warnings)


def gvret_file(path: Path, times: list[str]) -> Path:
    lines = ["Time Stamp,ID,Extended,Bus,LEN,D1"] + [f"{t},100,false,0,1,01" for t in times]
    return write_text(path, lines)


@pytest.mark.parametrize(
    ("times", "seconds", "said"),
    [
        (["1000", "1200", "5000"], [0.001, 0.0012, 0.005], ""),
        (["1000", "1001", "1003"], [1.0, 1.001, 1.003], "milliseconds"),
        (["1.5", "1.501", "1.502"], [1.5, 1.501, 1.502], "seconds"),
        (["-500", "0", "400"], [-0.0005, 0.0, 0.0004], "negative time"),
        (["1000", "800", "1400"], [0.001, 0.0008, 0.0014], "go backwards"),
    ],
)
def test_gvret_times(tmp_path: Path, times: list[str], seconds: list[float], said: str) -> None:
    table = READERS[gvret.NAME].read(gvret_file(tmp_path / "x.csv", times))
    assert table.timestamp.tolist() == seconds
    assert said in " ".join(table.warnings)
    assert bool(table.warnings) == bool(said)


def test_old_header_of_gvret_without_direction_and_with_dlc(tmp_path: Path) -> None:
    lines = ["Time Stamp,ID,Extended,Bus,DLC,D1,D2", "1000,00000100,false,0,2,0A,0B"]
    assert frames_of(READERS[gvret.NAME].read(write_text(tmp_path / "x.csv", lines))) == [
        (0.001, 0x100, 0, 2, b"\x0a\x0b", 0)
    ]


def test_the_second_dialect_of_canhacker(tmp_path: Path) -> None:
    content = (
        "@ TEXT @ 3 @ 64 @ 0 @ 2 @ 7459 @ 00:00:07.459 @\r# $LocalTime=11:19:54.503\r"
        "26,641405\t1\t00000004\t112\t8\t01 02 03 04 05 06 07 08\t00000000\t     r  \t\r"
        "26,651420\t1\t00000004\t18FF0112\t1\tFC                     \t00000000\t        \t\r"
    )
    (tmp_path / "x.trc").write_text(content, newline="")
    table = read_capture(tmp_path / "x.trc")
    assert frames_of(table) == [
        (26.641405, 0x112, 0, 8, B8, 0),
        (26.65142, 0x18FF0112, EXTENDED, 1, b"\xfc", 0),
    ]
    assert table.format == canhacker.NAME


def test_a_clock_that_wraps_each_minute_goes_on() -> None:
    clock = Clock()
    times = clock.unwrapped(np.array([58.0, 59.9, 0.1, 59.95, 0.2, 30.0, 59.0, 1.0]))
    assert times.tolist() == pytest.approx([58.0, 59.9, 60.1, 59.95, 60.2, 90.0, 119.0, 121.0])
    assert clock.minutes == 2
    clock = Clock()
    assert clock.unwrapped(np.array([1.0, 75.0, 2.0])).tolist() == [1.0, 75.0, 2.0]
    assert clock.minutes == 0


def test_relative_times_of_asc_are_added_up(tmp_path: Path) -> None:
    lines = [
        "base dec timestamps relative",
        " 0.5 1 16 Rx d 2 10 255",
        " 0.25 1 Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%",
        " 0.25 1 16x Rx d 1 7",
    ]
    table = read_capture(write_text(tmp_path / "x.asc", lines))
    assert frames_of(table) == [
        (0.5, 16, 0, 2, b"\x0a\xff", 0),
        (1.0, 16, EXTENDED, 1, b"\x07", 0),
    ]


@pytest.mark.parametrize(
    ("version", "line", "expected"),
    [
        ("1.0", "  1)     17535  00000100  2  01 02", (17.535, 0x100, EXTENDED, 2, b"\1\2", 0)),
        ("1.0", "  1)     17535      0704  1  RTR", (17.535, 0x704, 2, 1, b"", 0)),
        ("1.1", "  1)  17535.4  Rx   0100  2  01 02 ", (17.5354, 0x100, 0, 2, b"\1\2", 0)),
        ("1.2", "  1)  17535.4 1  Rx   0100  2  01 02 ", (17.5354, 0x100, 0, 2, b"\1\2", 0)),
        ("1.3", "  1)  17535.4 1  Rx   0100 -  2  01 02 ", (17.5354, 0x100, 0, 2, b"\1\2", 0)),
        ("2.0", "  1   17535.4 DT   0100 Rx 2  01 02 ", (17.5354, 0x100, 0, 2, b"\1\2", 0)),
    ],
)
def test_versions_of_trc(tmp_path: Path, version: str, line: str, expected: tuple) -> None:
    header = [] if version == "1.0" else [f";$FILEVERSION={version}"]
    table, slow = read_noting(write_text(tmp_path / "x.trc", [";####", *header, line]))
    assert slow == []
    (frame,) = frames_of(table)
    assert frame[1:] == expected[1:]
    assert frame[0] == pytest.approx(expected[0], rel=1e-15)
    assert table.skipped.counts == {}


def test_labels_beside_a_console_log_are_taken(tmp_path: Path) -> None:
    log = write_text(
        tmp_path / "drive.log",
        [" (0.0)  can0  0CF00C03   [1]  18", " (0.1)  can0  18FEDF00   [1]  90"],
    )
    csv = [
        "timestamp,can_id,dlc,data,label",
        f"0.0,{0x0CF00C03},1,18,normal",
        f"0.1,{0x18FEDF00},1,90,torque",
    ]
    write_text(tmp_path / "labeled_DRIVE.csv", csv)
    table = read_capture(log)
    assert (table.label.tolist(), table.attack_names) == ([0, 1], ("torque",))
    write_text(tmp_path / "labeled_DRIVE.csv", csv[:2])
    table = read_capture(log)
    assert not table.labelled
    assert any("of other frames" in warning for warning in table.warnings)


def test_a_long_line_is_set_aside_unread(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.log", ["(1.5) can0 123#11", "x" * 3_000_000, "(2.5) can0 1#"])
    table = read_capture(path)
    assert table.skipped.counts == {
        "line is longer than 65536 characters": 1,
        "id is not 3 or 8 hexadecimal digits": 1,
    }


def test_a_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "unpacked_limit", lambda: 1 << 20)
    path = tmp_path / "x.log.gz"
    path.write_bytes(gzip.compress(b"(1.5) can0 123#11\n" * 200_000))
    assert path.stat().st_size < 20_000
    with pytest.raises(CaptureError, match="unpacks to more than 1 MiB"):
        read_capture(path)
