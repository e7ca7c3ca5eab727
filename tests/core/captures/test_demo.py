"""The demo data set: layout, size, labels, and the same bytes for the same seed."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from core.captures import demo
from core.captures.dataset import Dataset, open_dataset
from core.captures.readers import read_capture
from core.errors import JobStopped
from core.files import content_hash
from core.workspace import Workspace


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The demo as a first use makes it."""
    return open_dataset("demo", Workspace(tmp_path_factory.mktemp("workspace")))


def test_it_is_marked_as_simulated(dataset: Dataset) -> None:
    assert dataset.simulated
    assert dataset.warnings == ()


def test_it_has_known_and_unknown_vehicles_and_attacks(dataset: Dataset) -> None:
    def parts(split: str, which: int) -> set[str]:
        stems = [c.name.split(".")[0].rsplit("-", 1) for c in dataset.captures if split in c.split]
        return {stem[which] for stem in stems}

    assert list(dataset.tests) == [
        "test_01_known_vehicle_known_attack",
        "test_02_unknown_vehicle_known_attack",
        "test_03_known_vehicle_unknown_attack",
        "test_04_unknown_vehicle_unknown_attack",
    ]
    attacks, vehicles = parts("train_02", 0), parts("train_", 1)
    assert parts("train_01", 0) == {"attack-free"}
    assert parts("test_01", 0) <= attacks
    assert parts("test_02", 0) <= attacks
    assert not parts("test_03", 0) & attacks
    assert not parts("test_04", 0) & attacks
    assert parts("test_01", 1) | parts("test_03", 1) <= vehicles
    assert not (parts("test_02", 1) | parts("test_04", 1)) & vehicles
    assert {path.suffix for path in (c.path for c in dataset.captures)} == {".csv", ".parquet"}


def test_recordings_are_clean_at_first_and_attacked_in_part(dataset: Dataset) -> None:
    total = 0
    for capture in dataset.captures:
        table = read_capture(capture.path)
        windows = len(table) // 100
        attacked = table.label[: windows * 100].reshape(windows, 100).any(axis=1)
        total += windows
        assert table.labelled
        assert table.warnings == ()
        assert table.skipped.counts == {}
        assert 800 < len(table) / np.ptp(table.timestamp) < 3100
        if capture.split == "train_01_attack_free":
            assert not attacked.any()
            assert table.attack_names == ()
        else:
            assert not attacked[:250].any()
            assert 0.05 <= attacked.mean() <= 0.5
            assert table.attack_names == (capture.name.split("-")[0],)
            # Several bursts with clean traffic between.
            assert np.count_nonzero(np.diff(attacked.astype(int)) == 1) >= 3
    assert 7500 <= total <= 10_000


def test_the_marker_tells_what_happened_when(dataset: Dataset) -> None:
    marker = json.loads((dataset.root / demo.MARKER).read_text())
    assert list(marker["recordings"]) == [f"{r.split}/{name}" for r, name in files(dataset)]
    for capture in dataset.captures:
        told = marker["recordings"][capture.key]
        table = read_capture(capture.path)
        assert [capture.name.split(".")[0]] == [
            f"{told['attack'] or 'attack-free'}-{told['vehicle']}"
        ]
        assert len(told["intervals"]) == (demo.BURSTS if told["attack"] else 0)
        inside = np.zeros(len(table), bool)
        for start, end in told["intervals"]:
            here = (table.timestamp >= start) & (table.timestamp < end + 0.05)
            assert table.label[here].any()
            inside |= here
        assert not table.label[~inside].any()
        (first, start), *later = told["phases"]
        assert first == "standstill"
        assert abs(table.timestamp[0] - start) < 0.05
        # Whoever takes a profile takes it before the drive begins.
        assert all(np.searchsorted(table.timestamp, time) > 20_000 for _, time in later)


def files(dataset: Dataset) -> list[tuple[demo.Recording, str]]:
    """Each recording of the demo and the name of its file."""
    names = {(c.split, c.name.split(".")[0]): c.name for c in dataset.captures}
    return [(r, names[r.split, r.stem]) for r in demo.RECORDINGS]


def test_the_same_seed_gives_the_same_bytes(dataset: Dataset, tmp_path: Path) -> None:
    demo.write_demo(tmp_path / "again", seed=0)
    for capture in dataset.captures:
        assert content_hash(tmp_path / "again" / capture.key) == capture.sha256
    marker = dataset.root / demo.MARKER
    assert (tmp_path / "again" / demo.MARKER).read_bytes() == marker.read_bytes()


def test_another_seed_gives_other_vehicles() -> None:
    for name in demo.VEHICLES:
        assert demo.vehicle(name, 0).ids != demo.vehicle(name, 1).ids


class Stopper:
    """Stops the second time it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.fractions: list[float] = []

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        self.fractions.append(fraction)

    def metrics(self, step: str, values: Mapping[str, float]) -> None: ...

    def log(self, message: str) -> None: ...

    def check(self) -> None:
        self.asked += 1
        if self.asked == 2:
            raise JobStopped("stop")


def test_a_stopped_generation_leaves_nothing_behind(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(JobStopped):
        open_dataset("demo", workspace, Stopper())
    assert list(workspace.datasets.iterdir()) == []
