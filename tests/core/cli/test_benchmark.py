"""``python -m core benchmark`` on a small data set: tables, figures, and what is not made again."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from core.cli.benchmark import SPLITS
from core.cli.main import main
from core.config import FusionConfig, override
from core.errors import DatasetError
from core.evaluation import benchmark
from core.evaluation.rearrange import ARRANGEMENTS
from core.evaluation.scenario import METHODS
from tests.core.small_dataset import ATTACKED, CLEAN, TEST_1, TEST_2, recording, small_config, write


@dataclass(frozen=True)
class Made:
    """One benchmark over all arrangements."""

    dataset: Path
    workspace: Path
    markdown: str
    figures: dict[str, Any]
    err: str


def call(*arguments: object) -> int:
    return main(["benchmark", *map(str, arguments)])


OPTIONS = ("--protocol", "commissioned", "--seeds", "0", "--device", "cpu")


@pytest.fixture(scope="module", autouse=True)
def small_settings() -> Iterator[pytest.MonkeyPatch]:
    def create(dataset: str, **changes: Any) -> FusionConfig:
        return override(small_config(Path(dataset)), changes)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "create_fusion_config", create)
        yield patch


@pytest.fixture(scope="module")
def made(
    small_dataset: Path,
    tmp_path_factory: pytest.TempPathFactory,
    small_settings: pytest.MonkeyPatch,
) -> Made:
    root = tmp_path_factory.mktemp("benchmark")
    small_settings.setenv("CANFUSION_WORKSPACE", str(root / "workspace"))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert call(small_dataset, "--out", root / "docs" / "RESULTS.md", *OPTIONS) == 0
    text = (root / "docs" / "RESULTS.md").read_text()
    assert out.getvalue() == text
    figures = json.loads((root / "docs" / "RESULTS.json").read_text())
    return Made(small_dataset, root / "workspace", text, figures, err.getvalue())


@pytest.fixture
def workspace_of_made(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made.workspace, tmp_path / "workspace")
    monkeypatch.setenv("CANFUSION_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Data sets that something was trained on from now on."""
    names: list[str] = []
    train = benchmark.train_fusion

    def record(*arguments: Any) -> Any:
        names.append(arguments[-1].name)
        return train(*arguments)

    monkeypatch.setattr(benchmark, "train_fusion", record)
    return names


def all_rows(made: Made, arrangement: str) -> dict[str, list[str]]:
    """Scenario -> names of its captures."""
    found: dict[str, list[str]] = {}
    for row in made.figures["rows"]:
        if row["arrangement"] == arrangement:
            names = found.setdefault(row["scenario"], [])
            if row["part"] == "capture":
                names.append(row["name"])
    return found


def test_every_capture_is_tested_on_where_it_belongs(made: Made) -> None:
    assert all_rows(made, "given") == {
        TEST_1: ["DoS-b.csv", "fuzzing-a.csv"],
        TEST_2: ["clean-c.csv"],
    }
    by_vehicle = all_rows(made, "leave-one-vehicle-out")
    assert sorted(map(sorted, by_vehicle.values())) == [
        [f"{TEST_1}/DoS-b.csv", f"{CLEAN}/clean-b.csv", f"{ATTACKED}/fuzzing-b.csv"],
        [f"{TEST_1}/fuzzing-a.csv", f"{CLEAN}/clean-a.csv", f"{ATTACKED}/DoS-a.csv"],
        [f"{TEST_2}/clean-c.csv"],
    ]
    assert all_rows(made, "leave-one-attack-out") == {
        "DoS": [f"{TEST_1}/DoS-b.csv", f"{ATTACKED}/DoS-a.csv"],
        "fuzzing": [f"{TEST_1}/fuzzing-a.csv", f"{ATTACKED}/fuzzing-b.csv"],
    }


def test_rows_and_tables_say_the_same(made: Made) -> None:
    row = next(r for r in made.figures["rows"] if r["name"] == "fuzzing-a.csv")
    assert set(row["methods"]) == set(METHODS)
    line = next(t for t in made.markdown.splitlines() if t.startswith("| capture fuzzing-a.csv"))
    f1 = row["methods"]["fusion"]["f1"]
    assert f"**{f1:.4f}".replace("0.", ".") in line
    assert row["detection"]["fusion"]["episodes"] == 1
    assert row["detection"]["fusion"]["hours"] == pytest.approx(3 / 3600, rel=0.3)


def test_it_is_said_how_it_was_made(made: Made) -> None:
    command = made.figures["command"]
    assert command.startswith(f"python -m core benchmark {made.dataset} --out ")
    assert command in made.markdown
    assert made.figures["versions"]["torch"] in made.markdown
    assert "benchmark" in made.err


def test_in_sample_scores_are_shown(made: Made) -> None:
    assert [row["scenario"] for row in made.figures["in_sample"]] == ["validation", TEST_1, TEST_2]
    assert "## What in-sample scores would have taught the agent" in made.markdown
    # The same final detectors score the test folders: no alpha can do better in either case.
    measured = next(r for r in made.figures["rows"] if r["name"] == TEST_1)
    assert made.figures["in_sample"][1]["oracle"] == measured["methods"]["oracle"]["f1"]


def test_nothing_is_made_twice(
    made: Made, workspace_of_made: Path, tmp_path: Path, trained: list[str]
) -> None:
    assert call(made.dataset, "--out", tmp_path / "again.md", *OPTIONS) == 0
    assert trained == []
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["rows"] == made.figures["rows"]
    assert again["in_sample"] == made.figures["in_sample"]


def test_what_is_damaged_is_made_again(
    made: Made, workspace_of_made: Path, tmp_path: Path, trained: list[str]
) -> None:
    part = next(
        path
        for path in sorted(workspace_of_made.glob("benchmark/runs/*/results.json"))
        if "without-DoS" in (path.parent / "run" / "config.json").read_text()
        or "DoS" in json.loads(path.read_text())["value"]["scenarios"]
    )
    part.write_text("{")
    assert call(made.dataset, "--out", tmp_path / "again.md", *OPTIONS) == 0
    assert trained == ["small-without-DoS"]
    assert json.loads((tmp_path / "again.json").read_text())["rows"] == made.figures["rows"]


def test_changed_code_makes_everything_anew(
    made: Made, workspace_of_made: Path, tmp_path: Path, trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(benchmark, "sources_version", lambda: "another")
    options = (*OPTIONS, "--splits", "given", "--no-in-sample")
    assert call(made.dataset, "--out", tmp_path / "again.md", *options) == 0
    assert trained == ["small"]
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["in_sample"] == []
    assert {row["arrangement"] for row in again["rows"]} == {"given"}


def test_every_arrangement_is_run_with_every_seed(
    made: Made, workspace_of_made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def no_runs(parts: list[benchmark.Part], *rest: object) -> list[DatasetError]:
        asked.extend((part.arrangement, part.config.training.seed) for part in parts)
        return [DatasetError("not made") for _ in parts]

    monkeypatch.setattr(benchmark, "_all_runs", no_runs)
    options = ("--protocol", "commissioned", "--seeds", "4,2", "--device", "cpu")
    assert call(made.dataset, "--out", tmp_path / "r.md", *options) == 2
    assert len({arrangement for arrangement, _ in asked}) > 1
    for arrangement in {arrangement for arrangement, _ in asked}:
        assert {seed for other, seed in asked if other == arrangement} == {4, 2}


@pytest.mark.slow
def test_any_number_of_runs_at_a_time_gives_the_same(
    made: Made, tmp_path: Path, workspace: object
) -> None:
    options = (*OPTIONS, "--splits", "leave-one-attack-out", "--jobs", 2)
    assert call(made.dataset, "--out", tmp_path / "r.md", *options) == 0
    found = json.loads((tmp_path / "r.json").read_text())["rows"]
    assert found == [
        row for row in made.figures["rows"] if row["arrangement"] == "leave-one-attack-out"
    ]


def test_an_arrangement_that_cannot_be_is_a_note(
    tmp_path: Path, workspace: object, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "one"
    write(root, f"{CLEAN}/a.csv", recording(0, seed=1))
    write(root, f"{ATTACKED}/DoS-a.csv", recording(0, attack="DoS", seed=3))
    write(root, f"{TEST_1}/DoS.csv", recording(0, attack="DoS", seed=5))
    assert call(root, "--out", tmp_path / "r.md", *OPTIONS, "--no-in-sample") == 0
    out, err = capsys.readouterr()
    assert "the ids of all 3 captures are those of one" in out
    assert "at least two of them; got DoS" in out
    assert "warning: one: leaving one attack out" in err
    only = (*OPTIONS, "--splits", "leave-one-attack-out")
    assert call(root, "--out", tmp_path / "r2.md", *only) == 2
    assert "got DoS" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "r2.md").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--seeds", "0,x"), "--seeds: expected numbers such as 0,1,2, got '0,x'"),
        (("--splits", "given,other"), "got 'other'"),
        (("--seeds", "-1"), "seed"),
        (("--jobs", "0"), "--jobs: expected at least 1, got 0"),
    ],
)
def test_wrong_options_are_one_line(
    small_dataset: Path, tmp_path: Path, workspace: object, capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...], expected: str,
) -> None:  # fmt: skip
    assert call(small_dataset, "--out", tmp_path / "r.md", *options) == 2
    assert expected in capsys.readouterr().err.splitlines()[-1]


def test_a_missing_data_set_and_an_output_that_is_a_folder(
    small_dataset: Path, tmp_path: Path, workspace: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(small_dataset, tmp_path / "none", "--out", tmp_path / "r.md") == 2
    assert str(tmp_path / "none") in capsys.readouterr().err
    assert call(small_dataset, "--out", tmp_path) == 2
    assert "expected a file name such as RESULTS.md" in capsys.readouterr().err


def test_the_command_knows_all_arrangements() -> None:
    assert tuple(ARRANGEMENTS) == SPLITS
