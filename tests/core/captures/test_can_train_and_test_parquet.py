"""The can-train-and-test parquet form: column types, odd rows, round trips."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import arrow_io
from core.captures.formats import can_train_and_test_parquet as form
from core.captures.formats import pieces as pieces_module
from core.captures.frame_table import EXTENDED
from core.errors import CaptureError
from tests.core.captures.capture_strategies import Frame, frames, frames_of, table_of

USUAL: dict[str, Any] = {
    "timestamp": [1.5, 2.5],
    "id": pa.array([0x2C0, 0x18FEF100], pa.uint32()),
    "data_field": ["1122", ""],
    "label": pa.array([0, 1], pa.uint8()),
}
EXPECTED = [(1.5, 0x2C0, 0, 2, b"\x11\x22", 0), (2.5, 0x18FEF100, EXTENDED, 0, b"", 1)]


def write(path: Path, **columns: Any) -> Path:
    """The usual two rows with some columns changed, or taken out by None."""
    table = {k: v for k, v in {**USUAL, **columns}.items() if v is not None}
    pq.write_table(pa.table(table), path)
    return path


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"source_file": ["a", "b"]},
        {"id": None, "arbitration_id": ["2C0", "18fef100"]},
        {"id": ["0x2C0", "18FEF100"]},
        {"id": pa.array(["2C0", "18FEF100"]).dictionary_encode()},
        {"id": pa.array(["2C0", "18FEF100"], pa.large_string())},
        {"id": pa.array([0x2C0, 0x18FEF100], pa.int64())},
        {"id": pa.array([0x2C0, 0x18FEF100], pa.float64())},
        {"label": None, "attack": [0, 1]},
        {"label": [False, True]},
        {"label": [0.0, 1.0]},
        {"label": ["0", "1"]},
        {"label": ["Normal", "Attack"]},
        {"timestamp": ["1.5", "2.5"]},
        {"timestamp": pa.array([1500, 2500], pa.timestamp("ms"))},
        {"timestamp": pa.array([1_500_000_000, 2_500_000_000], pa.timestamp("ns", tz="UTC"))},
        {"data_field": ["1122", None]},
        {"data_field": pa.array(["1122", ""]).dictionary_encode()},
        {"data_field": pa.array(["1122", ""], pa.string_view())},
    ],
)
def test_column_types_do_not_matter(tmp_path: Path, changed: dict[str, Any]) -> None:
    try:
        path = write(tmp_path / "DoS-kia.parquet", **changed)
    except pa.ArrowNotImplementedError:
        pytest.skip("this pyarrow does not write that type")
    table = form.read(path)
    assert frames_of(table) == EXPECTED
    assert table.labelled
    assert table.attack_names == ("DoS",)
    assert table.attack.tolist() == [-1, 0]


def test_dates_become_seconds(tmp_path: Path) -> None:
    date = datetime(2020, 1, 1, tzinfo=UTC)
    table = form.read(write(tmp_path / "x.parquet", timestamp=[date, date]))
    assert table.timestamp.tolist() == [date.timestamp()] * 2
    assert table.time == "absolute"


def test_column_order_does_not_matter(tmp_path: Path) -> None:
    pq.write_table(pa.table(dict(reversed(USUAL.items()))), tmp_path / "x.parquet")
    assert frames_of(form.read(tmp_path / "x.parquet")) == EXPECTED


def test_without_label_column_the_capture_is_unlabelled(tmp_path: Path) -> None:
    table = form.read(write(tmp_path / "x.parquet", label=None))
    assert not table.labelled
    assert table.warnings == ("no label column: the capture is unlabelled",)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("data_field", "112", "payload has an odd number of digits"),
        ("data_field", "11223344556677889", "payload is longer than 8 bytes"),
        ("data_field", "zz", "payload is not hexadecimal"),
        ("timestamp", None, "timestamp is missing"),
        ("timestamp", float("nan"), "timestamp is not a number"),
        ("timestamp", float("inf"), "timestamp is not a number"),
        ("id", 1 << 29, "id is beyond 29 bits"),
        ("id", None, "id is not hexadecimal"),
        ("id", -1, "id is negative"),
        ("label", 2, "label is not understood"),
        ("label", None, "label is missing"),
    ],
)
def test_a_bad_row_is_set_aside_with_its_reason(
    tmp_path: Path, column: str, value: Any, reason: str
) -> None:
    rows: dict[str, Any] = {"timestamp": [1.5] * 3, "id": [1] * 3, "label": [0] * 3}
    rows["data_field"] = ["11"] * 3
    rows[column][1] = value
    table = form.read(write(tmp_path / "x.parquet", **rows))
    assert len(table) == 2
    assert table.skipped.counts == {reason: 1}
    assert table.skipped.examples[0][:2] == (2, reason)


def test_text_that_is_no_text_is_set_aside(tmp_path: Path) -> None:
    raw = pa.array([b"11", b"\xff\xfe"], pa.binary())
    column = pa.StringArray.from_buffers(2, raw.buffers()[1], raw.buffers()[2])
    table = form.read(write(tmp_path / "x.parquet", data_field=column))
    assert len(table) == 1
    assert table.skipped.counts == {"payload is not hexadecimal": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"timestamp": None}, "missing columns timestamp;"),
        ({"id": None, "data_field": None}, "missing columns id, data_field;"),
        ({"id": [b"\x01", b"\x02"]}, "id column is binary"),
        ({"data_field": [1, 2]}, "data_field is int64"),
        ({"timestamp": [[1.0], [2.0]]}, "timestamp is list"),
        ({"label": [[1], [2]]}, "label column is list"),
    ],
)
def test_unfit_columns_are_named(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "x.parquet", **changed)
    with pytest.raises(CaptureError, match=message) as error:
        form.read(path)
    assert str(path) in str(error.value)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(USUAL).slice(0, 0), path)
    with pytest.raises(CaptureError, match="no frames in it"):
        form.read(path)


def test_nothing_usable_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", data_field=["x", "y"])
    with pytest.raises(CaptureError, match=r"payload is not hexadecimal \(2\)"):
        form.read(path)


@pytest.mark.parametrize("kept", [4, 100, -4, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = write(tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CaptureError, match="not a readable parquet file"):
        form.read(path)


@given(st.lists(frames(kinds=False), min_size=1, max_size=30), st.integers(1, 40))
def test_what_is_written_is_read_back(scratch: Path, generated: list[Frame], group: int) -> None:
    path = scratch / "attack.parquet"
    form.write(table_of(generated), path)
    # Again with several row groups, hence several chunks.
    again = scratch / "groups.parquet"
    pq.write_table(pq.read_table(path), again, row_group_size=group)
    for file in (path, again):
        table = form.read(file)
        assert frames_of(table) == generated
        assert table.labelled
        assert table.skipped.counts == {}


@pytest.mark.parametrize("group", [7, 1000])
def test_pieces_make_up_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(form, "ROWS", 10)
    monkeypatch.setattr(pieces_module, "PIECE_FRAMES", 25)
    rng = np.random.default_rng(0)
    frames = 200
    label = (np.arange(frames) > 120).astype(np.uint8)
    data = [rng.bytes(i % 9).hex() for i in range(frames)]
    data[3] = data[77] = data[150] = "xyz"
    ids = rng.integers(0, 0x900, frames).astype(np.uint32)
    columns = {"timestamp": rng.random(frames), "id": ids, "data_field": data, "label": label}
    path = tmp_path / "DoS-1.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=group)
    pieces, whole = list(form.read_chunks(path)), form.read(path)
    assert len(pieces) > 5
    assert len(whole) == 197
    for name in ("timestamp", "arbitration_id", "flags", "length", "payload", "label", "attack"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        np.testing.assert_array_equal(joined, getattr(whole, name))
    assert pieces[0].attack_names == ()
    last = pieces[-1]
    assert (last.attack_names, last.skipped) == (("DoS",), whole.skipped)
    assert [line for line, _, _ in last.skipped.examples] == [4, 78, 151]
    assert last.warnings == whole.warnings


def test_pieces_of_an_export_make_up_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "PIECE_FRAMES", 30)
    frames: list[Frame] = [(float(i), i, 0, 1, bytes([i]), i % 2) for i in range(100)]
    path = tmp_path / "x.parquet"
    pq.write_table(arrow_io.to_arrow(table_of(frames)), path)
    pieces = list(form.read_chunks(path))
    assert [len(piece) for piece in pieces] == [30, 30, 30, 10]
    assert [frame for piece in pieces for frame in frames_of(piece)] == frames
    assert {piece.attack_names for piece in pieces} == {("attack",)}


def test_a_few_bytes_that_stand_for_too_many_frames_are_read_in_pieces_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(form, "unpacked_limit", lambda: 1 << 20)
    frames = 50_000
    column = pa.array(["1122"] * frames).dictionary_encode()
    path = write(
        tmp_path / "x.parquet",
        timestamp=np.zeros(frames),
        id=np.zeros(frames, np.uint32),
        data_field=column,
        label=np.zeros(frames, np.uint8),
    )
    assert path.stat().st_size < 5000
    with pytest.raises(CaptureError, match="unpacks to 3 MiB, more than 1, a quarter"):
        form.read(path)
    assert sum(len(piece) for piece in form.read_chunks(path)) == frames


def test_pieces_of_nothing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table(USUAL).slice(0, 0), path)
    with pytest.raises(CaptureError, match="no frames in it"):
        list(form.read_chunks(path))


@pytest.mark.real_data
def test_real_captures_are_read_whole(real_data: Path) -> None:
    for path in sorted((real_data / "hcrl_sa").rglob("*.parquet")):
        raw, table = pq.read_table(path), form.read(path)
        assert len(table) == len(raw)
        assert table.skipped.counts == {}
        assert np.array_equal(table.timestamp, raw["timestamp"].to_numpy())
        assert np.array_equal(table.arbitration_id, raw["id"].to_numpy())
        assert np.array_equal(table.label, raw["label"].to_numpy())
        sample = np.arange(0, len(table), 997)
        payloads = raw["data_field"].take(pa.array(sample)).to_pylist()
        got = [table.payload[i, : table.length[i]].tobytes().hex().upper() for i in sample]
        assert got == payloads
        attacked = path.name.split("-")[0] if "with" in str(path) or "test" in str(path) else None
        assert table.attack_names == ((attacked,) if attacked else ())
