"""Frame tables put together piece by piece: the last one says what the only one would say."""

import tracemalloc
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.captures import rows
from core.captures.rows import BadLine, Columns, Quarantine, TableBuilder, concatenate
from core.errors import CaptureError

NAMES = ("dos", "fuzzing", "spoofing")
ROWS = st.tuples(st.sampled_from([0.0, 1.0, 2.0, 2e8, 3e8]), st.integers(-1, 3))


def columns_of(frames: list[tuple[float, int]]) -> Columns:
    """Frames with these times and labels."""
    columns = Columns.empty(len(frames))
    columns.timestamp = np.array([time for time, _ in frames], np.float64)
    columns.label = np.array([label for _, label in frames], np.int16)
    return columns


@given(
    pieces=st.lists(st.lists(ROWS, max_size=5), min_size=1, max_size=5),
    junk=st.lists(st.sampled_from(["a", "b"]), max_size=5),
)
def test_the_last_piece_says_what_the_whole_says(
    pieces: list[list[tuple[float, int]]], junk: list[str]
) -> None:
    pieces = [[(1.0, 0)] * 5, *pieces]  # The first frames tell what the times are.
    quarantine, builder = Quarantine(), TableBuilder(Path("x"), "test")
    parts = []
    for number, piece in enumerate(pieces):
        for reason in junk[number : number + 1] if number < len(pieces) - 1 else junk[number:]:
            quarantine.add(number, reason, "")
        parts.append(builder.add(columns_of(piece), quarantine, NAMES, ["one"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "LOOK_FRAMES", 5)
        whole = TableBuilder(Path("x"), "test").add(
            columns_of(list(chain(*pieces))), quarantine, NAMES, ["one"]
        )
    for name in ("timestamp", "label", "attack"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))
        parts[-1] = replace(parts[-1], **{name: getattr(whole, name)})
    for name in ("attack_names", "labelled", "time", "skipped", "warnings"):
        assert getattr(parts[-1], name) == getattr(whole, name)


def test_parts_are_put_together_with_little_more_memory_than_they_take() -> None:
    tracemalloc.start()
    parts = [columns_of([(float(number), number % 4)] * 10_000) for number in range(50)]
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    whole = concatenate(parts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert whole.timestamp.tolist() == [float(k // 10_000) for k in range(500_000)]
    assert whole.label[::10_000].tolist() == [number % 4 for number in range(50)]
    assert whole.payload.shape == (500_000, 8)
    assert peak < 1.5 * held  # The widest column is a third of them.


def test_payloads_are_as_wide_as_the_widest() -> None:
    narrow, wide = columns_of([(1.0, 0)]), Columns.empty(1, 64)
    narrow.payload[0], wide.payload[0] = range(1, 9), range(64)
    whole = concatenate([narrow, wide])
    assert whole.payload.tolist() == [[*range(1, 9), *[0] * 56], list(range(64))]
    assert concatenate([]).payload.shape == (0, 8)


def test_attacks_are_numbered_in_the_order_of_their_frames() -> None:
    columns = columns_of([(0, 3), (1, 0), (2, 1), (3, 3)])
    table = TableBuilder(Path("x"), "test").add(columns, Quarantine(), NAMES)
    assert table.attack_names == ("spoofing", "dos")
    assert table.attack.tolist() == [0, -1, 1, 0]


def test_a_piece_without_frames_is_refused_only_where_none_came_before() -> None:
    quarantine = Quarantine()
    quarantine.add(1, str(BadLine("odd")), "x")
    builder = TableBuilder(Path("x"), "test")
    with pytest.raises(CaptureError, match=r"x: nothing usable as test: odd \(1\)"):
        builder.add(columns_of([]), quarantine, "attack")
    builder.add(columns_of([(1.0, 1)]), quarantine, "attack")
    last = builder.add(columns_of([]), quarantine, "attack")
    assert (len(last), last.attack_names) == (0, ("attack",))
