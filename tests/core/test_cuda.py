"""What must hold on a CUDA device; skipped where there is none."""

import dataclasses

import numpy as np
import pytest
import torch

from core.bench import fusion
from core.detectors.capture_scores import score_capture
from core.detectors.crossfit import train_stack
from core.fusion.training import train_agent
from core.graphs.tensors import GraphTensors
from core.progress import SilentReporter
from tests.core.detectors.toy import config, prepared
from tests.core.fusion.caches import each_right_in_half, small_config
from tests.core.small_dataset import recording

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = torch.device("cuda")


def test_batches_gathered_on_the_device_equal_those_of_the_cpu() -> None:
    capture = prepared("train_/attacked", attacked=slice(30, 46), seed=2, settings=config())
    part = [(capture.store, capture.relative)]
    index = torch.tensor([5, 0, 31])
    expected = GraphTensors.join(part).gather(index)
    found = GraphTensors.join(part, CUDA).gather(index.to(CUDA))
    for name in ("x", "edge_index", "edge_attr", "window_attr", "batch", "ptr", "y"):
        assert found[name].is_cuda
        torch.testing.assert_close(found[name].cpu(), expected[name])


def test_detectors_trained_on_the_device_score_alike_on_the_cpu() -> None:
    settings = dataclasses.replace(config(), device="cuda")
    captures = [
        prepared("train_/clean", seed=1, settings=settings),
        prepared("train_/attacked", attacked=slice(30, 46), seed=2, settings=settings),
    ]
    stack = train_stack(captures, settings, CUDA, SilentReporter())
    on_device = score_capture(stack.final, captures[1], CUDA)
    on_cpu = score_capture(stack.final, captures[1], torch.device("cpu"))
    np.testing.assert_allclose(on_device.anomaly_score, on_cpu.anomaly_score, atol=2e-3)
    np.testing.assert_allclose(on_device.gat_prob, on_cpu.gat_prob, atol=2e-3)


def test_the_agent_learns_on_the_device() -> None:
    settings = small_config(device="cuda", max_epochs=15)
    train, validation = each_right_in_half().train_validation_split(0.25)
    trained = train_agent(train, validation, settings)
    assert trained.gap_closed is not None
    assert trained.gap_closed > 0.8


def test_the_bench_reports_recorded_steps_and_how_busy_the_device_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, few in {"WINDOWS": 2000, "UPDATES": 20, "REPEATS": 1}.items():
        monkeypatch.setattr(fusion, name, few)
    measured, _ = fusion.fusion_speed(recording(0, 2.0), CUDA)
    assert measured["updates_per_s_256_cuda_graphs"] > 0
    busy = measured["gpu_utilisation_percent"]
    assert busy is None or 0 <= busy <= 100
