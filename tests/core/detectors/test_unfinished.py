from pathlib import Path

import pytest
import torch

from core.detectors.checkpoint import weights_hash
from core.detectors.crossfit import train_stack
from core.detectors.prepare import PreparedCapture
from core.detectors.stack import DetectorStack
from core.errors import JobStopped
from core.progress import SilentReporter
from tests.core.detectors.toy import CPU, Recorder, config, prepared


class StopIn(Recorder):
    """Asks to stop as soon as a step with this name is reported."""

    def __init__(self, step: str = "") -> None:
        super().__init__()
        self.step = step

    def check(self) -> None:
        if self.step and any(step == self.step for step, _ in self.points):
            raise JobStopped("stopped")


def captures() -> list[PreparedCapture]:
    return [
        prepared("train_01/clean", seed=1),
        prepared("train_02/attack-a", attacked=slice(30, 45), seed=3),
        prepared("train_02/attack-b", attacked=slice(40, 55), seed=4),
    ]


def hashes(stack: DetectorStack) -> list[str]:
    return [
        weights_hash(model)
        for pair in (stack.final, *stack.folds)
        for model in (pair.vgae, pair.gat)
        if model is not None
    ]


@pytest.fixture(scope="module")
def uninterrupted() -> list[str]:
    return hashes(train_stack(captures(), config(), CPU, SilentReporter()))


@pytest.mark.parametrize("step", ["vgae fold 2", "vgae", "gat fold 2", "gat"])
def test_a_stopped_training_goes_on_and_ends_as_if_it_had_not_been(
    tmp_path: Path, uninterrupted: list[str], step: str
) -> None:
    order = ["vgae fold 1", "vgae fold 2", "vgae", "gat fold 1", "gat fold 2", "gat"]
    with pytest.raises(JobStopped):
        train_stack(captures(), config(), CPU, StopIn(step), tmp_path / "unfinished")
    recorder = Recorder()
    stack = train_stack(captures(), config(), CPU, recorder, tmp_path / "unfinished")
    trained = list(dict.fromkeys(name for name, _ in recorder.points))
    assert trained == order[order.index(step) :]
    assert hashes(stack) == uninterrupted


def test_what_is_damaged_is_trained_anew(tmp_path: Path, uninterrupted: list[str]) -> None:
    train_stack(captures(), config(), CPU, SilentReporter(), tmp_path)
    (tmp_path / "vgae_1.safetensors").write_bytes(b"junk")
    (tmp_path / "gat_2.safetensors").write_bytes((tmp_path / "vgae_2.safetensors").read_bytes())
    recorder = Recorder()
    stack = train_stack(captures(), config(), CPU, recorder, tmp_path)
    assert {name for name, _ in recorder.points} == {"vgae fold 1", "gat fold 2"}
    assert hashes(stack) == uninterrupted
    assert torch.isfinite(stack.final.vgae.thresholds).all()
