"""Which captures are of one vehicle, and who is tested on when a vehicle or attack is left out."""

from pathlib import Path

import numpy as np
import pytest

from core.captures.dataset import Capture, Dataset, open_dataset
from core.config import WindowConfig
from core.errors import DatasetError
from core.evaluation.rearrange import (
    Traffic,
    leave_one_attack_out,
    leave_one_vehicle_out,
    vehicles,
)
from core.graphs.cached import graph_store
from core.workspace import Workspace
from tests.core.small_dataset import ATTACKED, CLEAN, TEST_1, TEST_2


def traffic(ids, *attacks):
    return Traffic(np.array(sorted(ids)), attacks)


A, B = set(range(40)), set(range(10, 50))  # three quarters in common, as of one maker
KEYS = ("train_01/free-a", "train_01/free-b", "train_02/dos-a", "test_01/dos-b", "test_01/fuzzy-a")
FOUND = {
    KEYS[0]: traffic(A),
    KEYS[1]: traffic(B),
    KEYS[2]: traffic(A | {0x7FF}, "dos"),
    KEYS[3]: traffic(B - {12} | {0x7FF}, "dos"),
    KEYS[4]: traffic(A - {3, 4}, "fuzzy", "dos"),
}


def dataset(keys=KEYS):
    captures = (Capture(Path(k), *k.split("/"), sha256=k) for k in keys)
    return Dataset("cars", Path(), tuple(captures), simulated=False)


def roles(arranged):
    return {
        name: (
            {c.name for c in found.train},
            {c.name for part in found.tests.values() for c in part},
        )
        for name, found in arranged.items()
    }


def test_a_vehicle_is_known_by_its_regular_ids():
    assert list(vehicles(FOUND).values()) == [1, 2, 1, 2, 1]


def test_a_vehicle_that_stands_still_sends_fewer_ids_but_no_others():
    assert list(vehicles({"drive": traffic(A), "accessory": traffic(range(5, 17))}).values()) == [
        1,
        1,
    ]


def test_a_vehicle_left_out_is_tested_on_and_never_trained_on():
    assert roles(leave_one_vehicle_out(dataset(), FOUND)) == {
        "vehicle 1": ({"free-b", "dos-b"}, {"free-a", "dos-a", "fuzzy-a"}),
        "vehicle 2": ({"free-a", "dos-a", "fuzzy-a"}, {"free-b", "dos-b"}),
    }


def test_an_attack_left_out_is_tested_on_and_never_trained_on():
    assert roles(leave_one_attack_out(dataset(), FOUND)) == {
        "dos": ({"free-a", "free-b"}, {"dos-a", "dos-b", "fuzzy-a"}),
        "fuzzy": ({"free-a", "free-b", "dos-a", "dos-b"}, {"fuzzy-a"}),
    }


def test_captures_of_one_name_in_two_folders_stay_apart():
    keys = ("train_01/x", "train_02/x", "test_01/x", "test_02/x")
    found = dict(zip(keys, (traffic(A), traffic(A), traffic(B), traffic(B)), strict=True))
    for arranged in leave_one_vehicle_out(dataset(keys), found).values():
        assert len({c.key for c in arranged.captures}) == 4


def test_names_can_be_folder_names():
    found = {KEYS[0]: traffic(A), KEYS[1]: traffic(A, "a/b: c"), KEYS[2]: traffic(A, "")}
    arranged = leave_one_attack_out(dataset(), found)
    assert arranged["a/b: c"].name == "cars-without-a-b-c"
    assert arranged["unnamed"].name == "cars-without-unnamed"


def test_one_vehicle_or_attack_only_is_said():
    with pytest.raises(DatasetError, match=r"cars: .* the ids of all 2 captures are those of one"):
        leave_one_vehicle_out(dataset(), {KEYS[0]: traffic(A), KEYS[2]: traffic(A)})
    with pytest.raises(DatasetError, match="at least two of them; got dos"):
        leave_one_attack_out(dataset(), {KEYS[0]: traffic(A), KEYS[2]: traffic(A, "dos")})
    with pytest.raises(DatasetError, match="got none"):
        leave_one_attack_out(dataset(), {KEYS[0]: traffic(A)})


def read_traffic(folder: Path, workspace: Workspace) -> dict[str, Traffic]:
    found = {}
    for capture in open_dataset(str(folder), workspace).captures:
        store = graph_store(capture, WindowConfig(), workspace)
        assert store is not None
        found[capture.key] = Traffic.of(store)
    return found


def test_vehicles_and_attacks_of_captures_that_are_flooded(
    small_dataset: Path, workspace: Workspace
) -> None:
    found = read_traffic(small_dataset, workspace)
    letters = {number: set() for number in vehicles(found).values()}
    for key, number in vehicles(found).items():
        letters[number].add(key.removesuffix(".csv")[-1])
    assert sorted(map(sorted, letters.values())) == [["a"], ["b"], ["c"]]
    attacks = {key: t.attacks for key, t in found.items() if t.attacks}
    assert attacks == {
        f"{ATTACKED}/DoS-a.csv": ("DoS",),
        f"{ATTACKED}/fuzzing-b.csv": ("fuzzing",),
        f"{TEST_1}/DoS-b.csv": ("DoS",),
        f"{TEST_1}/fuzzing-a.csv": ("fuzzing",),
    }
    assert {f"{CLEAN}/clean-a.csv", f"{TEST_2}/clean-c.csv"} <= set(found)


@pytest.mark.real_data
def test_vehicles_of_real_captures(real_data: Path, workspace: Workspace) -> None:
    found = vehicles(read_traffic(real_data / "hcrl_sa", workspace))
    assert len({number for key, number in found.items() if "kia" in key}) == 1
    assert len({number for key, number in found.items() if "sonata" in key}) == 1
    assert len(set(found.values())) == 2
