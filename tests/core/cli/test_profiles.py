"""The command line's view of vehicles whose profiles are kept."""

import json
from pathlib import Path

import pytest

from core.captures.formats import candump
from core.captures.simulator import AttackSpec, simulate_recording, simulate_vehicle
from core.cli.main import main
from core.config import WindowConfig
from core.graphs.profiles import learn_vehicles, save_vehicle
from core.workspace import Workspace
from tests.core.graphs.test_contamination import graphs


@pytest.fixture
def two(workspace: Workspace) -> Workspace:
    captures = {"train_01/a": ("1", graphs(0)), "train_01/b": ("2", graphs(1))}
    for vehicle in learn_vehicles(captures, WindowConfig(), "mine-")[0]:
        save_vehicle(vehicle, workspace.profiles)
    return workspace


def written(folder: Path, vehicle: int, attack: str = "") -> str:
    spec = AttackSpec(attack, ((0.0, 6.0),)) if attack else None
    path = folder / "capture.log"
    candump.write(simulate_recording(simulate_vehicle(vehicle), 6.0, spec, 9), path)
    return str(path)


def test_vehicles_are_listed(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert header.split()[:5] == ["vehicle", "ids", "windows", "captures", "rev"]
    assert first.split()[0] == "mine-vehicle-1"
    assert first.split()[2] == str(len(graphs(0)))
    assert second.split()[-1] == "train_01/b"
    assert main(["profiles", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["captures"] for row in listed] == [{"train_01/a": "1"}, {"train_01/b": "2"}]
    assert [row["revision"] for row in listed] == [1, 1]


def test_without_any_there_is_but_a_header(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_damaged_one_is_told(two: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    (two.profiles / "mine-vehicle-1.safetensors").write_bytes(b"junk")
    assert main(["profiles"]) == 0
    out, err = capsys.readouterr()
    assert "mine-vehicle-2" in out
    assert "mine-vehicle-1.safetensors: not a vehicle's profile" in err


def test_a_capture_is_compared_with_each(
    two: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles", written(tmp_path, 1)]) == 0
    out, err = capsys.readouterr()
    _, first, second = out.splitlines()
    assert first.startswith("mine-vehicle-2")
    assert first.endswith("the same vehicle")
    assert second.endswith("another vehicle")
    assert err == ""


def test_a_start_under_attack_and_an_unknown_vehicle_are_told(
    two: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles", written(tmp_path, 2, "DoS")]) == 0
    out, err = capsys.readouterr()
    assert "the same vehicle" not in out
    assert "look attacked" in err
    assert "of none of the 2 vehicles" in err


def test_what_is_no_capture_is_answered_with_2(
    two: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["profiles", str(tmp_path / "missing.log")]) == 2
    assert capsys.readouterr().err.startswith("error: ")
