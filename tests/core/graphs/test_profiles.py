import dataclasses
from pathlib import Path

import numpy as np
import pytest

from core.config import WindowConfig
from core.errors import CheckpointError
from core.graphs.profiles import (
    KnownVehicle,
    best_match,
    learn_vehicles,
    likeness,
    load_vehicle,
    save_vehicle,
    saved_vehicles,
)
from core.graphs.store import GraphStore
from tests.core.graphs.test_contamination import graphs, start

WINDOW = WindowConfig()


def learnt(**stores: GraphStore) -> tuple[list[KnownVehicle], list[str]]:
    captures = {f"train_01/{name}": (f"hash of {name}", s) for name, s in stores.items()}
    return learn_vehicles(captures, WINDOW, "x-")


def two() -> list[KnownVehicle]:
    return learnt(a=graphs(0), b=graphs(1), again=graphs(0, seed=2))[0]


def test_captures_of_one_vehicle_make_one_profile() -> None:
    first, second = two()
    assert first.name == "x-vehicle-1"
    assert set(first.captures) == {"train_01/a", "train_01/again"}
    assert second.captures == {"train_01/b": "hash of b"}
    assert first.profile.windows == len(graphs(0)) + len(graphs(0, seed=2))
    np.testing.assert_array_equal(first.profile.ids, np.unique(graphs(0).node_id))


def test_attacked_captures_teach_only_where_there_is_no_clean_one() -> None:
    attacked = graphs(0, "DoS", 0.3)
    (known,), _ = learnt(a=graphs(0), attacked=attacked)
    assert set(known.captures) == {"train_01/a"}
    (known,), warnings = learnt(attacked=attacked)
    assert known.profile.windows == int((attacked.y == 0).sum())
    assert 0 not in known.profile.ids
    assert warnings == []


def test_an_attack_in_a_capture_said_to_be_clean_is_noticed() -> None:
    attacked = graphs(0, "DoS", 0.3)
    mislabelled = dataclasses.replace(attacked, y=np.zeros_like(attacked.y))
    (known,), (warning,) = learnt(a=mislabelled)
    assert "train_01/a" in warning
    assert "look attacked" in warning
    assert 0 not in known.profile.ids


@pytest.mark.parametrize("attack", ["", "DoS", "fuzzing", "malfunction"])
def test_a_capture_is_matched_by_ids_and_timing(attack: str) -> None:
    known = two()
    for vehicle, expected in ((0, known[0]), (1, known[1]), (2, None)):
        assert best_match(known, start(graphs(vehicle, attack, 1.0, seed=5))) is expected


def test_the_same_ids_with_another_rhythm_are_another_vehicle() -> None:
    (vehicle,), _ = learnt(a=graphs(0))
    stretch = start(graphs(0, seed=2))
    slower = stretch.x.copy()
    slower[:, 1] += np.log10(3)
    like = likeness(vehicle.profile, dataclasses.replace(stretch, x=slower))
    assert like.ids == 1
    assert like.rhythm == 0
    assert not like.same_vehicle


def test_ids_never_seen_make_no_match() -> None:
    (vehicle,), _ = learnt(a=graphs(0))
    stretch = start(graphs(0))
    stranger = dataclasses.replace(stretch, node_id=stretch.node_id + 2**20)
    assert not likeness(vehicle.profile, stranger).same_vehicle


def test_a_saved_vehicle_comes_back(tmp_path: Path) -> None:
    vehicle = two()[0]
    saved = save_vehicle(vehicle, tmp_path)
    found = load_vehicle(tmp_path / "x-vehicle-1.safetensors")
    for one in (saved, found):
        assert (one.name, dict(one.captures), one.revision) == (
            vehicle.name,
            dict(vehicle.captures),
            1,
        )
        for name, value in dataclasses.asdict(vehicle.profile).items():
            np.testing.assert_array_equal(value, getattr(one.profile, name), err_msg=name)


def test_another_profile_under_the_name_is_another_revision(tmp_path: Path) -> None:
    first, second = two()
    made = save_vehicle(first, tmp_path).made
    again = save_vehicle(first, tmp_path)
    assert (again.revision, again.made) == (1, made)
    assert save_vehicle(dataclasses.replace(second, name=first.name), tmp_path).revision == 2


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x-vehicle-1.safetensors"
    save_vehicle(two()[0], tmp_path)
    whole = path.read_bytes()
    for content in (
        whole[:-100],
        b"",
        b"junk" * 50,
        whole.replace(b'\\"version\\": 1', b'\\"version\\": 9'),
    ):
        assert content != whole
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="vehicle-1"):
            load_vehicle(path)
        vehicles, problems = saved_vehicles(tmp_path)
        assert vehicles == []
        assert len(problems) == 1
    with pytest.raises(CheckpointError):
        load_vehicle(tmp_path / "missing.safetensors")
