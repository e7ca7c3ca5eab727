"""``python -m core ingest``: the report's exact keys, the Arrow file, exit codes."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.captures import arrow_io
from core.captures.readers import READERS, read_capture
from core.cli import ingest
from core.cli.main import guarded
from tests.core.captures.test_arrow_io import assert_equal

KEYS = [
    "format",
    "frames",
    "skipped",
    "skipped_examples",
    "ids",
    "extended_frames",
    "remote_frames",
    "error_frames",
    "fd_frames",
    "labelled",
    "attack_frames",
    "time",
    "duration_s",
    "warnings",
]
CANDUMP = """\
(100.0) can0 123#1122 1\tFalse
(100.5) can0 00000123#11 False\tFalse
(101.0) can0 18FEF100#R8 False\tFalse
noise
(101.5) can0 20000004#0004000000000000 False\tFalse
(102.0) can0 123##1112233 1\tFalse
(101.75) can0 124# False\tFalse
"""


def run(*arguments: object) -> int:
    """The command, as ``core.cli.main`` runs it."""
    parser = argparse.ArgumentParser()
    ingest.add_arguments(parser)
    args = parser.parse_args([str(a) for a in arguments])
    return guarded(lambda: ingest.run(args))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A candump log with a frame of each kind."""
    path = tmp_path / "x.log"
    path.write_text(CANDUMP)
    return path


def test_report_counts_every_kind(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(log) == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert list(report) == KEYS
    assert err == ""
    warnings = report.pop("warnings")
    assert report == {
        "format": "candump",
        "frames": 6,
        "skipped": {"not a candump line": 1},
        "skipped_examples": [{"line": 4, "reason": "not a candump line", "text": "noise"}],
        "ids": 4,  # 123, extended 00000123, 18FEF100 and 124; an error frame has none
        "extended_frames": 2,
        "remote_frames": 1,
        "error_frames": 1,
        "fd_frames": 1,
        "labelled": True,
        "attack_frames": 2,
        "time": "relative",
        "duration_s": 2.0,
    }
    assert len(warnings) == 2
    assert all(isinstance(warning, str) for warning in warnings)


def test_report_file_and_arrow_file_say_the_same(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(log, "--out", tmp_path / "o" / "x.arrow", "--report", tmp_path / "r" / "1.json") == 0
    assert run(tmp_path / "o" / "x.arrow", "--report", tmp_path / "r" / "2.json") == 0
    assert capsys.readouterr() == ("", "")
    first, second = ((tmp_path / "r" / name).read_text() for name in ("1.json", "2.json"))
    assert first == second
    assert list(json.loads(first)) == KEYS
    assert len(read_capture(tmp_path / "o" / "x.arrow")) == 6


def test_other_formats_are_written_and_what_they_lose_is_told(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending, frames in ((".parquet", 6), (".log", 6), (".csv", 2)):
        assert run(log, "--out", tmp_path / f"y{ending}", "--report", tmp_path / "r.json") == 0
        assert len(read_capture(tmp_path / f"y{ending}")) == frames
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "y.csv: 4 frames left out" in err
    assert run(log, "--out", tmp_path / "y.asc") == 2


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("junk.csv", bytes(range(256)) * 10),
        ("junk.parquet", b"PAR1" + bytes(range(256)) * 10),
        ("columns.csv", b"a,b\n1,2\n"),
        ("lines.log", b"hello\nworld\n"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert run(path, "--out", tmp_path / "x.arrow", "--report", tmp_path / "r.json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert str(path) in err
    assert not (tmp_path / "x.arrow").exists()
    assert not (tmp_path / "r.json").exists()


def test_other_bad_arguments_have_exit_code_2(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "missing.log") == 2
    assert run(tmp_path) == 2
    assert run(log, "--format", "asc") == 2
    assert run(log, "--out", log / "x.arrow") == 2
    assert capsys.readouterr().err.count("\n") == 4


def test_the_format_may_be_named(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(log, "--format", "candump") == 0
    assert run(log, "--format", "can-train-and-test-csv") == 2
    assert "missing columns" in capsys.readouterr().err


def test_a_capture_in_many_chunks_is_written_and_told_of_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = CANDUMP.splitlines() * 30
    lines += [f"({200 + k}.5) can0 {k:03X}##1{'AB' * 20}" for k in range(50)]
    (tmp_path / "x.log").write_text("\n".join(lines))
    assert run(tmp_path / "x.log", "--out", tmp_path / "whole.arrow") == 0
    whole = capsys.readouterr().out
    reader = READERS["candump"]
    read: Any = reader.read_chunks
    cut = replace(reader, read_chunks=lambda path: read(path, 20))
    monkeypatch.setitem(READERS, "candump", cut)
    monkeypatch.setattr("core.captures.text.read_text.__defaults__", (200,))
    monkeypatch.setattr("core.cli.ingest.read_capture", None)
    assert run(tmp_path / "x.log", "--out", tmp_path / "parts.arrow") == 0
    assert capsys.readouterr().out == whole
    assert len(list(arrow_io.load_chunks(tmp_path / "whole.arrow"))) == 1
    assert len(list(arrow_io.load_chunks(tmp_path / "parts.arrow"))) > 5
    parts, expected = (arrow_io.load(tmp_path / f"{name}.arrow") for name in ("parts", "whole"))
    assert_equal(parts, expected)
    assert (len(parts), parts.payload.shape[1]) == (230, 64)
