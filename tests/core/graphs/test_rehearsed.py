"""Which attacks are rehearsed on which captures, and their graphs on disk."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.captures import arrow_io
from core.captures.dataset import Capture, read_folder
from core.captures.frame_table import FrameTable
from core.captures.rehearsal import KINDS, TAUGHT
from core.captures.simulator import simulate_recording, simulate_vehicle
from core.config import WindowConfig
from core.graphs.rehearsed import Rehearsal, plan_rehearsals, rehearsed_store
from core.graphs.store import GraphStore
from core.workspace import Workspace

SMALL = WindowConfig(20, 20)


def test_kinds_captures_and_halves_are_dealt_out_evenly() -> None:
    plan = plan_rehearsals(["train/a", "train/b"], 16, 0, True)
    assert Counter(r.kind for r in plan) == dict.fromkeys(KINDS, 2)
    assert Counter(r.of for r in plan) == {"train/a": 8, "train/b": 8}
    assert Counter(r.half for r in plan) == {0: 8, 1: 8}
    assert len({r.key for r in plan}) == 16
    assert plan == plan_rehearsals(["train/a", "train/b"], 16, 0, True)
    assert plan != plan_rehearsals(["train/a", "train/b"], 16, 1, True)
    assert {r.kind for r in plan if r.taught} == set(TAUGHT)
    for_agent = plan_rehearsals(["train/a", "train/b"], 16, 0, False)
    assert [replace(r, taught=False) for r in plan] == for_agent
    assert plan_rehearsals([], 12, 0, True) == []
    assert plan_rehearsals(["train/a"], 0, 0, True) == []


def capture_of(table: FrameTable, tmp_path: Path) -> Capture:
    folder = tmp_path / "set" / "train_01"
    folder.mkdir(parents=True)
    arrow_io.save(table, folder / "a.arrow")
    return read_folder(tmp_path / "set", "set").train[0]


@pytest.fixture(scope="module")
def clean() -> FrameTable:
    return simulate_recording(simulate_vehicle(3), 4.0, None, 5)


def rehearsal(half: int = 0, kind: str = "DoS") -> Rehearsal:
    return Rehearsal("train_01/a.arrow", kind, half, 0)


def made(capture: Capture, one: Rehearsal, workspace: Workspace) -> GraphStore:
    store = rehearsed_store(one, capture, SMALL, workspace, seed=0)
    assert store is not None
    return store


def test_graphs_lie_in_their_half_and_on_disk(
    clean: FrameTable, tmp_path: Path, workspace: Workspace
) -> None:
    capture = capture_of(clean, tmp_path)
    middle = clean.timestamp[len(clean) // 2]
    first, second = (made(capture, rehearsal(half), workspace) for half in (0, 1))
    assert first.end_time.max() <= middle + 0.1
    assert second.start_time.min() >= middle
    for store in (first, second):
        assert 0.1 < store.y.mean() < 0.9
        assert store.attack_names == ("DoS",)
        assert not store.y[: len(store) // 5].any()
    assert len(list(workspace.graphs.iterdir())) == 2
    capture.path.unlink()  # From here on, what is on disk is all there is.
    again = made(capture, rehearsal(0), workspace)
    np.testing.assert_array_equal(again.x, first.x)


def test_too_little_traffic_or_none_with_times_is_no_use(
    clean: FrameTable, tmp_path: Path, workspace: Workspace
) -> None:
    untimed = replace(clean, timestamp=np.zeros(len(clean)), time="missing")
    attacked = replace(clean, label=np.ones(len(clean), np.uint8))
    for number, table in enumerate((untimed, attacked)):
        capture = capture_of(table, tmp_path / str(number))
        assert rehearsed_store(rehearsal(), capture, SMALL, workspace, seed=0) is None
