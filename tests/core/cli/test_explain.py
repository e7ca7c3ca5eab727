"""``python -m core explain``: windows, ids and words; one line for whatever is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from core.captures.frame_table import FrameTable
from core.cli.main import main
from core.workspace import Workspace
from tests.core.small_dataset import (
    ATTACKED,
    TEST_1,
    SmallRun,
    recording,
    small_config,
    write,
)

CAPTURE = f"{TEST_1}/DoS-b.csv"


@pytest.fixture
def trained(shared_run: SmallRun, monkeypatch: pytest.MonkeyPatch) -> str:
    """Path of a data set whose detectors are in the default workspace."""
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(shared_run.workspace.root))
    return str(shared_run.dataset)


def attacked_windows() -> list[int]:
    table: FrameTable = recording(1, attack="DoS", seed=5)
    return sorted({int(frame) // 100 for frame in table.label.nonzero()[0] if frame < 5900})


def explained(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["explain", *map(str, arguments), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_flooding_id_of_the_top_windows_is_shown(
    trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", trained, CAPTURE, "--top", "3", "--ids", "2"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 9
    for header, first in zip(lines[::3], lines[1::3], strict=True):
        assert int(header.split()[1]) in attacked_windows()
        assert "anomaly score" in header
        assert "GAT probability" in header
        assert first.split()[0] == "0x000"
        assert "id never seen on this vehicle" in first
    assert "warning" not in err


def test_windows_can_be_named(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    some = attacked_windows()[3]
    found = explained(capsys, trained, CAPTURE, "--window", some, 2, some, "--ids", 1000)
    assert (found["dataset"], found["capture"]) == ("small", CAPTURE)
    assert found["protocol"] == "commissioned"
    # The profile was learnt from window 2: it has no scores, and comes last.
    attacked, calm = found["windows"]
    assert (attacked["window"], calm["window"]) == (some, 2)
    assert attacked["first_frame"] == 100 * some
    assert attacked["end_time"] > attacked["start_time"]
    assert 0 <= attacked["anomaly_score"] <= 1
    assert calm["anomaly_score"] is calm["gat_prob"] is None
    for window in found["windows"]:
        ids = window["ids"]
        assert sum(row["contribution"] for row in ids) == pytest.approx(1)
        for row in ids:
            parts = row["profile"] + row["vgae"] + row["gat"]
            assert parts == pytest.approx(row["contribution"], abs=1e-9)
            assert row["present"] or "expected, but missing" in row["reasons"]
            assert "window" not in row
    assert main(["explain", trained, CAPTURE, "--window", "2"]) == 0
    assert "the profile was learnt from it" in capsys.readouterr().out


def test_the_scores_are_those_of_the_prediction_cache(
    trained: str, shared_run: SmallRun, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.cache.predictions import FusionPredictionCache

    cache = FusionPredictionCache.load(
        shared_run.workspace.prediction_cache("small", "commissioned")
    )
    rows = cache.select(cache.capture == cache.capture_names.index(CAPTURE))
    fused = (rows.anomaly_score + rows.gat_prob) / 2
    found = explained(capsys, trained, CAPTURE, "--top", 4)["windows"]
    best = [(w["anomaly_score"] + w["gat_prob"]) / 2 for w in found]
    assert best == pytest.approx(sorted(fused.tolist(), reverse=True)[:4], abs=1e-5)


def test_a_capture_that_was_trained_on_is_said_to_be(
    trained: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", trained, f"{ATTACKED}/DoS-a.csv", "--top", "1"]) == 0
    assert "warning: train_02_with_attacks/DoS-a.csv: the detectors were trained on this" in (
        capsys.readouterr().err
    )


def test_a_changed_data_set_is_said_to_be(
    small_run: SmallRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(small_run.workspace.root))
    write(small_run.dataset, f"{ATTACKED}/DoS-a.csv", recording(0, attack="DoS", seed=9))
    found = explained(capsys, small_run.dataset, CAPTURE, "--top", 1)
    (warning,) = found["warnings"]
    assert warning.startswith("since the detectors were trained: captures: ")
    assert "DoS-a.csv" in warning


def test_the_detectors_own_settings_are_used(
    small_dataset: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.pipeline import train_detectors

    config = small_config(
        small_dataset,
        data__detector__protocol="zero-shot",
        data__detector__window__size=50,
        data__detector__window__stride=50,
    )
    train_detectors(config.data, workspace)
    found = explained(capsys, small_dataset, CAPTURE, "--protocol", "zero-shot", "--window", 0, 60)[
        "windows"
    ]
    assert {w["window"]: w["first_frame"] for w in found} == {0: 0, 60: 3000}
    assert all(w["gat_prob"] is not None for w in found)


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["explain", *map(str, arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    *progress, last = err.splitlines()
    assert all(not line.startswith("error") for line in progress)
    assert last.startswith("error: ")
    return last


def test_without_detectors_the_command_that_makes_them_is_named(
    workspace: Workspace, small_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, small_dataset, CAPTURE, "--protocol", "zero-shot")
    assert "no detectors trained on small (zero-shot)" in line
    command = f"train_fusion_lightning.py --dataset {small_dataset} --protocol zero-shot"
    assert command in line


def test_damaged_detectors(
    small_run: SmallRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(small_run.workspace.root))
    folder = small_run.workspace.detectors("small", "commissioned")
    (folder / "final" / "vgae.safetensors").write_bytes(b"junk")
    assert "vgae.safetensors: not a VGAE checkpoint" in refused(capsys, small_run.dataset, CAPTURE)
    (folder / "detectors.json").write_text('{"fingerprint": {"settings": {"nonsense": 1}}}')
    assert "detectors.json: damaged" in refused(capsys, small_run.dataset, CAPTURE)
    (folder / "detectors.json").write_text("{")
    assert "detectors.json: damaged" in refused(capsys, small_run.dataset, CAPTURE)


def test_what_is_not_there(trained: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no capture 'test_01_known/other.csv'; it has" in refused(
        capsys, trained, f"{TEST_1}/other.csv"
    )
    assert "expected windows from 0 to" in refused(capsys, trained, CAPTURE, "--window", 100_000)
    assert "--top: expected at least 1, got 0" in refused(capsys, trained, CAPTURE, "--top", 0)
    assert "--ids: expected at least 1, got -1" in refused(capsys, trained, CAPTURE, "--ids", -1)
    assert "nowhere" in refused(capsys, "nowhere", CAPTURE)


def test_a_capture_shorter_than_a_window(
    small_run: SmallRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(small_run.workspace.root))
    write(small_run.dataset, f"{TEST_1}/short.csv", recording(2, 0.02, seed=8))
    line = refused(capsys, small_run.dataset, f"{TEST_1}/short.csv")
    assert "shorter than one window of 100 frames" in line
