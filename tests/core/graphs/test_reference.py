"""Relative features, against plain loops over windows, nodes and edges."""

import dataclasses
import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures.frame_table import FrameTable
from core.config import WindowConfig
from core.graphs.build import build_graphs
from core.graphs.reference import (
    COMPARED,
    RELATIVE_EDGE_FEATURES,
    RELATIVE_NODE_FEATURES,
    RELATIVE_WINDOW_FEATURES,
    Relative,
    commission,
    relate_to_past,
    relate_to_past_in_parts,
    relate_to_profile,
)
from core.graphs.store import NODE_FEATURES, WINDOW_FEATURES, GraphStore
from tests.core.graphs.captures import random_capture

ARRAYS = ("x", "edge_attr", "window_attr")


def store_of(frames: int = 600, ids: int = 9, seed: int = 0) -> GraphStore:
    return build_graphs(random_capture(frames, ids, seed), WindowConfig(30, 20))


class PlainHabit:
    """What was seen of ids, transitions and windows so far."""

    def __init__(self) -> None:
        self.nodes: dict[int, list[dict[str, float]]] = defaultdict(list)
        self.edges: dict[tuple[int, int], int] = defaultdict(int)
        self.windows: list[np.ndarray] = []

    def learn(self, store: GraphStore, g: int) -> None:
        for row in rows(store.node_ptr, g):
            values = dict(zip(NODE_FEATURES, store.x[row].tolist(), strict=True))
            self.nodes[int(store.node_id[row])].append(values)
        for row in rows(store.edge_ptr, g):
            self.edges[ends(store, g, row)] += 1
        self.windows.append(store.window_attr[g].astype(float))


def rows(pointer: np.ndarray, g: int) -> range:
    return range(int(pointer[g]), int(pointer[g + 1]))


def ends(store: GraphStore, g: int, row: int) -> tuple[int, int]:
    source, target = store.node_ptr[g] + store.edge_index[:, row]
    return int(store.node_id[source]), int(store.node_id[target])


def relate_plainly(
    store: GraphStore, g: int, habit: PlainHabit, spread_of: str
) -> tuple[list[list[float]], list[list[float]], list[float]]:
    """Node, edge and window features of window ``g`` relative to a habit, by their formulas."""
    x, edge_attr = [], []
    unseen_frames = unseen_ids = unseen_transitions = 0.0
    for row in rows(store.node_ptr, g):
        past = habit.nodes.get(int(store.node_id[row]), [])
        now = dict(zip(NODE_FEATURES, store.x[row].tolist(), strict=True))
        shifts = []
        for name, noise in COMPARED.items():
            before = [values[name] for values in past] or [0.0]
            mean = math.fsum(before) / len(before)
            std = math.sqrt(math.fsum((v - mean) ** 2 for v in before) / len(before))
            trust = len(past) / (len(past) + 3)
            shifts.append(math.asinh(trust * (now[name] - mean) / (std + noise)))
        unseen = float(not past)
        presence = len(past) / max(len(habit.windows), 1)
        x.append([unseen, presence, math.log(1 + len(past)) / 5, *shifts])
        unseen_frames += unseen * now["frame_share"]
        unseen_ids += unseen / len(rows(store.node_ptr, g))
    for row in rows(store.edge_ptr, g):
        count = habit.edges.get(ends(store, g, row), 0)
        edge_attr.append([float(count == 0), count / max(len(habit.windows), 1)])
        unseen_transitions += float(count == 0) * float(store.edge_attr[row, 0])
    attr = store.window_attr[g].astype(float)
    windows = np.array(habit.windows or [attr])
    center = np.array([float(np.median(column)) for column in windows.T])
    if spread_of == "lower quartile":
        spread = 1.4826 * (center - np.quantile(windows, 0.25, axis=0))
    else:
        spread = 1.4826 * np.median(np.abs(windows - center), axis=0)
    window = np.arcsinh((attr - center) / (spread + 0.02)).tolist()
    return x, edge_attr, [*window, unseen_frames, unseen_ids, unseen_transitions]


def assert_window_equals(
    store: GraphStore, relative: Relative, g: int, habit: PlainHabit, spread_of: str
) -> None:
    x, edge_attr, window_attr = relate_plainly(store, g, habit, spread_of)
    close = {"rtol": 1e-3, "atol": 1e-3}
    np.testing.assert_allclose(relative.x[rows(store.node_ptr, g)], x, **close)
    np.testing.assert_allclose(relative.edge_attr[rows(store.edge_ptr, g)], edge_attr, **close)
    np.testing.assert_allclose(relative.window_attr[g], window_attr, **close)


captures = given(
    frames=st.integers(20, 300),
    ids=st.integers(1, 12),
    size=st.integers(2, 40),
    stride=st.integers(1, 50),
    extended=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)


@captures
def test_relation_to_the_past_equals_a_loop_over_windows(
    frames: int, ids: int, size: int, stride: int, extended: bool, seed: int
) -> None:
    table = random_capture(max(frames, size), ids, seed, extended=extended)
    store = build_graphs(table, WindowConfig(size, stride))
    relative = relate_to_past(store)
    habit = PlainHabit()
    for g in range(len(store)):
        # Compared before it is learnt: the window itself is no part of its past.
        assert_window_equals(store, relative, g, habit, "lower quartile")
        habit.learn(store, g)


@captures
def test_relation_to_a_profile_equals_a_loop_over_windows(
    frames: int, ids: int, size: int, stride: int, extended: bool, seed: int
) -> None:
    table = random_capture(max(frames, size), ids, seed, extended=extended)
    store = build_graphs(table, WindowConfig(size, stride))
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(store)) < 0.4)
    chosen = chosen if len(chosen) else np.array([0])
    habit = PlainHabit()
    for g in chosen:
        habit.learn(store, int(g))
    profile = commission(store, chosen)
    assert profile.windows == len(chosen)
    assert profile.ids.tolist() == sorted(habit.nodes)
    assert profile.count.tolist() == [len(habit.nodes[i]) for i in sorted(habit.nodes)]
    assert sorted(profile.transition_count) == sorted(habit.edges.values())
    relative = relate_to_profile(store, profile)
    for g in range(len(store)):
        assert_window_equals(store, relative, g, habit, "median deviation")


@pytest.mark.parametrize("windows", [1, 4, 7, 100])
def test_parts_of_a_store_are_related_as_the_whole(windows: int) -> None:
    store = store_of(frames=1200, ids=12, seed=3)
    parts = list(relate_to_past_in_parts(store, windows))
    assert sum(len(part) for part, _ in parts) == len(store)
    whole = relate_to_past(store)
    for name in ARRAYS:
        joined = np.concatenate([getattr(relative, name) for _, relative in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=1e-4, atol=1e-4)


def test_columns_are_as_named() -> None:
    store = store_of()
    relative = relate_to_past(store)
    assert relative.x.shape == (len(store.x), len(RELATIVE_NODE_FEATURES))
    assert relative.edge_attr.shape == (len(store.edge_attr), len(RELATIVE_EDGE_FEATURES))
    assert relative.window_attr.shape == (len(store), len(RELATIVE_WINDOW_FEATURES))
    assert len(WINDOW_FEATURES) + 3 == len(RELATIVE_WINDOW_FEATURES)


def test_relation_to_the_past_by_hand() -> None:
    # Windows of two frames: (A, A), (A, A), (A, B).
    table = FrameTable(
        timestamp=np.arange(6) * 0.01,
        arbitration_id=np.array([1, 1, 1, 1, 1, 2], np.uint32),
        flags=np.zeros(6, np.uint8),
        length=np.full(6, 8, np.uint8),
        payload=np.zeros((6, 8), np.uint8),
        label=np.zeros(6, np.uint8),
        attack=np.full(6, -1, np.int16),
    )
    relative = relate_to_past(build_graphs(table, WindowConfig(2, 2)))
    column = RELATIVE_NODE_FEATURES.index
    np.testing.assert_array_equal(relative.x[:, column("unseen")], [1, 0, 0, 1])
    np.testing.assert_array_equal(relative.x[:, column("presence")], [0, 1, 1, 0])
    np.testing.assert_allclose(
        relative.x[:, column("experience")], [0, np.log(2) / 5, np.log(3) / 5, 0], rtol=1e-6
    )
    # A's share of the frames was 1 with spread 0 in two windows, and is now a half.
    expected = np.arcsinh(2 / (2 + 3) * (0.5 - 1) / 0.01)
    assert relative.x[2, column("frame_share_shift")] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_array_equal(relative.edge_attr, [[1, 0], [0, 1], [1, 0]])
    unseen = relative.window_attr[:, -3:]
    np.testing.assert_allclose(unseen, [[1, 1, 1], [0, 0, 0], [0.5, 0.5, 1]])


@given(cut=st.integers(0, 28), seed=st.integers(0, 2**32 - 1))
def test_later_frames_never_change_earlier_rows(cut: int, seed: int) -> None:
    config = WindowConfig(30, 20)
    table = random_capture(600, 9, seed)
    other = random_capture(600, 15, seed + 1)
    kept = cut * config.stride + config.size  # frames of windows 0 to cut
    changed = {
        name: np.concatenate([getattr(table, name)[:kept], getattr(other, name)[kept:]])
        for name in ("arbitration_id", "payload", "length", "label", "attack", "timestamp")
    }
    first = build_graphs(table, config)
    second = build_graphs(dataclasses.replace(table, **changed), config)
    before, after = relate_to_past(first), relate_to_past(second)
    for name, pointer in (("x", first.node_ptr), ("edge_attr", first.edge_ptr)):
        upto = pointer[cut + 1]
        np.testing.assert_allclose(
            getattr(before, name)[:upto], getattr(after, name)[:upto], rtol=1e-4, atol=1e-4
        )
    np.testing.assert_allclose(
        before.window_attr[: cut + 1], after.window_attr[: cut + 1], rtol=1e-4, atol=1e-4
    )
    if cut < 20:
        assert not np.allclose(before.window_attr[cut + 1 :], after.window_attr[cut + 1 :])


def test_a_profile_knows_only_its_windows() -> None:
    config = WindowConfig(30, 20)
    table, other = random_capture(600, 9, 3), random_capture(600, 15, 4)
    first_windows = np.arange(8)
    kept = 7 * config.stride + config.size
    changed = {
        name: np.concatenate([getattr(table, name)[:kept], getattr(other, name)[kept:]])
        for name in ("arbitration_id", "payload", "length", "timestamp")
    }
    one = commission(build_graphs(table, config), first_windows)
    two = commission(build_graphs(dataclasses.replace(table, **changed), config), first_windows)
    for name, value in dataclasses.asdict(one).items():
        np.testing.assert_array_equal(value, getattr(two, name), err_msg=name)


@pytest.mark.parametrize("relate", ["past", "profile"])
def test_the_number_of_an_id_means_nothing(relate: str) -> None:
    table = random_capture(600, 9, 5)
    ids = np.unique(table.arbitration_id)
    renumbered = dict(zip(ids, (7 * ids[::-1] + 3) % 2**29, strict=True))
    other = dataclasses.replace(
        table,
        arbitration_id=np.array([renumbered[i] for i in table.arbitration_id], np.uint32),
        flags=np.ones(len(table), np.uint8),
    )
    relatives = []
    for capture in (table, other):
        store = build_graphs(capture, WindowConfig(30, 20))
        relative = (
            relate_to_past(store)
            if relate == "past"
            else relate_to_profile(store, commission(store, np.arange(6)))
        )
        relatives.append((store, relative))
    (store_a, a), (store_b, b) = relatives
    np.testing.assert_allclose(a.window_attr, b.window_attr, rtol=1e-4, atol=1e-4)
    for g, name in itertools.product(range(len(store_a)), ("x", "edge_attr")):
        pointer = "node_ptr" if name == "x" else "edge_ptr"
        some = [
            np.sort(getattr(r, name)[rows(getattr(s, pointer), g)].sum(1))
            for s, r in ((store_a, a), (store_b, b))
        ]
        np.testing.assert_allclose(some[0], some[1], rtol=1e-3, atol=1e-3)


def test_a_single_window_is_finite() -> None:
    store = build_graphs(random_capture(30, 5, seed=0), WindowConfig(30, 30))
    assert len(store) == 1
    for relative in (relate_to_past(store), relate_to_profile(store, commission(store, np.r_[0]))):
        for name in ARRAYS:
            assert np.isfinite(getattr(relative, name)).all()
    # It has only itself to be compared with.
    assert not relate_to_past(store).window_attr[0, : len(WINDOW_FEATURES)].any()
