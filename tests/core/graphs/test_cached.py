import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.captures import arrow_io
from core.captures.dataset import Capture
from core.captures.formats import candump
from core.captures.frame_table import FrameTable, frames_of
from core.captures.readers import read_capture
from core.config import WindowConfig
from core.errors import CaptureError
from core.files import content_hash
from core.graphs.build import build_graphs
from core.graphs.cached import graph_store
from core.workspace import Workspace
from tests.core.graphs.captures import random_capture


def capture_of(path: Path) -> Capture:
    return Capture(path, "train_01", path.name, content_hash(path))


def test_a_capture_saved_in_chunks_is_read_chunk_by_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, window = random_capture(900, 8, seed=1, width=64), WindowConfig(50, 30)
    chunks = [frames_of(table, slice(start, start + 250)) for start in range(0, 900, 250)]
    arrow_io.save_chunks(chunks, tmp_path / "x.arrow")
    # Not read at once, which is what memory would not suffice for.
    monkeypatch.setattr("core.captures.arrow_io.load", None)
    store = graph_store(capture_of(tmp_path / "x.arrow"), window, Workspace(tmp_path / "w"))
    assert store is not None
    expected = build_graphs(table, window)
    assert store.attack_names == expected.attack_names
    for name in ("x", "node_id", "edge_index", "edge_attr", "window_attr", "y", "attack"):
        np.testing.assert_array_equal(getattr(store, name), getattr(expected, name))


def test_a_capture_without_a_window_leaves_nothing(tmp_path: Path) -> None:
    arrow_io.save(random_capture(99, 8, seed=1), tmp_path / "x.arrow")
    workspace = Workspace(tmp_path / "w")
    assert graph_store(capture_of(tmp_path / "x.arrow"), WindowConfig(), workspace) is None
    assert not list(workspace.graphs.glob("*"))


def lines_of(table: FrameTable) -> list[str]:
    kind = ("#", "##0")
    return [
        f"({time:.6f}) can0 {number:03X}{kind[length > 8]}{payload[:length].tobytes().hex()}"
        for time, number, length, payload in zip(
            table.timestamp, table.arbitration_id, table.length.tolist(), table.payload, strict=True
        )
    ]


@pytest.mark.parametrize("late", [8, 64])
def test_a_text_capture_streams_and_has_the_same_graphs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, late: int
) -> None:
    window = WindowConfig(50, 30)
    # Frames with more than eight bytes come only in later chunks.
    narrow, wide = random_capture(400, 8, seed=1), random_capture(400, 8, seed=2, width=late)
    last = narrow.timestamp[-1] + 1.0
    later = dataclasses.replace(wide, timestamp=wide.timestamp - wide.timestamp[0] + last)
    path = tmp_path / "x.log"
    path.write_text("\n".join([*lines_of(narrow), *lines_of(later)]))
    expected = build_graphs(read_capture(path), window)
    read: list[int] = []

    def read_chunks(path: Path) -> Iterator[FrameTable]:
        for chunk in candump.read_chunks(path, 70):
            read.append(len(chunk))
            yield chunk

    monkeypatch.setattr("core.captures.text.BLOCK_BYTES", 500)
    monkeypatch.setattr("core.captures.text.read_text.__defaults__", (500,))
    monkeypatch.setattr("core.graphs.cached.read_chunks", read_chunks)
    store = graph_store(capture_of(path), window, Workspace(tmp_path / "w"))
    assert store is not None
    assert len(read) > 5
    assert max(read) < 150
    for name in ("x", "node_id", "edge_index", "edge_attr", "window_attr", "y", "attack"):
        np.testing.assert_array_equal(getattr(store, name), getattr(expected, name))


def test_what_the_reader_set_aside_is_kept_with_the_graphs(tmp_path: Path) -> None:
    lines = lines_of(random_capture(400, 5, seed=1))
    path = tmp_path / "a.log"
    path.write_text("\n".join([*lines[:200], "(0.5) can0 1FF#0", *lines[200:]]) + "\n")
    workspace = Workspace(tmp_path / "workspace")
    for _ in range(2):  # Built, then from disk.
        store = graph_store(capture_of(path), WindowConfig(), workspace)
        assert store is not None
        told = [warning for warning in store.warnings if "skipped" in warning]
        assert told == ["1 of 401 lines skipped: payload has an odd number of digits (1)"]
        assert store.windows(0, 2).warnings == store.warnings


def test_windows_by_time_of_a_capture_without_times_name_it(tmp_path: Path) -> None:
    path = tmp_path / "untimed.arrow"
    table = random_capture(300, 5, seed=1)
    arrow_io.save(dataclasses.replace(table, time="missing"), path)
    workspace = Workspace(tmp_path / "workspace")
    with pytest.raises(CaptureError, match=r"untimed\.arrow: windows by time need times"):
        graph_store(capture_of(path), WindowConfig(duration_s=1.0), workspace)
