"""Fresh, stale (and why), corrupt, missing: of detectors and prediction caches."""

import shutil
from pathlib import Path

import pytest

from core.cache import status as module
from core.cache.status import cache_status, detector_status
from core.captures.dataset import open_dataset
from core.config import FusionConfig, override
from core.workspace import Workspace
from tests.core.detectors.toy import untrained_gat
from tests.core.small_dataset import (
    CLEAN,
    TEST_2,
    SmallRun,
    recording,
    small_config,
    write,
)


def cache(run: SmallRun, config: FusionConfig | None = None) -> tuple[str, list[str]]:
    dataset = open_dataset(str(run.dataset), run.workspace)
    return cache_status(dataset, (config or run.config).data, run.workspace)


def detectors(run: SmallRun, config: FusionConfig | None = None) -> tuple[str, list[str]]:
    dataset = open_dataset(str(run.dataset), run.workspace)
    return detector_status(dataset, (config or run.config).data.detector, run.workspace)


def test_fresh_after_the_build(shared_run: SmallRun) -> None:
    assert cache(shared_run) == ("fresh", [])
    assert detectors(shared_run) == ("fresh", [])


def test_missing_before_it(small_dataset: Path, tmp_path: Path) -> None:
    workspace, config = Workspace(tmp_path), small_config(small_dataset)
    dataset = open_dataset(str(small_dataset), workspace)
    assert cache_status(dataset, config.data, workspace) == ("missing", [])
    assert detector_status(dataset, config.data.detector, workspace) == ("missing", [])


def test_a_changed_training_capture_makes_both_stale(small_run: SmallRun) -> None:
    write(small_run.dataset, f"{CLEAN}/clean-a.csv", recording(0, seed=99))
    expected = ("stale", [f"captures: {CLEAN}/clean-a.csv changed"])
    assert cache(small_run) == expected
    assert detectors(small_run) == expected


def test_labels_beside_a_capture_belong_to_it(small_run: SmallRun) -> None:
    beside = small_run.dataset / CLEAN / "clean-a.json"
    beside.write_text("{}", encoding="utf-8")
    assert cache(small_run) == ("stale", [f"captures: {CLEAN}/clean-a.csv changed"])
    assert detectors(small_run)[0] == "stale"


def test_a_test_capture_concerns_the_cache_alone(small_run: SmallRun) -> None:
    write(small_run.dataset, f"{TEST_2}/new.csv", recording(2, 1.0, seed=8))
    assert cache(small_run) == ("stale", [f"captures: {TEST_2}/new.csv added"])
    assert detectors(small_run) == ("fresh", [])
    (small_run.dataset / TEST_2 / "new.csv").unlink()
    assert cache(small_run) == ("fresh", [])
    (small_run.dataset / TEST_2 / "clean-c.csv").unlink()
    assert cache(small_run) == ("stale", [f"captures: {TEST_2}/clean-c.csv removed"])
    assert detectors(small_run) == ("fresh", [])


def test_changed_settings_are_named(shared_run: SmallRun) -> None:
    config = override(shared_run.config, {"data.detector.window.size": 50})
    expected = ("stale", ["settings: window.size changed from 100 to 50"])
    assert cache(shared_run, config) == expected
    assert detectors(shared_run, config) == expected
    usual = shared_run.config.data.detector.gat.lr
    config = override(shared_run.config, {"data.detector.seed": 5, "data.detector.gat.lr": 0.5})
    assert cache(shared_run, config) == (
        "stale",
        [f"settings: gat.lr changed from {usual} to 0.5", "settings: seed changed from 0 to 5"],
    )


def test_what_does_not_change_scores_does_not_make_stale(shared_run: SmallRun) -> None:
    config = override(
        shared_run.config,
        {"data.detector.device": "auto", "data.val_fraction": 0.4, "training.seed": 4},
    )
    assert cache(shared_run, config) == ("fresh", [])
    assert detectors(shared_run, config) == ("fresh", [])


def test_protocols_have_caches_of_their_own(shared_run: SmallRun) -> None:
    config = override(shared_run.config, {"data.detector.protocol": "zero-shot"})
    assert cache(shared_run, config) == ("missing", [])
    assert detectors(shared_run, config) == ("missing", [])


def test_a_protocol_under_anothers_name_is_stale(small_run: SmallRun) -> None:
    name, space = small_run.dataset.name, small_run.workspace
    shutil.move(
        space.prediction_cache(name, "commissioned"), space.prediction_cache(name, "zero-shot")
    )
    config = override(small_run.config, {"data.detector.protocol": "zero-shot"})
    status, reasons = cache(small_run, config)
    assert status == "stale"
    assert "settings: protocol changed" in reasons


def test_changed_weights_are_named(small_run: SmallRun) -> None:
    from core.detectors.checkpoint import save_detector

    folder = small_run.workspace.detectors(small_run.dataset.name, "commissioned")
    save_detector(untrained_gat(), folder / "fold_1" / "gat.safetensors")
    assert cache(small_run) == ("stale", ["weights: fold_1/gat.safetensors changed"])
    (folder / "fold_1" / "gat.safetensors").unlink()
    assert cache(small_run) == ("stale", ["weights: fold_1/gat.safetensors removed"])


def test_given_weights_are_named(shared_run: SmallRun, tmp_path: Path) -> None:
    given = tmp_path / "vgae.safetensors"
    config = override(shared_run.config, {"data.autoencoder": str(given)})
    assert cache(shared_run, config) == ("stale", ["weights: given autoencoder added"])


def test_another_version_of_the_code_makes_both_stale(
    shared_run: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "code_version", lambda: "another")
    expected = ("stale", ["code of features and detectors changed"])
    assert cache(shared_run) == expected
    assert detectors(shared_run) == expected


@pytest.mark.parametrize("content", ["empty", "junk", "truncated"])
def test_a_damaged_cache_is_corrupt(small_run: SmallRun, content: str) -> None:
    path = small_run.workspace.prediction_cache(small_run.dataset.name, "commissioned")
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "junk": b"\0" * 500, "truncated": whole[: len(whole) // 2]}[content]
    )
    found, reasons = cache(small_run)
    assert found == "corrupt"
    assert len(reasons) == 1
    assert path.name in reasons[0]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"fingerprint": []}', '{"fingerprint": null}']
)
def test_a_damaged_description_of_detectors_is_corrupt(small_run: SmallRun, content: str) -> None:
    folder = small_run.workspace.detectors(small_run.dataset.name, "commissioned")
    (folder / "detectors.json").write_text(content)
    found, reasons = detectors(small_run)
    assert found in ("corrupt", "stale")
    assert reasons
