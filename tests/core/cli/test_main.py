"""Exit codes and lines of the command line as a whole."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.cli import main as module
from core.cli.main import COMMANDS, guarded, main
from core.errors import CacheError, CaptureError, InputError


def usage_exit(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    return stop.value.code


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_exit(command, "--help") == 0
    out, err = capsys.readouterr()
    assert f"python -m core {command}" in out
    assert err == ""


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_exit("--help") == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("nonsense",),
        ("ingest",),
        ("reproduce", "somewhere"),
        ("reproduce", "somewhere", "--out", "x", "--protocol", "nonsense"),
        ("reproduce", "somewhere", "--out", "x", "--seed", "one"),
        ("reproduce", "somewhere", "--out", "x", "--device", "tpu"),
        ("train-fusion", "--scores", "x"),
        ("bench", "--nonsense"),
        ("benchmark", "somewhere"),
        ("benchmark", "--out", "x.md"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage_exit(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "--help" in err


def raising(error: BaseException) -> int:
    def command() -> None:
        raise error

    return guarded(command)


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(CaptureError("a.csv:\n  is empty")) == 2
    assert capsys.readouterr().err == "error: a.csv: is empty\n"
    for kind in (InputError, CacheError):
        assert raising(kind("x")) == 2


def test_an_interrupt_has_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        raising(ZeroDivisionError())


def test_success_is_exit_code_0(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []
    monkeypatch.setattr("core.cli.bench.run", seen.append)
    assert main(["bench", "--json"]) == 0
    assert seen[0].json
    assert ",".join(module.COMMANDS) == (
        "ingest,datasets,profiles,reproduce,train-fusion,explain,distil,export,compare,benchmark,"
        "settings,bench"
    )


def test_as_a_module_in_a_process(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "core", "ingest", str(tmp_path / "missing.log")],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CANFUSION_WORKSPACE": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "missing.log" in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    """``python -m core ... | head -0``"""
    log = tmp_path / "x.log"
    log.write_text("(1.0) can0 123#11\n" * 10)
    command = f"{sys.executable} -m core ingest {log}"
    process = subprocess.Popen(
        command.split(),
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == ""
