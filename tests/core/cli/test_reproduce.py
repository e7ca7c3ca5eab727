"""``python -m core reproduce``: results, exit codes, one line for whatever is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from core import pipeline
from core.cli.main import main
from core.config import FusionConfig, override
from core.workspace import Workspace
from tests.core.small_dataset import (
    ATTACKED,
    CLEAN,
    TEST_1,
    TEST_2,
    recording,
    small_config,
    write,
)

PROGRESS = (
    "warning: ",
    "graphs",
    "vgae",
    "gat",
    "cache",
    "fusion",
    "compare",
    "prediction cache",
    "detectors",
)


@pytest.fixture(autouse=True)
def small_settings(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    """Tiny networks instead of the default ones, and a workspace of our own."""

    def create(dataset: str, **changes: Any) -> FusionConfig:
        return override(small_config(Path(dataset)), changes)

    monkeypatch.setattr(pipeline, "create_fusion_config", create)


def reproduce(*arguments: object) -> int:
    return main(["reproduce", *map(str, arguments)])


def the_error(capsys: pytest.CaptureFixture[str]) -> str:
    """The only line on standard error besides progress; nothing is on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    assert err.endswith("\n")
    *progress, last = err.splitlines()
    assert all(line.startswith(PROGRESS) for line in progress), progress
    assert last.startswith("error: ")
    return last


def test_results_are_written_and_told(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "out"
    assert reproduce(small_dataset, "--out", out, "--device", "cpu", "--seed", 3) == 0
    results = json.loads((out / "results.json").read_text())
    assert (results["seed"], results["protocol"]) == (3, "commissioned")
    assert list(results["scenarios"]) == [TEST_1, TEST_2]
    printed, err = capsys.readouterr()
    for name in ("validation", TEST_1, TEST_2, *results["validation"]["methods"]):
        assert name in printed
    assert "Traceback" not in err
    assert all(line.startswith(PROGRESS) for line in err.splitlines())


def test_protocol_is_taken(small_dataset: Path, tmp_path: Path) -> None:
    assert reproduce(small_dataset, "--out", tmp_path / "o", "--protocol", "zero-shot") == 0
    results = json.loads((tmp_path / "o" / "results.json").read_text())
    assert results["protocol"] == "zero-shot"
    assert results["scenarios"][TEST_1]["commissioning_windows"] == 0


def test_a_data_set_of_the_workspace_by_its_name(
    small_dataset: Path, tmp_path: Path, workspace: Workspace
) -> None:
    shutil.copytree(small_dataset, workspace.datasets / "mine")
    assert reproduce("mine", "--out", tmp_path / "o") == 0
    assert json.loads((tmp_path / "o" / "results.json").read_text())["dataset"] == "mine"


def test_a_missing_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reproduce(tmp_path / "nowhere", "--out", tmp_path / "o") == 2
    assert str(tmp_path / "nowhere") in the_error(capsys)
    assert not (tmp_path / "o").exists()


def test_a_folder_without_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data" / "recordings").mkdir(parents=True)
    assert reproduce(tmp_path / "data", "--out", tmp_path / "o") == 2
    assert "train_01_attack_free" in the_error(capsys)


def test_a_file_for_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.csv").write_text("timestamp\n")
    assert reproduce(tmp_path / "data.csv", "--out", tmp_path / "o") == 2
    assert "data.csv" in the_error(capsys)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (bytes(range(256)) * 50, "binary data"),
        (b"time,speed\n1.0,20\n2.0,30\n", "missing columns"),
        (b"timestamp,arbitration_id,data_field,attack\n", ""),
        (b"timestamp,arbitration_id,data_field,attack\nx,y,z,w\n", ""),
    ],
)
@pytest.mark.parametrize("split", [CLEAN, TEST_1])
def test_an_unusable_capture(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, content: bytes, expected: str
) -> None:
    root = tmp_path / "data"
    write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
    (root / split).mkdir(exist_ok=True)
    (root / split / "b.csv").write_bytes(content)
    assert reproduce(root, "--out", tmp_path / "o") == 2
    error = the_error(capsys)
    assert f"{split}/b.csv" in error
    assert expected in error
    assert not (tmp_path / "o" / "results.json").exists()


def test_only_attacked_traffic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    write(root, f"{ATTACKED}/DoS.csv", recording(0, 2.0, "DoS", (0.0, 1.0), seed=1))
    assert reproduce(root, "--out", tmp_path / "o") == 2
    assert "attack-free" in the_error(capsys)


def test_cuda_where_there_is_none(
    small_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert reproduce(small_dataset, "--out", tmp_path / "o", "--device", "cuda") == 2
    assert "cuda" in the_error(capsys)


def test_an_output_that_is_a_file(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o").write_text("in the way")
    assert reproduce(small_dataset, "--out", tmp_path / "o") == 2
    assert "cannot write" in the_error(capsys)
    assert (tmp_path / "o").read_text() == "in the way"


def test_names_that_no_file_can_have(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(small_dataset, "--out", tmp_path / ("o" * 300)) == 2
    assert "cannot write" in the_error(capsys)
    for name in ("d" * 5000, ""):
        assert reproduce(name, "--out", tmp_path / "o") == 2
        assert "no data set" in the_error(capsys)


def test_warnings_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "data"
    write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
    write(root, f"{CLEAN}/b.csv", recording(1, seed=2))
    assert reproduce(root, "--out", tmp_path / "o") == 0
    lines = capsys.readouterr().err.splitlines()
    warnings = json.loads((tmp_path / "o" / "results.json").read_text())["warnings"]
    assert any("GAT" in warning for warning in warnings)
    assert [line for line in lines if line.startswith("warning: ")] == [
        f"warning: {warning}" for warning in warnings
    ]


def test_a_seed_out_of_range(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reproduce(small_dataset, "--out", tmp_path / "o", "--seed", "-1") == 2
    assert "seed" in the_error(capsys)


def test_a_full_disk_keeps_older_results(
    small_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "o"
    assert reproduce(small_dataset, "--out", out) == 0
    capsys.readouterr()
    old = {p: p.read_bytes() for p in out.rglob("*") if p.is_file() and p.suffix != ".ckpt"}

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.OSFile", full)
    assert reproduce(small_dataset, "--out", out, "--seed", 1) == 2
    assert "No space left on device" in the_error(capsys)
    new_detectors = out / "workspace" / "saved_models" / "detectors"
    for path, content in old.items():
        if new_detectors not in path.parents:
            assert path.read_bytes() == content, path
