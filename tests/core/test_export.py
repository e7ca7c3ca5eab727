"""A whole stack as one folder: read back it judges as the run did, and it is never half there."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.cli.main import main
from core.errors import CaptureError, CheckpointError, StaleCacheError, StorageError
from core.export import ExportedStack, export_stack, load_export
from core.workspace import Workspace
from tests.core.small_dataset import TEST_1, SmallRun


@pytest.fixture(scope="module")
def exported(shared_run: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "stack"
    return export_stack("small", shared_run.workspace, out)


@pytest.fixture(scope="module")
def stack(exported: Path) -> ExportedStack:
    return load_export(exported)


def test_the_folder_holds_all_that_judges(exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    found = {p.relative_to(exported).as_posix() for p in exported.rglob("*") if p.is_file()}
    assert found == {"manifest.json", *manifest["files"]}
    assert {"vgae.safetensors", "gat.safetensors", "agent.pth"} < found
    assert sum(name.startswith("profiles/") for name in found) == 2
    assert manifest["threshold"] == 0.5
    assert manifest["detector"]["profile_windows"] == 10


@pytest.mark.parametrize("name", ["DoS-b.csv", "fuzzing-a.csv"])
def test_read_back_it_judges_as_the_run_did(
    shared_run: SmallRun, stack: ExportedStack, name: str
) -> None:
    predictions = pd.read_feather(shared_run.run_dir / "predictions.arrow")
    expected = predictions[predictions["capture"] == f"{TEST_1}/{name}"]
    table, _ = stack.judge(shared_run.dataset / TEST_1 / name)
    found = table.to_pandas()
    assert len(found) == len(expected) > 0
    for column in ("window", "first_frame", "anomaly_score", "gat_prob", "alpha", "fused"):
        np.testing.assert_array_equal(found[column], expected[column], err_msg=column)
    assert found["attack"].tolist() == (expected["fused"] >= 0.5).tolist()


def test_it_needs_nothing_of_where_it_comes_from(
    shared_run: SmallRun, exported: Path, stack: ExportedStack, tmp_path: Path
) -> None:
    moved = shutil.copytree(exported, tmp_path / "elsewhere")
    capture = shutil.copy(shared_run.dataset / TEST_1 / "DoS-b.csv", tmp_path / "x.csv")
    table, _ = load_export(moved).judge(Path(capture))
    expected, _ = stack.judge(shared_run.dataset / TEST_1 / "DoS-b.csv")
    assert table["fused"].equals(expected["fused"])


def test_nothing_is_overwritten(shared_run: SmallRun, exported: Path) -> None:
    before = (exported / "manifest.json").stat().st_mtime_ns
    with pytest.raises(StorageError, match="exists already"):
        export_stack("small", shared_run.workspace, exported)
    assert (exported / "manifest.json").stat().st_mtime_ns == before


def test_detectors_that_the_agent_was_not_made_for_are_refused(
    shared_run: SmallRun, tmp_path: Path
) -> None:
    copy = shared_run.copy(tmp_path)
    final = copy.workspace.detectors("small", "commissioned") / "final"
    fold = copy.workspace.detectors("small", "commissioned") / "fold_0"
    shutil.copy(fold / "vgae.safetensors", final / "vgae.safetensors")
    with pytest.raises(StaleCacheError, match="is not the detector whose scores"):
        export_stack("small", copy.workspace, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export_stack("small", copy.workspace, tmp_path / "out", force=True)


def test_what_was_never_trained_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"fusion_agent_nothing\.pth"):
        export_stack("nothing", Workspace(tmp_path), tmp_path / "out")


@pytest.mark.parametrize("name", ["manifest.json", "vgae.safetensors", "agent.pth"])
def test_a_damaged_or_missing_file_is_refused(exported: Path, tmp_path: Path, name: str) -> None:
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    content = (damaged / name).read_bytes()
    (damaged / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_export(damaged)
    (damaged / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_export(damaged)


def test_another_version_of_the_program_is_told(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.export.code_version", lambda: "another")
    with pytest.raises(StaleCacheError, match="another version of this program"):
        load_export(exported)
    load_export(exported, force=True)


def test_captures_that_cannot_be_judged(stack: ExportedStack, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file"):
        stack.judge(tmp_path / "gone.csv")
    (tmp_path / "short.log").write_text("(1.0) can0 123#00\n(2.0) can0 124#00\n")
    with pytest.raises(CaptureError, match="shorter than one window"):
        stack.judge(tmp_path / "short.log")


def test_the_command_exports_once(
    shared_run: SmallRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(shared_run.workspace.root))
    arguments = ["export", str(shared_run.dataset), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--agent-format", "pt2"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "out")
    assert (tmp_path / "out" / "agent.pt2").is_file()
    assert main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
