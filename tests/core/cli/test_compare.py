"""``python -m core compare`` on scores whose best policy is known."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from core.cli.main import main
from core.evaluation.contest import METHODS

FEW = ("--set", "training.max_epochs=12", "--set", "training.updates_per_epoch=50")


def command(*arguments: object) -> int:
    return main(["compare", *map(str, arguments)])


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each detector is right in half of the plane; a third of the windows is a test folder."""
    rng = np.random.default_rng(0)
    anomaly, gat_prob = rng.random(3000), rng.random(3000)
    label = np.where(anomaly + gat_prob < 1, anomaly >= 0.5, gat_prob >= 0.5).astype(int)
    frame = pd.DataFrame({"anomaly_score": anomaly, "gat_prob": gat_prob, "label": label})
    frame["capture"] = [f"drive{row // 500}" for row in range(3000)]
    frame["split"] = np.repeat(["train_01", "test_01"], [2000, 1000])
    path = tmp_path_factory.mktemp("compare") / "scores.csv"
    frame.to_csv(path, index=False)
    return path


def test_all_methods_are_written_three_ways(
    scores: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command("--scores", scores, "--out", out, "--device", "cpu", *FEW) == 0
    assert "dqn" in capsys.readouterr().out
    found = json.loads((out / "comparison.json").read_text())
    assert list(found["scenarios"]) == ["validation", "test_01"]
    tested = found["scenarios"]["test_01"]
    assert tuple(tested["methods"]) == METHODS
    reward = {name: measured["reward"] for name, measured in tested["methods"].items()}
    assert reward["alpha_0.00"] == reward["vgae"]
    assert reward["alpha_1.00"] == reward["gat"]
    fixed = [name for name in METHODS if name.startswith("alpha_")]
    assert max(reward[name] for name in (*fixed, "best_fixed", "stacking")) < 0.7
    assert reward["oracle"] == 1.0 >= reward["dqn"] > 0.9
    assert reward["bandit"] > 0.8
    against = tested["against_dqn"]["best_fixed"]
    assert against["bootstrap_p"] < 0.01
    assert against["interval"][0] > 0
    assert "dqn" not in tested["against_dqn"]

    table = pd.read_csv(out / "comparison.csv")
    assert table["method"].tolist() == [*METHODS, *METHODS]
    assert table["f1"].iloc[-1] == 1.0
    picture = ElementTree.parse(out / "comparison.svg").getroot()
    assert len(picture.findall("{*}circle")) == 2 * len(METHODS)

    before = (out / "comparison.json").read_bytes()
    assert command("--scores", scores, "--out", out) == 2
    assert "of an earlier run" in capsys.readouterr().err
    assert (out / "comparison.json").read_bytes() == before


def test_a_third_detector_is_compared_and_the_ensemble_uses_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Each kind of attack is found by one of three detectors, and by no weight of two of them.
    rng = np.random.default_rng(0)
    kind = rng.integers(-1, 3, 4000)
    finds = kind[:, None] == np.arange(3)
    scores = np.where(finds, rng.uniform(0.9, 1, (4000, 3)), rng.uniform(0, 0.3, (4000, 3)))
    frame = pd.DataFrame(scores, columns=["anomaly_score", "gat_prob", "score:third"])
    frame["label"] = (kind >= 0).astype(int)
    frame["attack"] = np.array(["a", "b", "c", ""], object)[kind]
    frame["split"] = np.repeat(["train_01", "test_01"], 2000)
    frame["capture"] = [f"drive{row // 500}" for row in range(4000)]
    path, out = tmp_path / "scores.csv", tmp_path / "out"
    frame.to_csv(path, index=False)
    assert command("--scores", path, "--out", out, "--device", "cpu", *FEW) == 0
    assert "ensemble" in capsys.readouterr().out
    tested = json.loads((out / "comparison.json").read_text())["scenarios"]["test_01"]
    assert [*tested["methods"]] == [*METHODS[:-1], "score:third", "ensemble", "oracle"]
    found = {name: measured["attack_recall"] for name, measured in tested["methods"].items()}
    assert found["vgae"] == pytest.approx(1 / 3)
    assert found["score:third"] == pytest.approx(1 / 3)
    assert found["dqn"] == pytest.approx(2 / 3, abs=0.02)
    assert found["ensemble"] > 0.99
    assert tested["methods"]["ensemble"]["reward"] > 0.98

    frame.loc[7, "score:third"] = 1.5
    frame.to_csv(path, index=False)
    assert command("--scores", path, "--out", tmp_path / "other") == 2
    assert "score:third" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected either DATASET or --scores FILE"),
        (("demo", "--scores", "x.csv"), "expected either DATASET or --scores FILE"),
        (("--scores", "gone.csv"), "no file of scores at gone.csv"),
        (("--scores", "gone.csv", "--preset", "x"), "no preset 'x'"),
        (("--scores", "gone.csv", "--set", "agent.x=1"), "no setting 'x'"),
        (("nothing_such",), "nothing_such"),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    tmp_path: Path,
    workspace: object,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(*arguments, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
