"""``python -m core distil``: what it writes, and one line for whatever is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.cli.main import main
from core.config import FusionConfig, create_fusion_config, override
from core.detectors import distillation
from core.detectors.checkpoint import load_gat, load_vgae
from core.detectors.distillation import parameters
from core.errors import ConfigError
from core.pipeline import distil
from core.workspace import Workspace
from tests.core.small_dataset import CLEAN, TEST_1, TEST_2, recording, small_config, write

TEACHERS = {
    "data.detector.vgae.hidden_channels": 20,
    "data.detector.vgae.latent_channels": 4,
    "data.detector.gat.hidden_channels": 16,
    "data.detector.gat.heads": 2,
}


@pytest.fixture(autouse=True)
def few_epochs(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> None:
    """A workspace of our own, and hardly any training."""
    monkeypatch.setattr(distillation, "EPOCHS", 1)


def settings(dataset: Path) -> FusionConfig:
    return override(small_config(dataset), TEACHERS)


def overrides(dataset: Path) -> list[str]:
    """The settings that :func:`settings` changes, as words of a command line."""
    small = settings(dataset).data.detector.to_dict()
    given = create_fusion_config().data.detector.to_dict()

    def changed(new: dict[str, Any], old: dict[str, Any], prefix: str) -> list[str]:
        words = []
        for name, value in new.items():
            if isinstance(value, dict):
                words += changed(value, old[name], f"{prefix}{name}.")
            elif value != old[name]:
                words += ["--set", f"{prefix}{name}={value}"]
        return words

    return changed(small, given, "data.detector.")


def test_students_and_a_report_are_written(
    small_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["distil", str(small_dataset), "--out", str(out), "--device", "cpu"]
    assert main([*arguments, *overrides(small_dataset)]) == 0
    report = json.loads((out / "distillation.json").read_text())
    vgae, gat = load_vgae(out / "vgae.safetensors"), load_gat(out / "gat.safetensors")
    for name, model in (("vgae", vgae), ("gat", gat)):
        size = report["parameters"][name]
        assert size["student"] == parameters(model)
        assert size["ratio"] == pytest.approx(size["student"] / size["teacher"])
        assert size["ratio"] <= 0.1
    assert list(report["scenarios"]) == [TEST_1, TEST_2]
    scenario = report["scenarios"][TEST_1]
    for found in scenario["methods"].values():
        for who in ("teacher", "student"):
            counts = sum(found[who][name] for name in ("tp", "fp", "tn", "fn"))
            assert counts == scenario["windows"]
        assert found["f1_loss"] == pytest.approx(found["teacher"]["f1"] - found["student"]["f1"])
    assert report["scenarios"][TEST_2]["methods"]["vgae"]["auroc_loss"] is None
    assert min(report["windows_per_s"].values()) > 0
    told = capsys.readouterr().out
    assert f"student {parameters(gat):>6}" in told
    assert told.count(TEST_1) == 2


def test_without_attacks_there_is_nobody_to_learn_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = tmp_path / "clean"
    for number in (1, 2):
        write(dataset, f"{CLEAN}/{number}.csv", recording(0, seed=number))
    arguments = ["distil", str(dataset), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*arguments, *overrides(dataset), "--set", "data.detector.rehearsals=0"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {dataset}: no attack in the training captures")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--share", "0"], "--share: expected a share above 0 and up to 1, got 0.0"),
        (["--set", "data.detector.gat.hidden_channels=2"], "no student with 0.1 of the parameters"),
        (["--set", "data.detector.nothing=2"], "has no setting 'nothing'"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    small_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    expected: str,
) -> None:
    out = tmp_path / "out"
    assert main(["distil", str(small_dataset), "--out", str(out), *arguments]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert expected in told
    assert not out.exists()


def test_given_checkpoints_are_no_teachers(small_dataset: Path, tmp_path: Path) -> None:
    given = override(settings(small_dataset), {"data.classifier": "gat.safetensors"})
    with pytest.raises(ConfigError, match=r"teachers of every fold.*gat\.safetensors"):
        distil(given, Workspace(tmp_path / "workspace"), tmp_path / "out")
