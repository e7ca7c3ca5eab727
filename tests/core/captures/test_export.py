"""Captures written and read again: without loss, or with what is lost being told."""

import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import arrow_io
from core.captures.export import WRITERS, export
from core.captures.formats import candump
from core.captures.frame_table import EXTENDED, REMOTE, FrameTable
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError, StorageError
from tests.core.captures.capture_strategies import Frame, frames, frames_of, table_of, write_text
from tests.core.captures.test_arrow_io import assert_equal


@pytest.fixture
def odd(tmp_path: Path) -> FrameTable:
    """A capture with all there is to lose: flags, bad lines, warnings, labels."""
    lines = ["(2.0) can0 123#11 1\tFalse", "noise é", "(1.0) can0 123##111", "(3.0) can0 123#R2"]
    return READERS[candump.NAME].read(write_text(tmp_path / "odd.log", lines))


@pytest.mark.parametrize("ending", [".arrow", ".parquet"])
def test_nothing_is_lost(odd: FrameTable, tmp_path: Path, ending: str) -> None:
    assert odd.skipped.examples
    assert odd.warnings
    assert export(odd, tmp_path / f"x{ending}") == []
    assert_equal(read_capture(tmp_path / f"x{ending}"), odd)


@given(st.lists(frames(kinds=True), min_size=1, max_size=20), st.booleans())
def test_any_frames_survive_parquet(scratch: Path, generated: list[Frame], labelled: bool) -> None:
    table = table_of(generated, labelled)
    export(table, scratch / "x.parquet")
    assert_equal(read_capture(scratch / "x.parquet"), table)


@given(st.lists(frames(kinds=False), min_size=1, max_size=20), st.booleans())
def test_text_formats_keep_data_frames(
    scratch: Path, generated: list[Frame], labelled: bool
) -> None:
    generated = [frame if labelled else (*frame[:5], 0) for frame in generated]
    for ending in (".log", ".csv"):
        assert export(table_of(generated, labelled), scratch / f"x{ending}") == []
        again = read_capture(scratch / f"x{ending}")
        assert frames_of(again) == generated
        assert again.labelled == labelled


def test_frames_without_a_place_are_left_out_and_told(odd: FrameTable, tmp_path: Path) -> None:
    (told,) = export(odd, tmp_path / "x.csv")
    assert told.startswith("2 frames left out")
    assert frames_of(read_capture(tmp_path / "x.csv")) == [(2.0, 0x123, 0, 1, b"\x11", 1)]
    remote = table_of([(1.0, 1, REMOTE, 2, b"", 0), (1.0, 1, EXTENDED, 0, b"", 0)])
    with pytest.raises(CaptureError, match="no classical data frame"):
        export(remote, tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize("ending", [".log", ".csv"])
def test_times_before_0_are_refused_by_text_formats(tmp_path: Path, ending: str) -> None:
    with pytest.raises(CaptureError, match=r"times from 0, got -0\.5"):
        export(table_of([(1.0, 1, 0, 0, b"", 0), (-0.5, 1, 0, 0, b"", 0)]), tmp_path / f"x{ending}")
    assert not list(tmp_path.iterdir())


def test_other_endings_and_places_are_refused(odd: FrameTable, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"x\.asc: expected an ending of .*\.parquet"):
        export(odd, tmp_path / "x.asc")
    for ending in WRITERS:
        with pytest.raises(StorageError):
            export(odd, tmp_path / "odd.log" / f"x{ending}")


@pytest.mark.parametrize("ending", list(WRITERS))
def test_a_name_that_is_no_utf8_is_written(tmp_path: Path, ending: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + ending.encode()))
    export(table_of([(1.0, 1, 0, 0, b"", 0)]), path)
    assert len(read_capture(path)) == 1


def test_a_damaged_parquet_of_ours_is_refused(odd: FrameTable, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    for table, reason in (
        (arrow_io.to_arrow(odd).drop_columns("payload"), "not a saved capture"),
        (arrow_io.to_arrow(odd).slice(0, 0), "no frames"),
    ):
        pq.write_table(table, path)
        with pytest.raises(CaptureError, match=rf"x\.parquet: {reason}"):
            read_capture(path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["j1939/tsc1.log", "otids_bare/48.csv", "mf4/00000002.MF4", "candump/sample-can.log"]
)
def test_real_captures_come_back(real_data: Path, tmp_path: Path, name: str) -> None:
    path = real_data / "formats" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    table = read_capture(path)
    export(table, tmp_path / "x.parquet")
    assert_equal(read_capture(tmp_path / "x.parquet"), table)
    for ending in (".log", ".csv"):
        assert export(table, tmp_path / f"y{ending}") == []
        again = read_capture(tmp_path / f"y{ending}")
        np.testing.assert_array_equal(again.arbitration_id, table.arbitration_id)
        np.testing.assert_array_equal(again.payload, table.payload)
        np.testing.assert_array_equal(again.length, table.length)
        np.testing.assert_array_equal(again.label, table.label)
        np.testing.assert_allclose(again.timestamp, table.timestamp, atol=6e-7)
        assert again.labelled == table.labelled
