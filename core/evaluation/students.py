"""What students lose to their teachers, and what they gain in size and speed."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from core.detectors.capture_scores import score_capture
from core.detectors.distillation import parameters
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.scoring import outputs
from core.detectors.stack import Detectors
from core.detectors.vgae import VGAE
from core.evaluation.metrics import Metrics, window_metrics
from core.graphs.tensors import GraphTensors

SCORES = {"vgae": "anomaly_score", "gat": "gat_prob"}
"""Detector -> its score."""
REPEATS = 3


def compare_students(
    teachers: Detectors,
    students: Detectors,
    captures: Sequence[PreparedCapture],
    device: torch.device,
    threshold: float,
) -> dict[str, Any]:
    """Size and speed of teachers and students, and how well each does on test captures.

    Returns:
        ``parameters`` (detector -> ``teacher``, ``student``, ``ratio``), ``windows_per_s`` (both
        detectors' forward passes on the largest capture; null without a capture) and ``scenarios``:
        folder -> ``windows``, ``attack_windows``, ``methods`` (detector -> ``teacher`` and
        ``student``, as :func:`core.evaluation.metrics.window_metrics` has them, ``f1_loss`` and
        ``auroc_loss``, null where one of the two is undefined).
    """
    sizes = {}
    for name in SCORES:
        large, small = (parameters(getattr(d, name)) for d in (teachers, students))
        sizes[name] = {"teacher": large, "student": small, "ratio": small / large}
    scored = [c for c in captures if len(c.scored)]
    speed: dict[str, float | None] = {"teacher": None, "student": None}
    if scored:
        part = next(max(scored, key=lambda c: len(c.store)).parts())
        graphs = GraphTensors.join([part], device)
        for name, detectors in (("teacher", teachers), ("student", students)):
            assert detectors.gat is not None
            models: list[VGAE | GAT] = [detectors.vgae.to(device), detectors.gat.to(device)]
            speed[name] = len(graphs) / _best_time(partial(outputs, models, graphs))
    folders = {c.split: [d for d in scored if d.split == c.split] for c in scored}
    return {
        "parameters": sizes,
        "windows_per_s": speed,
        "scenarios": {
            folder: _scenario(teachers, students, some, device, threshold)
            for folder, some in folders.items()
        },
    }


def _scenario(
    teachers: Detectors,
    students: Detectors,
    captures: Sequence[PreparedCapture],
    device: torch.device,
    threshold: float,
) -> dict[str, Any]:
    label = np.concatenate([c.store.y[c.scored] for c in captures])
    found: dict[str, dict[str, Metrics]] = {name: {} for name in SCORES}
    for who, detectors in (("teacher", teachers), ("student", students)):
        scores = [score_capture(detectors, capture, device) for capture in captures]
        for name, column in SCORES.items():
            score = np.concatenate([getattr(some, column) for some in scores])
            found[name][who] = window_metrics(label, score, threshold)
    return {
        "windows": len(label),
        "attack_windows": int(label.sum()),
        "methods": {
            name: {
                **metrics,
                "f1_loss": _difference(metrics, "f1"),
                "auroc_loss": _difference(metrics, "auroc"),
            }
            for name, metrics in found.items()
        },
    }


def _difference(metrics: dict[str, Metrics], name: str) -> float | None:
    teacher, student = metrics["teacher"][name], metrics["student"][name]
    return None if teacher is None or student is None else teacher - student


def _best_time(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
