"""The prediction cache: what is written is read back without a copy, and damage is noticed."""

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from core.cache.predictions import METADATA_KEY, FusionPredictionCache, write_predictions
from core.errors import CacheError, ScoresError


def some_cache(windows: int = 40, seed: int = 0) -> FusionPredictionCache:
    rng = np.random.default_rng(seed)
    label = (np.arange(windows) // 5 % 2).astype(np.uint8)
    return FusionPredictionCache.from_arrays(
        rng.random(windows),
        rng.random(windows),
        label,
        capture=np.where(np.arange(windows) < windows // 2, "train_01/a.csv", "train_02/b.csv"),
        attack=np.where(label, "dos", ""),
        split=np.where(np.arange(windows) < windows // 2, "train_01", "train_02"),
        metadata={"version": 1, "fingerprint": {"gat": "abc"}, "dataset": "demo"},
    )


@pytest.fixture
def cache_file(tmp_path: Path) -> Path:
    cache = some_cache()
    table = cache.to_table().append_column(
        "vgae_kl", pa.array(np.linspace(0, 1, len(cache)), pa.float32())
    )
    path = tmp_path / "cache.arrow"
    write_predictions(path, table, cache.metadata)
    return path


def test_what_is_written_is_read_back(cache_file: Path) -> None:
    cache, original = FusionPredictionCache.load(cache_file), some_cache()
    np.testing.assert_array_equal(cache.anomaly_score, original.anomaly_score)
    np.testing.assert_array_equal(cache.gat_prob, original.gat_prob)
    np.testing.assert_array_equal(cache.label, original.label)
    assert cache.capture_names == ("train_01/a.csv", "train_02/b.csv")
    assert [cache.attack_names[code] for code in cache.attack[:6]] == [""] * 5 + ["dos"]
    assert cache.fingerprint == {"gat": "abc"}
    assert list(cache.components) == ["vgae_kl"]
    np.testing.assert_array_equal(cache.window, np.r_[0:20, 0:20])


def test_columns_lie_in_the_memory_map(cache_file: Path) -> None:
    cache = FusionPredictionCache.load(cache_file)
    for column in (cache.anomaly_score, cache.gat_prob, cache.label, cache.capture):
        assert not column.flags.owndata
        assert not column.flags.writeable
    assert cache.anomaly_score.dtype == np.float32
    assert np.shares_memory(cache.select(slice(3, 9)).anomaly_score, cache.anomaly_score)


def test_a_selection_gathers_a_column_when_it_is_asked_for(cache_file: Path) -> None:
    cache = FusionPredictionCache.load(cache_file)
    odd = cache.select(np.arange(40) % 2 == 1)
    some = odd.select(np.array([-1, 0, 3]))
    assert len(some) == 3
    source, rows = some.origin
    assert source is cache
    assert rows is not None
    assert rows.tolist() == [39, 1, 7]
    assert "gat_prob" not in vars(some)
    np.testing.assert_array_equal(some.gat_prob, cache.gat_prob[[39, 1, 7]])
    assert some.gat_prob is some.gat_prob
    assert some.metadata == cache.metadata
    for name, values in cache.components.items():
        np.testing.assert_array_equal(odd.components[name], values[1::2])
    changed = replace(some, label=np.ones(3, np.uint8))
    assert changed.label.tolist() == [1, 1, 1]
    np.testing.assert_array_equal(changed.window, some.window)
    np.testing.assert_array_equal(odd.select(slice(2, 4)).window, cache.window[[5, 7]])
    with pytest.raises(AttributeError, match="colour"):
        _ = some.colour
    with pytest.raises(AttributeError, match="colour"):
        _ = cache.colour
    np.testing.assert_array_equal(copy.copy(some).window, some.window)


def test_a_cache_without_windows_is_read(tmp_path: Path) -> None:
    write_predictions(tmp_path / "x.arrow", some_cache().select(slice(0, 0)).to_table(), {})
    cache = FusionPredictionCache.load(tmp_path / "x.arrow")
    assert len(cache) == 0
    assert cache.by_split() == {}


def test_pandas_reads_it(cache_file: Path) -> None:
    frame = pd.read_feather(cache_file)
    assert len(frame) == 40
    assert frame["capture"].iloc[-1] == "train_02/b.csv"


def test_a_table_in_several_pieces_is_read_whole(tmp_path: Path) -> None:
    table = some_cache().to_table()
    path = tmp_path / "pieces.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    cache = FusionPredictionCache.load(path)
    np.testing.assert_array_equal(cache.anomaly_score, some_cache().anomaly_score)


def test_items_are_states_and_labels() -> None:
    cache = FusionPredictionCache.from_arrays([0.25, 0.5], [1.0, 0.0], [0, 1])
    state, label = cache[1]
    assert state.tolist() == [0.5, 0.0]
    assert label.item() == 1
    assert cache.states.tolist() == [[0.25, 1.0], [0.5, 0.0]]
    batches = list(torch.utils.data.DataLoader(cache, batch_size=2))
    assert batches[0][0].shape == (2, 2)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.999])
def test_a_truncated_file_is_refused(cache_file: Path, share: float) -> None:
    content = cache_file.read_bytes()
    cache_file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CacheError, match=r"cache\.arrow"):
        FusionPredictionCache.load(cache_file)


def test_junk_and_absence_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CacheError, match="no prediction cache"):
        FusionPredictionCache.load(tmp_path / "none.arrow")
    junk = tmp_path / "junk.arrow"
    junk.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(CacheError, match="no readable"):
        FusionPredictionCache.load(junk)


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("anomaly_score", np.float32("nan"), "anomaly_score must be a number in"),
        ("gat_prob", np.float32(1.5), "gat_prob must be a number in"),
        ("label", np.uint8(2), "label must be 0 or 1"),
    ],
)
def test_values_out_of_range_are_refused(
    tmp_path: Path, column: str, value: np.generic, expected: str
) -> None:
    table = some_cache().to_table()
    values = table.column(column).to_numpy().copy()
    values[3] = value
    position = table.schema.get_field_index(column)
    table = table.set_column(position, column, pa.array(values))
    write_predictions(tmp_path / "bad.arrow", table, {})
    with pytest.raises(CacheError, match=rf"{expected}.*row 4"):
        FusionPredictionCache.load(tmp_path / "bad.arrow")


def test_missing_and_wrong_columns_are_named(tmp_path: Path) -> None:
    table = some_cache().to_table()
    with pytest.raises(CacheError, match="lacks gat_prob"):
        write_predictions(tmp_path / "x.arrow", table.drop_columns(["gat_prob"]), {})
    assert list(tmp_path.iterdir()) == []
    path = tmp_path / "other.arrow"
    other = pa.table({"anomaly_score": pa.array([0.5], pa.float64())})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, other.schema) as writer:
        writer.write_table(other)
    with pytest.raises(CacheError, match=r"anomaly_score \(float\).*got anomaly_score \(double\)"):
        FusionPredictionCache.load(path)


def test_a_broken_description_is_refused(tmp_path: Path) -> None:
    table = some_cache().to_table().replace_schema_metadata({METADATA_KEY: b"{half"})
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CacheError, match="not JSON"):
        FusionPredictionCache.load(path)


def scores_frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "anomaly_score": [0.1, 0.2, 0.3, 0.4],
            "gat_prob": [0.9, 0.8, 0.7, 0.6],
            "label": [0, 1, 0, 1],
            "capture": ["b", "a", "b", "a"],
            "timestamp": [2.0, 5.0, 1.0, 4.0],
            "attack": ["", "dos", None, "dos"],
        }
    )


def write_scores(frame: pd.DataFrame, path: Path) -> Path:
    writers = {".csv": frame.to_csv, ".parquet": frame.to_parquet, ".arrow": frame.to_feather}
    extra = {"index": False} if path.suffix == ".csv" else {}
    writers[path.suffix](path, **extra)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".arrow"])
def test_scores_of_other_detectors_are_grouped_by_capture_and_sorted_by_time(
    tmp_path: Path, suffix: str
) -> None:
    path = write_scores(scores_frame(), tmp_path / f"scores{suffix}")
    cache = FusionPredictionCache.from_scores(path)
    assert [cache.capture_names[code] for code in cache.capture] == ["b", "b", "a", "a"]
    assert cache.start_time.tolist() == [1.0, 2.0, 4.0, 5.0]
    np.testing.assert_allclose(cache.anomaly_score, [0.3, 0.1, 0.4, 0.2])
    assert cache.window.tolist() == [0, 1, 0, 1]
    assert cache.label.tolist() == [0, 0, 1, 1]


def test_an_arrow_stream_and_dates_are_read(tmp_path: Path) -> None:
    frame = scores_frame().drop(columns=["timestamp"])
    frame["timestamp"] = ["1970-01-01T00:00:02Z", "1970-01-01", "1970-01-01T00:00:01Z", "1970"]
    table = pa.Table.from_pandas(frame)
    path = tmp_path / "scores.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    cache = FusionPredictionCache.from_scores(path)
    assert cache.start_time.tolist() == [1.0, 2.0, 0.0, 0.0]


def test_our_own_cache_is_read_as_scores_and_test_splits_are_kept_apart(tmp_path: Path) -> None:
    cache = some_cache()
    table = cache.to_table()
    names = np.where(cache.split == 0, "train_01", "test_01")
    table = table.set_column(0, "split", pa.array(names).dictionary_encode())
    write_predictions(tmp_path / "x.arrow", table, {})
    read = FusionPredictionCache.from_scores(tmp_path / "x.arrow")
    assert list(read.by_split()) == ["train_01", "test_01"]
    assert len(read.training()) == 20
    np.testing.assert_array_equal(read.training().anomaly_score, cache.anomaly_score[:20])


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ("anomaly_score", 1.25, r"anomaly_score must be a number in \[0, 1\], got 1.25 in row 2"),
        ("gat_prob", float("nan"), "gat_prob must be a finite number.*row 2"),
        ("gat_prob", "often", "gat_prob must be a finite number, got 'often' in row 2"),
        ("label", 2, "label must be 0 or 1, got 2.0 in row 2"),
        ("label", 0.5, "label must be 0 or 1"),
        ("timestamp", "noon", "timestamp must be seconds or dates"),
    ],
)
def test_bad_scores_are_named_with_their_row(
    tmp_path: Path, column: str, value: object, expected: str
) -> None:
    frame = scores_frame().astype({column: object})
    frame.loc[1, column] = value
    path = write_scores(frame, tmp_path / "scores.csv")
    with pytest.raises(ScoresError, match=expected):
        FusionPredictionCache.from_scores(path)


def test_unreadable_scores_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match="no file of scores"):
        FusionPredictionCache.from_scores(tmp_path / "none.csv")
    with pytest.raises(ScoresError, match=r"expected a file ending in \.csv"):
        FusionPredictionCache.from_scores(tmp_path / "scores.xlsx")
    for name in ("junk.csv", "junk.parquet", "junk.arrow"):
        (tmp_path / name).write_bytes(np.random.default_rng(0).bytes(4000))
        with pytest.raises(ScoresError, match="junk"):
            FusionPredictionCache.from_scores(tmp_path / name)
    for name, content in (("empty.csv", ""), ("header.csv", "anomaly_score,gat_prob,label\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ScoresError, match="no rows"):
            FusionPredictionCache.from_scores(tmp_path / name)
    path = write_scores(scores_frame().drop(columns=["label"]), tmp_path / "nolabel.csv")
    with pytest.raises(ScoresError, match="lacks the column"):
        FusionPredictionCache.from_scores(path)


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ScoresError, match="one length"):
        FusionPredictionCache.from_arrays([0.1, 0.2], [0.5], [0, 1])


def long_cache() -> FusionPredictionCache:
    """Three captures of 400 windows; attacks in the middle of two of them."""
    windows = np.arange(1200)
    label = (windows % 400 > 150) & (windows % 400 < 260) & (windows < 800)
    half = np.full(1200, 0.5)
    return FusionPredictionCache.from_arrays(half, half, label, capture=windows // 400)


def test_held_out_windows_are_blocks_of_both_classes() -> None:
    cache = long_cache()
    train, validation = cache.train_validation_split(0.25, seed=3)
    assert set(np.unique(train.label)) == set(np.unique(validation.label)) == {0, 1}
    assert 0.15 <= len(validation) / len(cache) <= 0.35
    breaks = np.sum((np.diff(validation.window) != 1) | (np.diff(validation.capture) != 0))
    assert breaks < len(validation) / 10


def test_training_windows_do_not_touch_held_out_ones() -> None:
    train, validation = long_cache().train_validation_split(0.25, seed=3)
    held_out = set(zip(validation.capture.tolist(), validation.window.tolist(), strict=True))
    for capture, window in zip(train.capture.tolist(), train.window.tolist(), strict=True):
        assert not held_out & {(capture, window - 1), (capture, window), (capture, window + 1)}


def test_overlapping_windows_are_kept_further_apart() -> None:
    windows = np.arange(600)
    cache = FusionPredictionCache.from_arrays(
        np.full(600, 0.5),
        np.full(600, 0.5),
        windows // 100 % 2,
        start_time=windows * 1.0,
        end_time=windows + 4.5,
    )
    train, validation = cache.train_validation_split(0.25, seed=0)
    distance = np.abs(train.window[:, None] - validation.window[None, :]).min()
    assert distance == 5


@pytest.mark.parametrize("overlap", [1, 9, 99])
def test_the_guard_is_as_long_as_windows_share_frames(overlap: int) -> None:
    # As the metadata say: without end times nothing else does.
    windows = np.arange(8000)
    cache = FusionPredictionCache.from_arrays(
        np.full(8000, 0.5),
        np.full(8000, 0.5),
        (windows // 100) % 2,
        metadata={"overlap": overlap},
    )
    train, validation = cache.train_validation_split(0.25, seed=0)
    assert np.abs(train.window[:, None] - validation.window[None, :]).min() == overlap + 1
    assert 0.15 <= len(validation) / 8000 <= 0.35
    assert len(train) > 0.4 * 8000
    assert set(train.label) == set(validation.label) == {0, 1}


def test_a_guard_by_times_fits_the_busiest_part_and_counts_the_last_frame() -> None:
    # Ten windows a second for a while, else one; each is two seconds long, ends included.
    start = np.concatenate([np.arange(300), 300 + np.arange(200) / 10, 320 + np.arange(300)])
    cache = FusionPredictionCache.from_arrays(
        np.full(800, 0.5),
        np.full(800, 0.5),
        np.arange(800) // 50 % 2,
        start_time=start,
        end_time=start + 2.0,
    )
    train, validation = cache.train_validation_split(0.25, seed=0)
    apart = train.start_time[:, None] - validation.start_time[None, :]
    assert np.abs(apart).min() > 2.0


def test_the_split_is_the_same_for_the_same_seed_only() -> None:
    cache = long_cache()
    first, again, other = (cache.train_validation_split(0.25, seed)[1] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.window, again.window)
    assert not np.array_equal(first.window, other.window)


@pytest.mark.parametrize(
    "label", [[0, 1], [0] * 7, [1] * 30, [0] * 9 + [1], [0, 0, 1, 1], [0, 1] * 6]
)
def test_small_and_one_class_data_are_split_without_losing_either_side(label: list[int]) -> None:
    scores = np.full(len(label), 0.5)
    cache = FusionPredictionCache.from_arrays(scores, scores, label)
    train, validation = cache.train_validation_split(0.25, seed=0)
    assert len(train) > 0
    assert len(validation) > 0
    if min(np.bincount(label, minlength=2)) >= 2:
        assert set(train.label.tolist()) == set(validation.label.tolist()) == {0, 1}


def test_one_window_cannot_be_split() -> None:
    with pytest.raises(ScoresError, match="at least 2 windows"):
        FusionPredictionCache.from_arrays([0.5], [0.5], [1]).train_validation_split(0.25)
