import json
from typing import Any

import pytest

from core.cli.main import main

MEASURED = {
    "device": "cpu",
    "frames": 1000,
    "frames_per_s": 2_000_000.0,
    "parse_frames_per_s": {"candump": 500.0, "can-train-and-test-parquet": 900.0},
    "policy_ms": 2.0,
    "scale": {"frames": 9000, "growth": 1.01, "peak_memory_mb": 120},
    "plain": {"frames_per_s": 40_000.0, "parse_frames_per_s": {"candump": 50.0}, "policy_ms": 90.0},
    "ratio": {"frames_per_s": 50.0, "parse_frames_per_s": {"candump": 10.0}, "policy_ms": 45.0},
    "peak_memory_mb": 300,
}


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Stands in for the measurement."""
    asked: list[tuple[str, int, int]] = []

    def bench(
        device: str, reporter: Any, scale_frames: int, scale_windows: int, scores: Any
    ) -> Any:
        asked.append((device, scale_frames, scale_windows))
        assert scores is None
        reporter.progress("bench", 0.5, "half")
        return MEASURED

    monkeypatch.setattr("core.bench.run.bench", bench)
    return asked


def test_json_is_all_there_is_on_standard_output(
    asked: list[tuple[str, int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["bench", "--json", "--device", "cpu", "--frames", "5000", "--windows", "2000"]) == 0
    )
    out, err = capsys.readouterr()
    assert json.loads(out) == MEASURED
    assert "bench" in err
    assert asked == [("cpu", 5000, 2000)]


def test_a_table_shows_figure_plain_and_ratio(
    asked: list[tuple[str, int, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench"]) == 0
    rows = {}
    for line in capsys.readouterr().out.splitlines():
        *name, figure, plain, ratio = line.split() or ["", "", "", ""]
        rows[" ".join(name)] = (figure, plain, ratio)
    assert rows["frames_per_s"] == ("2,000,000.0", "40,000.0", "50.0")
    assert rows["parse_frames_per_s candump"] == ("500.0", "50.0", "10.0")
    assert rows["parse_frames_per_s can-train-and-test-parquet"] == ("900.0", "-", "-")
    assert rows["scale growth"] == ("1.01", "-", "-")
    assert rows["policy_ms"] == ("2.00", "90.0", "45.0")
    assert asked == [("auto", 10_000_000, 3_000_000)]


def test_cuda_where_there_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["bench", "--json", "--device", "cuda"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", ["--frames", "--windows"])
def test_too_few_are_refused(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", what, "0"]) == 2
    assert f"{what} of at least 1000, got 0" in capsys.readouterr().err
