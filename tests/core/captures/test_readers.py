"""Which reader reads a file: content first, then the ending, unless told."""

import gzip
import os
from pathlib import Path

import pytest

from core.captures import arrow_io
from core.captures.formats import can_train_and_test_csv, can_train_and_test_parquet, candump
from core.captures.readers import read_capture, read_chunks
from core.errors import CaptureError
from tests.core.captures.capture_strategies import table_of, write_text

TABLE = table_of([(1.5, 0x123, 0, 1, b"\x11", 0), (2.5, 0x124, 0, 0, b"", 1)])
WRITERS = {
    "can-train-and-test-csv": can_train_and_test_csv.write,
    "can-train-and-test-parquet": can_train_and_test_parquet.write,
    "candump": candump.write,
    "arrow": arrow_io.save,
}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".log", ".arrow", ".txt", ""])
@pytest.mark.parametrize("name", list(WRITERS))
def test_content_decides_whatever_the_ending_says(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"capture{suffix}"
    WRITERS[name](TABLE, path)
    table = read_capture(path)
    assert table.timestamp.tolist() == [1.5, 2.5]
    assert table.label.tolist() == [0, 1]
    assert table.format == (name if name != "arrow" else TABLE.format)


def test_the_ending_decides_where_the_content_does_not(tmp_path: Path) -> None:
    noise = ["shell noise"] * 60
    path = write_text(tmp_path / "x.log", [*noise, "(1.5) can0 123#11"])
    assert read_capture(path).skipped.counts == {"not a candump line": 60}


def test_some_noise_at_the_start_does_not_hide_a_format(tmp_path: Path) -> None:
    lines = ["$ candump -l can0", *[f"({i}.5) can0 123#11" for i in range(9)]]
    assert read_capture(write_text(tmp_path / "x.txt", lines)).format == "candump"


def test_a_named_format_overrules_content_and_ending(tmp_path: Path) -> None:
    path = write_text(tmp_path / "x.log", ["(1.5) can0 123#11"])
    assert read_capture(path, "candump").format == "candump"
    with pytest.raises(CaptureError, match="missing columns"):
        read_capture(path, "can-train-and-test-csv")
    with pytest.raises(CaptureError, match="not a readable parquet file"):
        read_capture(path, "can-train-and-test-parquet")
    with pytest.raises(CaptureError, match="damaged BLF file"):
        read_capture(path, "vector-blf")
    with pytest.raises(CaptureError, match="damaged MDF file"):
        read_capture(path, "mf4")
    with pytest.raises(CaptureError, match=r"no capture format 'dbc'; there are .*candump"):
        read_capture(path, "dbc")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", b"", "the file is empty"),
        ("x.csv", b"\n \r\n", "the file is empty"),
        ("x.csv", bytes(range(256)) * 40, "binary data that is no known capture format"),
        ("x.log", b"\0" * 5000, "binary data that is no known capture format"),
        ("x.parquet", bytes(range(256)) * 40, "not a readable parquet file"),
        ("x.arrow", b"hello", "not a readable Arrow file"),
        ("x.csv", b"a,b\n1,2\n", "missing columns timestamp, arbitration_id, data_field"),
        ("x.txt", b"hello\nworld\n", "text that is no known capture format; expected one of can-"),
        (
            "x.log.gz",
            gzip.compress(b"(1.5) can0 123#11\n", mtime=0)[:-9],
            "damaged or cut-off gzip data",
        ),
        (
            "x.log.gz",
            gzip.compress(b"(1.5) can0 123#11\n", mtime=0)[:9],
            "damaged or cut-off gzip data",
        ),
        ("x.log.gz", gzip.compress(b"", mtime=0), "the file is empty"),
        ("x.parquet.gz", gzip.compress(b"PAR1" + b"\0" * 99, mtime=0), "must be unpacked first"),
        ("x.blf", b"LOGG" + b"\1" * 40, "damaged BLF file"),
        ("x.mf4", b"MDF     4.10    " + b"\1" * 400, "damaged MDF file"),
    ],
)
def test_unusable_files_are_refused_with_the_reason(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=message) as error:
        read_capture(path)
    assert str(path) in str(error.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="there is no such file"):
        read_capture(tmp_path / "missing.csv")
    with pytest.raises(CaptureError, match="is a folder"):
        read_capture(tmp_path)
    with pytest.raises(CaptureError, match="cannot be read"):
        read_capture(Path("a\0b"))


def test_a_pipe_or_a_device_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.log")
    for path in (tmp_path / "x.log", Path("/dev/zero")):
        for format in (None, "candump", "mf4"):
            with pytest.raises(CaptureError, match="is a device or a pipe"):
                read_capture(path, format)


@pytest.mark.parametrize("name", list(WRITERS))
def test_names_that_are_no_utf8_are_read_and_written(tmp_path: Path, name: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    WRITERS[name](TABLE, path)
    assert read_capture(path, name).timestamp.tolist() == [1.5, 2.5]
    assert sum(map(len, read_chunks(path, name))) == 2
