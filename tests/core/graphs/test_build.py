import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bench.plain_graphs import build_graphs_plainly
from core.captures.frame_table import FrameTable
from core.config import WindowConfig
from core.errors import CaptureError
from core.graphs.build import build_graphs
from core.graphs.store import EDGE_FEATURES, NODE_FEATURES, WINDOW_FEATURES, GraphStore
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
        attack = store.attack_names[store.attack[g]] if store.attack[g] >= 0 else ""
        assert attack == graph.attack


@given(
    frames=st.integers(2, 400),
    ids=st.integers(1, 30),
    size=st.integers(2, 60),
    stride=st.integers(1, 80),
    width=st.sampled_from([8, 64]),
    extended=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_the_plain_implementation(
    frames: int, ids: int, size: int, stride: int, width: int, extended: bool, seed: int
) -> None:
    table = random_capture(max(frames, size), ids, seed, width, extended)
    config = WindowConfig(size, stride)
    assert_equal_to_plain(build_graphs(table, config), table, config)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    table, config = random_capture(2_000, 12, seed=1), WindowConfig(50, 20)
    whole = build_graphs(table, config)
    monkeypatch.setattr("core.graphs.build.CHUNK_FRAMES", 120)
    pieces = build_graphs(table, config)
    for name in ("node_ptr", "edge_ptr", "x", "node_id", "edge_index", "edge_attr", "window_attr"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(pieces, name))


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
