"""The guide says what is true now, and the quick start runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from core.cli.main import COMMANDS, main
from core.cli.settings import BEGIN, END, updated
from core.errors import ConfigError

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "FUSION_TRAINING_GUIDE.md"
SMALL = (
    *("data.detector.vgae.epochs=1", "data.detector.gat.epochs=1", "data.detector.folds=2"),
    *("data.detector.gat.layers=1", "data.detector.windows_per_epoch=512"),
    "training.updates_per_epoch=40",
)


def test_the_settings_of_the_guide_are_those_of_the_program() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert updated(text) == text, (
        "run .venv/bin/python -m core settings --update docs/FUSION_TRAINING_GUIDE.md"
    )


def test_the_command_lists_every_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["settings"]) == 0
    out = capsys.readouterr().out
    for name in ("agent.gamma", "data.detector.window.size", "evaluation.threshold"):
        assert f"| `{name}` |" in out
    path = tmp_path / "x.md"
    path.write_text(f"a\n{BEGIN}\nstale tables\n{END}\nz\n")
    assert main(["settings", "--update", str(path)]) == 0
    text = path.read_text()
    assert text.startswith("a\n")
    assert text.endswith("z\n")
    assert "stale tables" not in text
    assert "agent.gamma" in text
    with pytest.raises(ConfigError, match="expected <!-- settings: begin -->"):
        updated("no marks")
    assert main(["settings", "--update", str(tmp_path / "gone.md")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_what_the_guide_names_is_there() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    for path in re.findall(r"`(core/[\w/]+\.py)`", text):
        assert (ROOT / path).is_file(), path
    commands = set(re.findall(r"-m core ([\w-]+)", text))
    assert commands <= set(COMMANDS)


def test_the_reward_of_the_guide_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from core.fusion.own_reward import load_reward

    (code,) = re.findall(r"```python\n(# my_rewards\.py.*?)```", GUIDE.read_text(), re.DOTALL)
    (tmp_path / "my_rewards.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    load_reward("my_rewards:late_alarm")
    del sys.modules["my_rewards"]
    load_reward.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_quick_start_runs(tmp_path: Path) -> None:
    workspace, out = tmp_path / "workspace", tmp_path / "out"
    environment = os.environ | {
        "PYTHON": sys.executable,
        "CANFUSION_WORKSPACE": str(workspace),
        "SETTINGS": " ".join(SMALL),
    }
    command = ["sh", str(ROOT / "FUSION_QUICK_START.sh"), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "== 6." in done.stdout
    for name in ("scores/summary.json", "comparison/comparison.svg", "stack/manifest.json"):
        assert (out / name).is_file(), name
    profiles = list((workspace / "logs" / "fusion_demo").glob("version_*/profile.json"))
    assert len(profiles) == 1
    assert len(pd.read_csv(out / "comparison" / "comparison.csv")) > 12
    again = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert again.returncode == 2
    assert "exists already" in again.stderr
