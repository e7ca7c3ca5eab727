from pathlib import Path

import numpy as np
import pytest

from core.captures import arrow_io
from core.captures.dataset import Capture
from core.config import WindowConfig
from core.files import content_hash
from core.graphs.build import _frames_of, build_graphs
from core.graphs.cached import graph_store
from core.workspace import Workspace
from tests.core.graphs.captures import random_capture


def capture_of(path: Path) -> Capture:
    return Capture(path, "train_01", path.name, content_hash(path))


def test_a_capture_saved_in_chunks_is_read_chunk_by_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, window = random_capture(900, 8, seed=1, width=64), WindowConfig(50, 30)
    chunks = [_frames_of(table, slice(start, start + 250)) for start in range(0, 900, 250)]
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
