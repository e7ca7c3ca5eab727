"""The command line's view of data sets."""

import json
from pathlib import Path

import pytest

from core.cli.main import main
from core.workspace import Workspace


@pytest.fixture
def mine(workspace: Workspace) -> Path:
    folder = workspace.datasets / "mine"
    for split in ("train_01", "test_01"):
        (folder / split).mkdir(parents=True)
        (folder / split / "a.log").write_text("(1.0) can0 123#00\n(2.0) can0 124#00\n")
    (folder / "test_01" / "junk.csv").write_bytes(bytes(range(256)))
    return folder


def test_data_sets_are_listed(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0
    assert capsys.readouterr().out == "demo\nmine\n"
    assert main(["datasets", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == ["demo", "mine"]


def test_a_data_set_is_shown_capture_by_capture(
    mine: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets", "mine"]) == 0
    out, err = capsys.readouterr()
    first = next(line for line in out.splitlines() if line.startswith("train_01/a.log"))
    assert first.split()[1:] == ["2", "2", "1.0", "0%", "-", "0", "candump"]
    assert "junk.csv" in out
    assert "a test capture is also trained on" in err


def test_the_same_as_json(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "mine", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    facts = {capture["capture"]: capture for capture in report["captures"]}
    assert facts["train_01/a.log"]["frames"] == 2
    assert facts["test_01/junk.csv"]["error"]
    (duplicate,) = report["duplicates"]
    assert duplicate["captures"] == [["mine", "train_01/a.log"], ["mine", "test_01/a.log"]]


def test_captures_may_be_read_side_by_side(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "mine", "--jobs", "2"]) == 0
    assert "train_01/a.log 2 2 1.0" in " ".join(capsys.readouterr().out.split())
    assert main(["datasets", "mine", "--jobs", "0"]) == 2
    assert "--jobs" in capsys.readouterr().err


def test_an_unknown_name_is_one_line(mine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets", "yours"]) == 2
    assert "demo, mine" in capsys.readouterr().err


def test_a_folder_is_imported_under_a_name(
    mine: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["datasets", "copy", "--import", str(mine)]) == 0
    assert "train_01/a.log" in capsys.readouterr().out
    assert (workspace.datasets / "copy" / "test_01" / "a.log").is_file()
    assert main(["datasets", "copy", "--import", str(mine)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["datasets", "--import", str(mine)]) == 2
    assert "expected a NAME" in capsys.readouterr().err
