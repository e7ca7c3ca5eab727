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
