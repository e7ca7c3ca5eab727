"""Every text format on lines written from its grammar: frames by hand, reasons, encodings."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from core.captures import readers, text
from core.captures.formats import canhacker, gvret
from core.captures.formats.canhacker import unwrapped
from core.captures.frame_table import EXTENDED, FrameTable
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError
from tests.core.captures.capture_strategies import frames_of, write_text
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


@ALL
def test_the_slow_way_agrees_with_the_fast_one(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_text(tmp_path / "capture.txt", list(sample.lines))
    fast = read_capture(path)
    for module in (readers.candump, readers.hcrl_csv, readers.can_train_and_test_csv):
        if hasattr(module, "_fast"):
            monkeypatch.setattr(module, "_fast", lambda lines, *rest: text.nothing_fast(lines))
    for layout in (
        readers.can_train_and_test_csv._Layout,
        readers.hcrl_challenge._Layout,
        readers.gvret._Layout,
        readers.ciciov2024._Layout,
    ):
        monkeypatch.setattr(layout, "fast", lambda self, lines: text.nothing_fast(lines))
    slow = read_capture(path)
    assert frames_of(slow) == frames_of(fast)
    assert slow.attack_names == fast.attack_names
    assert slow.attack.tolist() == fast.attack.tolist()


@pytest.mark.parametrize("name", ["hcrl-csv", "hcrl-challenge", "gvret-csv", "ciciov2024"])
def test_usual_lines_are_read_in_columns(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = SAMPLES[name]
    usual = [line for line in sample.lines if line.rstrip(",") == line]
    path = write_text(tmp_path / "capture.txt", usual)
    module = {"hcrl-csv": "hcrl_csv", "hcrl-challenge": "hcrl_challenge"}.get(name, "")
    module = module or {"gvret-csv": "gvret"}.get(name, name)
    owner = getattr(readers, module)

    def never(*arguments: object) -> None:
        raise AssertionError(f"read the slow way: {arguments[-1]}")

    if hasattr(owner, "_Layout"):
        monkeypatch.setattr(owner._Layout, "exact", never)
    else:
        monkeypatch.setattr(owner, "exact", never)
    assert len(read_capture(path)) == len(usual) - (name != "hcrl-csv")


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
    table = gvret.read(gvret_file(tmp_path / "x.csv", times))
    assert table.timestamp.tolist() == seconds
    assert said in " ".join(table.warnings)
    assert bool(table.warnings) == bool(said)


def test_old_header_of_gvret_without_direction_and_with_dlc(tmp_path: Path) -> None:
    lines = ["Time Stamp,ID,Extended,Bus,DLC,D1,D2", "1000,00000100,false,0,2,0A,0B"]
    assert frames_of(gvret.read(write_text(tmp_path / "x.csv", lines))) == [
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
    times, minutes = unwrapped(np.array([58.0, 59.9, 0.1, 59.95, 0.2, 30.0, 59.0, 1.0]))
    assert times.tolist() == pytest.approx([58.0, 59.9, 60.1, 59.95, 60.2, 90.0, 119.0, 121.0])
    assert minutes == 2
    assert unwrapped(np.array([1.0, 75.0, 2.0]))[1] == 0


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
    table = read_capture(write_text(tmp_path / "x.trc", [";####", *header, line]))
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
