import dataclasses
import functools
import os
from pathlib import Path

import numpy as np
import pytest

from core.captures.readers import read_capture
from core.captures.simulator import AttackSpec, simulate_recording, simulate_vehicle
from core.config import WindowConfig
from core.graphs.build import build_graphs
from core.graphs.contamination import is_contaminated, odd_windows
from core.graphs.reference import commission
from core.graphs.store import GraphStore

DATA = Path(os.environ.get("CANFUSION_DATA", "../shared/data"))


@functools.cache
def graphs(vehicle: int, attack: str = "", part: float = 1.0, seed: int = 1) -> GraphStore:
    """Ten seconds, attacked from the start for a ``part`` of them."""
    spec = AttackSpec(attack, ((0.0, part * 10.0),)) if attack else None
    return build_graphs(
        simulate_recording(simulate_vehicle(vehicle), 10.0, spec, seed), WindowConfig()
    )


def start(store: GraphStore, windows: int = 100) -> GraphStore:
    return store.windows(0, min(windows, len(store)))


@pytest.mark.parametrize("vehicle", range(8))
@pytest.mark.parametrize("windows", [15, 60, 200])
def test_clean_traffic_is_clean(vehicle: int, windows: int) -> None:
    assert not odd_windows(start(graphs(vehicle), windows)).any()


@pytest.mark.parametrize("attack", ["DoS", "fuzzing", "malfunction"])
@pytest.mark.parametrize("vehicle", [0, 1])
@pytest.mark.parametrize("part", [0.3, 1.0])
def test_a_start_under_attack_is_noticed(attack: str, vehicle: int, part: float) -> None:
    stretch = start(graphs(vehicle, attack, part))
    odd = odd_windows(stretch)
    assert is_contaminated(odd)
    assert odd[stretch.y == 1].mean() > 0.8
    assert not odd[stretch.y == 0].any()


def test_labels_are_not_looked_at() -> None:
    stretch = start(graphs(0, "DoS", 0.3))
    other = dataclasses.replace(stretch, y=1 - stretch.y, attack=-1 - stretch.attack)
    np.testing.assert_array_equal(odd_windows(stretch), odd_windows(other))


def test_ids_that_the_vehicle_does_not_have_are_noticed() -> None:
    stretch = start(graphs(0, seed=3))
    own, other = (commission(graphs(v), np.arange(100)) for v in (0, 1))
    assert not odd_windows(stretch, own).any()
    assert odd_windows(stretch, other).all()


def test_a_vehicle_may_begin_to_send_more_ids() -> None:
    """As one does when the ignition is switched on: no stray ids, although seen in few windows."""
    before, after = graphs(0).windows(0, 170), graphs(1).windows(0, 5)
    assert not is_contaminated(odd_windows(GraphStore.join([before, after])))


def test_few_odd_windows_may_be_chance() -> None:
    odd = np.zeros(200, bool)
    odd[:5] = True
    assert not is_contaminated(odd)
    odd[:6] = True
    assert is_contaminated(odd)
    assert not is_contaminated(np.arange(1000) < 25)


def test_a_capture_without_times_is_not_taken_for_flooded() -> None:
    table = simulate_recording(simulate_vehicle(0), 5.0, None, 1)
    table.timestamp[:] = 0.0
    assert not odd_windows(build_graphs(table, WindowConfig())).any()


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="no real captures")
@pytest.mark.parametrize("folder", ["hcrl_sa", "set_04"])
def test_real_traffic(folder: str) -> None:
    """No clean stretch is taken for attacked; flooded, fuzzed and injected ones are."""
    noticed = {True: 0, False: 0}
    for path in sorted((DATA / folder).rglob("*.parquet")):
        if "payload_fuzzing" in path.name or "systematic" in path.name:
            continue  # Timing and ids stay as they are: said not to be noticed.
        store = build_graphs(read_capture(path), WindowConfig())
        for first in range(0, max(1, len(store) - 199), 100):
            stretch = store.windows(first, min(first + 200, len(store)))
            attacked = int(stretch.y.sum())
            if 0 < attacked <= 10:
                continue
            assert is_contaminated(odd_windows(stretch)) == (attacked > 0), (path.name, first)
            noticed[attacked > 0] += 1
    assert min(noticed.values()) > 3
