"""``python -m core train-fusion``: outputs, summary, and bad input."""

import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.cli import train_fusion
from core.cli.main import guarded
from core.fusion.agent import FusionAgent

SUMMARY_KEYS = [
    "transitions",
    "updates",
    "train_seconds",
    "reward",
    "reward_oracle",
    "reward_best_single",
    "reward_best_fixed_alpha",
    "gap_closed",
    "alpha_mean",
    "alpha_std",
]


def command(*arguments: object) -> int:
    parser = ArgumentParser()
    train_fusion.add_arguments(parser)
    parsed = parser.parse_args([str(argument) for argument in arguments])
    return guarded(lambda: train_fusion.run(parsed))


@pytest.fixture
def scores_file(tmp_path: Path) -> Path:
    """Each detector is right in half of the plane."""
    rng = np.random.default_rng(0)
    anomaly, gat_prob = rng.random(2000), rng.random(2000)
    label = np.where(anomaly + gat_prob < 1, anomaly >= 0.5, gat_prob >= 0.5).astype(int)
    frame = pd.DataFrame({"anomaly_score": anomaly, "gat_prob": gat_prob, "label": label})
    frame["capture"] = [f"drive{row // 500}" for row in range(2000)]
    path = tmp_path / "scores.csv"
    frame.to_csv(path, index=False)
    return path


def test_everything_is_written(
    scores_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command("--scores", scores_file, "--out", out, "--device", "cpu") == 0
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary) == SUMMARY_KEYS
    assert summary["reward_best_fixed_alpha"] < summary["reward"] <= summary["reward_oracle"]
    assert summary["gap_closed"] > 0.9
    assert summary["transitions"] == summary["updates"] * 512
    FusionAgent.load(out / "fusion_agent.pth")
    assert np.load(out / "fusion_policy.npy").shape == (50, 50)
    assert len(pd.read_feather(out / "policy_map.arrow")) == 2500
    assert pd.read_feather(out / "policy_map.arrow")["windows"].sum() == 2000
    epochs = pd.read_feather(out / "policy_epochs.arrow")
    assert epochs["epoch"].tolist() == list(range(len(epochs)))
    assert epochs["alpha"].map(len).unique().tolist() == [2500]
    assert (out / "logs" / "fusion_scores" / "version_0" / "metrics.csv").is_file()
    assert (out / "checkpoints" / "last.ckpt").is_file()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "fusion" in printed.err
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert command("--scores", scores_file, "--out", out) == 2
    assert "holds summary.json of an earlier run" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_one_class_is_trained_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clean.parquet"
    rng = np.random.default_rng(0)
    columns = {"anomaly_score": rng.random(60), "gat_prob": rng.random(60)}
    pd.DataFrame(columns | {"label": 0}).to_parquet(path)
    assert command("--scores", path, "--out", tmp_path / "out") == 0
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["reward"] >= summary["reward_best_single"]
    assert "windows are clean" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "no rows"),
        ("anomaly_score,label\n0.5,1\n", "lacks the column(s) gat_prob"),
        ("anomaly_score,gat_prob,label\n0.5,nan,1\n", "gat_prob must be a finite number"),
        ("anomaly_score,gat_prob,label\n0.5,7,1\n", "gat_prob must be a number in [0, 1], got 7.0"),
        ("anomaly_score,gat_prob,label\n0.5,0.5,3\n", "label must be 0 or 1"),
        ("anomaly_score,gat_prob,label\n0.5,0.5,1\n", "at least 2 windows"),
    ],
)
def test_bad_scores_give_one_line(
    tmp_path: Path, content: str, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(content)
    assert command("--scores", path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_unknown_preset_and_seed_out_of_range_are_refused(
    scores_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--scores", scores_file, "--out", tmp_path / "out")
    assert command(*arguments, "--preset", "nothing") == 2
    assert "fusion_demo" in capsys.readouterr().err
    assert command(*arguments, "--seed", "-1") == 2
    assert "seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("agent.epsilon=1.5", "epsilon: expected a value from 0.0 to 1.0, got 1.5"),
        ("agent.miss_cost=-1", "miss_cost: expected a value from 0.0"),
        ("agent.state=[anomaly,speed]", "the prediction cache has no 'speed'; it has anomaly"),
        ("agent.reward_function=nowhere:f", "cannot be imported"),
        ("agent.costs=1", "no setting 'costs'; it has"),
        ("training.resume_from=gone.ckpt", "no checkpoint at gone.ckpt"),
    ],
)
def test_settings_that_cannot_be_are_refused_and_nothing_is_written(
    scores_file: Path,
    tmp_path: Path,
    override: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command("--scores", scores_file, "--out", tmp_path / "out", override) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_unwritable_output_is_refused_before_training(
    scores_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("in the way")
    assert command("--scores", scores_file, "--out", tmp_path / "out") == 2
    assert "cannot write" in capsys.readouterr().err
