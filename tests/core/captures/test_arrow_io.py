"""Frame tables in Arrow files: nothing is lost, nothing else is taken for one."""

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import arrow_io
from core.captures.formats import candump
from core.captures.frame_table import FrameTable
from core.captures.readers import READERS, read_capture
from core.errors import CaptureError, StorageError
from tests.core.captures.capture_strategies import Frame, frames, table_of, write_text


def assert_equal(left: FrameTable, right: FrameTable) -> None:
    """Every field of two frame tables is equal, types included."""
    for name in FrameTable.__dataclass_fields__:
        a, b = getattr(left, name), getattr(right, name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, name
            assert np.array_equal(a, b), name
        else:
            assert a == b, name


@given(st.lists(frames(kinds=True), min_size=1, max_size=20))
def test_what_is_saved_is_loaded(scratch: Path, generated: list[Frame]) -> None:
    table = table_of(generated)
    arrow_io.save(table, scratch / "x.arrow")
    assert_equal(arrow_io.load(scratch / "x.arrow"), table)


def test_what_was_skipped_and_warned_of_is_kept(tmp_path: Path) -> None:
    lines = ["(2.0) can0 123#11 1\tFalse", "noise \u00e9", "(1.0) can0 123##111"]
    table = READERS[candump.NAME].read(write_text(tmp_path / "x.log", lines))
    assert table.skipped.counts
    assert len(table.warnings) == 3
    arrow_io.save(table, tmp_path / "x.arrow")
    assert_equal(read_capture(tmp_path / "x.arrow"), table)


def test_slices_and_chunks_are_taken_as_they_are() -> None:
    table = table_of([(float(i), i, 0, 1, bytes([i]), i % 2) for i in range(10)])
    arrow = arrow_io.to_arrow(table)
    part = arrow_io.from_arrow(arrow.slice(3, 4))
    assert part.arbitration_id.tolist() == [3, 4, 5, 6]
    assert part.payload[:, 0].tolist() == [3, 4, 5, 6]
    chunks = pa.concat_tables([arrow.slice(0, 3), arrow.slice(3, 7)])
    assert_equal(arrow_io.from_arrow(chunks), table)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.arrow"
    arrow_io.save(table_of([(1.0, 1, 0, 0, b"", 0)]), path)
    before = path.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        arrow_io.save(table_of([(2.0, 2, 0, 0, b"", 0)]), tmp_path / "file" / "x.arrow")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "x.arrow"]


@pytest.mark.parametrize("kept", [6, 100, 0.5, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: float) -> None:
    path = tmp_path / "x.arrow"
    arrow_io.save(table_of([(float(i), 1, 0, 1, b"a", 0) for i in range(100)]), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CaptureError, match=r"x\.arrow"):
        arrow_io.load(path)


def test_other_arrow_files_are_refused(tmp_path: Path) -> None:
    def write(table: pa.Table) -> Path:
        with pa.ipc.new_file(str(tmp_path / "x.arrow"), table.schema) as writer:
            writer.write_table(table)
        return tmp_path / "x.arrow"

    good = arrow_io.to_arrow(table_of([(1.0, 1, 0, 0, b"", 1)]))
    metadata = good.schema.metadata[b"canfusion.frames"]
    for table, message in (
        (good.replace_schema_metadata(None), "metadata"),
        (good.replace_schema_metadata({"canfusion.frames": "{"}), "damaged metadata"),
        (good.replace_schema_metadata({"canfusion.frames": "[]"}), "damaged metadata"),
        (good.replace_schema_metadata({"canfusion.frames": '{"version": 99}'}), "version"),
        (good.drop_columns("label"), "column label is missing"),
        (good.drop_columns("payload"), "column payload"),
        (good.set_column(0, "timestamp", pa.array([1])), "column timestamp is int64"),
        (
            good.replace_schema_metadata(
                {"canfusion.frames": metadata.replace(b'["attack"]', b"[]")}
            ),
            "attack numbers",
        ),
        (good.slice(0, 0), "no frames"),
    ):
        with pytest.raises(CaptureError, match=message):
            arrow_io.load(write(table))


def test_a_capture_in_chunks_is_one_capture(tmp_path: Path) -> None:
    table = table_of([(float(i), i, 0, 1, bytes([i]), i % 2) for i in range(10)])
    arrow = arrow_io.to_arrow(table)
    chunks = [arrow_io.from_arrow(arrow.slice(start, 4)) for start in (0, 4, 8)]
    arrow_io.save_chunks(chunks, tmp_path / "x.arrow")
    assert_equal(arrow_io.load(tmp_path / "x.arrow"), table)
    found = list(arrow_io.load_chunks(tmp_path / "x.arrow"))
    assert [len(chunk) for chunk in found] == [4, 4, 2]
    for chunk, expected in zip(found, chunks, strict=True):
        assert_equal(chunk, expected)


def test_chunks_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    table = table_of([(1.0, 1, 0, 1, b"1", 0)])
    wide = dataclasses.replace(table, payload=np.zeros((1, 64), np.uint8))
    for chunks, expected in (([table, wide], "differ in width"), ([], "no frames to write")):
        with pytest.raises(CaptureError, match=expected):
            arrow_io.save_chunks(chunks, tmp_path / "x.arrow")
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 30, 0.5, 0.9])
def test_a_torn_file_is_refused_in_chunks_too(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "x.arrow"
    table = table_of([(float(i), i, 0, 1, bytes([i]), i % 2) for i in range(10)])
    arrow_io.save_chunks([table, table], path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(CaptureError, match=r"x\.arrow: not a readable Arrow file"):
        list(arrow_io.load_chunks(path))
