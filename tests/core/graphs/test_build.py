import dataclasses
import itertools
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bench.plain_graphs import build_graphs_plainly
from core.captures.frame_table import FrameTable, frames_of
from core.config import WindowConfig
from core.errors import CaptureError, JobStopped, ShortCaptureError
from core.graphs.build import build_graphs, build_graphs_on_disk
from core.graphs.store import EDGE_FEATURES, NODE_FEATURES, WINDOW_FEATURES, GraphStore
from core.progress import SilentReporter
from tests.core.graphs.captures import random_capture


def assert_equal_to_plain(store: GraphStore, table: FrameTable, config: WindowConfig) -> None:
    graphs = build_graphs_plainly(table, config)
    assert len(store) == len(graphs)
    # Sums of intervals lose digits to the subtraction in the variance: hence not to the last bit.
    close = {"rtol": 2e-4, "atol": 2e-4}
    for g, graph in enumerate(graphs):
        nodes = slice(store.node_ptr[g], store.node_ptr[g + 1])
        edges = slice(store.edge_ptr[g], store.edge_ptr[g + 1])
        assert store.node_id[nodes].tolist() == graph.node_id
        assert store.edge_index[:, edges].T.tolist() == [list(pair) for pair in graph.edge_index]
        np.testing.assert_allclose(store.x[nodes], graph.x, **close)
        np.testing.assert_allclose(store.edge_attr[edges], graph.edge_attr, **close)
        np.testing.assert_allclose(store.window_attr[g], graph.window_attr, **close)
        assert store.y[g] == graph.y
        np.testing.assert_allclose(store.attacked_share[g], graph.attacked_share, rtol=1e-6)
        attack = store.attack_names[store.attack[g]] if store.attack[g] >= 0 else ""
        assert attack == graph.attack


windows = st.builds(
    WindowConfig,
    size=st.integers(2, 60),
    stride=st.integers(1, 80),
    duration_s=st.sampled_from([0.0, 0.0, 0.0009, 0.003, 0.01, 0.07]),
    stride_s=st.sampled_from([0.0, 0.0005, 0.002, 0.01, 0.03]),
    last=st.sampled_from(["drop", "keep"]),
    attacked_share=st.sampled_from([0.0, 0.05, 0.2]),
)
ARRAYS = tuple(
    f.name for f in dataclasses.fields(GraphStore) if f.name not in ("attack_names", "warnings")
)


@given(
    frames=st.integers(1, 400),
    ids=st.integers(1, 30),
    config=windows,
    width=st.sampled_from([8, 64]),
    extended=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_plain_implementation(
    frames: int, ids: int, config: WindowConfig, width: int, extended: bool, seed: int
) -> None:
    table = random_capture(frames, ids, seed, width, extended)
    if not build_graphs_plainly(table, config):
        with pytest.raises(ShortCaptureError):
            build_graphs(table, config)
        return
    assert_equal_to_plain(build_graphs(table, config), table, config)


def assert_same(store: GraphStore, other: GraphStore) -> None:
    assert store.attack_names == other.attack_names
    for name in ARRAYS:
        one, two = getattr(store, name), getattr(other, name)
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(one, two, err_msg=name)


def in_chunks(table: FrameTable, seed: int) -> Iterator[FrameTable]:
    """A capture cut at random places, some chunks empty."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, len(table) + 1, rng.integers(0, 12)))
    for start, stop in itertools.pairwise([0, *cuts.tolist(), len(table)]):
        yield frames_of(table, slice(start, stop))


@given(
    frames=st.integers(1, 400),
    ids=st.integers(1, 30),
    config=windows,
    width=st.sampled_from([8, 64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_capture_in_chunks_gives_the_same_store_on_disk(
    frames: int, ids: int, config: WindowConfig, width: int, seed: int
) -> None:
    table = random_capture(frames, ids, seed, width, extended=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "graphs")
        try:
            whole = build_graphs(table, config)
        except ShortCaptureError as error:
            with pytest.raises(ShortCaptureError, match=re.escape(str(error))):
                build_graphs_on_disk(in_chunks(table, seed), folder, config, width=width)
            assert not list(Path(name).iterdir())
            return
        store = build_graphs_on_disk(in_chunks(table, seed), folder, config, width=width)
        assert isinstance(store.x, np.memmap)
        assert_same(store, whole)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    table = random_capture(2_000, 12, seed=1)
    for config in (WindowConfig(50, 20), WindowConfig(50, 50), WindowConfig(duration_s=0.05)):
        monkeypatch.undo()
        whole = build_graphs(table, config)
        monkeypatch.setattr("core.graphs.build.CHUNK_FRAMES", 120)
        assert_same(whole, build_graphs(table, config))


def test_attacks_that_chunks_name_in_another_order_keep_their_names(tmp_path: Path) -> None:
    table = random_capture(400, 5, seed=3)
    first, second = (frames_of(table, slice(i, i + 200)) for i in (0, 200))
    turned = dataclasses.replace(
        second,
        attack=np.where(second.attack >= 0, 1 - second.attack, -1).astype(np.int16),
        attack_names=("replay", "dos"),
    )
    config = WindowConfig(20, 20)
    store = build_graphs_on_disk([first, turned], tmp_path / "graphs", config)
    assert_same(store, build_graphs(table, config))


def test_a_wider_chunk_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    chunks = [random_capture(200, 5, 0), random_capture(200, 5, 0, width=64)]
    with pytest.raises(CaptureError, match="payloads of 64 bytes after others of 8"):
        build_graphs_on_disk(chunks, tmp_path / "graphs")
    assert not list(tmp_path.iterdir())


def test_windows_by_time_by_hand() -> None:
    table = dataclasses.replace(
        random_capture(7, 3, seed=0), timestamp=5 + np.array([0, 1, 2, 8, 7, 60, 61]) / 8
    )
    whole = build_graphs(table, WindowConfig(duration_s=1.0))
    # The clock stands still at 1.0; of the silence until 7 there is no window.
    assert whole.first_frame.tolist() == [0, 3]
    assert whole.window_attr[:, 0].tolist() == [
        pytest.approx(len(set(table.arbitration_id[frames].tolist())) / count)
        for frames, count in ((slice(0, 3), 3), (slice(3, 5), 2))
    ]
    kept = build_graphs(table, WindowConfig(duration_s=1.0, last="keep"))
    assert kept.first_frame.tolist() == [0, 3, 5]
    overlapping = build_graphs(table, WindowConfig(duration_s=1.0, stride_s=0.125))
    assert overlapping.first_frame.tolist()[:4] == [0, 1, 2, 3]


def test_a_clock_that_is_set_back_loses_no_frames() -> None:
    clock = np.tile(np.arange(0, 5, 0.25), 2)
    table = dataclasses.replace(random_capture(40, 3, seed=0), timestamp=1e6 + clock)
    store = build_graphs(table, WindowConfig(duration_s=1.0))
    # The first frame after the fall is at 4.75 s, as the one before it.
    assert store.first_frame.tolist() == [0, 4, 8, 12, 16, 21, 25, 29, 33]


def test_a_long_silence_costs_no_window() -> None:
    table = random_capture(400, 5, seed=0)
    table.timestamp[200:] += 1e9
    config = WindowConfig(duration_s=0.01, stride_s=0.001, last="keep")
    store = build_graphs(table, config)
    assert 10 < len(store) < 10_000


def test_an_incomplete_window_is_kept_where_it_holds_frames_of_no_other() -> None:
    table = random_capture(110, 5, seed=0)

    def first_frames(**settings: Any) -> list[int]:
        return build_graphs(table, WindowConfig(last="keep", **settings)).first_frame.tolist()

    assert first_frames(size=50, stride=50) == [0, 50, 100]
    assert first_frames(size=50, stride=30) == [0, 30, 60]
    assert first_frames(size=50, stride=20) == [0, 20, 40, 60]
    assert first_frames(size=200, stride=200) == [0]
    kept = build_graphs(table, WindowConfig(50, 50, last="keep"))
    share = kept.x[kept.node_ptr[2] :, NODE_FEATURES.index("frame_share")]
    assert share.sum() == pytest.approx(1.0)


def test_a_window_counts_as_attacked_from_the_share_that_is_set() -> None:
    table = random_capture(200, 5, seed=0)
    table.label[:] = table.attack[:] = 0
    table.attack[:] = -1
    table.label[:7], table.attack[:7] = 1, 1
    table.label[100:106], table.attack[100:106] = 1, 0
    for share, y, attack in ((0.0, [1, 1], [1, 0]), (0.07, [1, 0], [1, -1]), (0.08, [0, 0], None)):
        store = build_graphs(table, WindowConfig(attacked_share=share))
        assert store.y.tolist() == y
        assert store.attack.tolist() == (attack or [-1, -1])


def test_a_stop_leaves_nothing(tmp_path: Path) -> None:
    class Stopping(SilentReporter):
        checks = 0

        def check(self) -> None:
            self.checks += 1
            if self.checks == 3:
                raise JobStopped

    table = random_capture(300, 5, seed=0)
    with pytest.raises(JobStopped):
        build_graphs_on_disk([table] * 5, tmp_path / "graphs", reporter=Stopping())
    assert not list(tmp_path.iterdir())


def test_features_by_hand() -> None:
    # Two ids: A at 0.00, 0.01, 0.03; B at 0.02. A's byte goes 1 -> 3 -> 3, B's is 0.
    table = FrameTable(
        timestamp=np.array([0.00, 0.01, 0.02, 0.03]),
        arbitration_id=np.array([0x10, 0x10, 0x20, 0x10], np.uint32),
        flags=np.zeros(4, np.uint8),
        length=np.array([1, 1, 1, 1], np.uint8),
        payload=np.array([[1], [3], [0], [3]], np.uint8).repeat(8, axis=1)
        * np.array([1, 0, 0, 0, 0, 0, 0, 0], np.uint8),
        label=np.array([0, 0, 1, 0], np.uint8),
        attack=np.array([-1, -1, 0, -1], np.int16),
        attack_names=("dos",),
    )
    store = build_graphs(table, WindowConfig(4, 4))
    a = dict(zip(NODE_FEATURES, store.x[0], strict=True))
    b = dict(zip(NODE_FEATURES, store.x[1], strict=True))
    assert store.node_id.tolist() == [0x10, 0x20]
    assert a["frame_share"] == pytest.approx(3 / 4)
    assert a["interval_log"] == pytest.approx(np.log10(0.015 + 1e-6), abs=1e-5)
    assert a["interval_variation"] == pytest.approx(1 / 3, abs=1e-4)  # 0.01 and 0.02
    assert a["interval_min_log"] == pytest.approx(np.log10(0.01 + 1e-6), abs=1e-5)
    assert a["gap_variation"] == pytest.approx(1 / 3)  # 1 and 2 frames
    assert a["changed_bits"] == pytest.approx(0.5 / 64)  # 1 bit, then none
    assert a["all_zero"] == 0
    assert b["all_zero"] == 1
    assert a["byte_mean"] == pytest.approx(7 / 3 / 255)
    # A's first frame is new in all 8 positions, its second in one, its third in none.
    assert a["novel_bytes"] == pytest.approx((8 + 1 + 0) / 8 / 3)
    assert (a["seen_once"], b["seen_once"]) == (0, 1)
    assert (a["successors"], a["predecessors"]) == (2 / 4, 2 / 4)
    assert store.edge_index.T.tolist() == [[0, 0], [0, 1], [1, 0]]
    np.testing.assert_allclose(
        store.edge_attr[:, EDGE_FEATURES.index("frame_share")], [1 / 3] * 3, rtol=1e-6
    )
    assert store.window_attr[0, WINDOW_FEATURES.index("ids")] == pytest.approx(2 / 4)
    assert store.y.tolist() == [1]
    assert store.attack_names[store.attack[0]] == "dos"


def test_a_capture_shorter_than_a_window_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"99 frames.*window of 100"):
        build_graphs(random_capture(99, 5, seed=0))


def test_ids_of_both_lengths_are_told_apart() -> None:
    table = random_capture(10, 1, seed=3)
    table.flags[5:] = 1
    store = build_graphs(table, WindowConfig(10, 10))
    identifier = int(table.arbitration_id[0])
    assert store.node_id.tolist() == [identifier, identifier + 2**31]
