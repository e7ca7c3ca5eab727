"""Students: how small they are, what they see, and that they say what their teachers say."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

from core.config import DetectorConfig, GATConfig, VGAEConfig
from core.detectors import distillation
from core.detectors.capture_scores import score_capture
from core.detectors.checkpoint import weights_hash
from core.detectors.crossfit import train_stack
from core.detectors.distillation import (
    LARGEST_SHARE,
    disturbed,
    lessons_of,
    parameters,
    student_settings,
)
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.scoring import attack_log_odds, error_components
from core.detectors.stack import Detectors, DetectorStack
from core.detectors.vgae import VGAE
from core.errors import ConfigError
from core.graphs.tensors import GraphTensors
from core.progress import SilentReporter
from tests.core.detectors.toy import CPU, config, prepared, random_graphs, untrained_vgae

TEACHER = config(
    vgae=VGAEConfig(hidden_channels=24, latent_channels=6, epochs=15, lr=0.01),
    gat=GATConfig(hidden_channels=8, heads=4, layers=2, epochs=10, lr=0.01),
)


@pytest.mark.parametrize(
    "teacher",
    [DetectorConfig(), TEACHER, DetectorConfig(gat=GATConfig(16, heads=1, layers=1))],
)
@pytest.mark.parametrize("share", [LARGEST_SHARE, 0.3])
def test_students_are_as_wide_as_their_share_allows(teacher: DetectorConfig, share: float) -> None:
    small = student_settings(teacher, share)
    for kind, large, narrow in (
        (VGAE, teacher.vgae, small.vgae),
        (GAT, teacher.gat, small.gat),
    ):
        assert parameters(kind(narrow)) <= share * parameters(kind(large))  # type: ignore[operator]
    wider = small.gat.hidden_channels + 1
    gat = GATConfig(wider, heads=small.gat.heads, layers=small.gat.layers)
    assert parameters(GAT(gat)) > share * parameters(GAT(teacher.gat))
    assert small.window == teacher.window


def test_a_teacher_without_room_for_a_student_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no student with 0\.1 .* GAT: expected .* at least"):
        student_settings(config(vgae=VGAEConfig()))


def test_half_of_the_windows_are_disturbed_more_or_less() -> None:
    graphs, scale = random_graphs(), untrained_vgae()
    batch = graphs.gather(torch.arange(len(graphs)).repeat(4))
    copy, calm = disturbed(batch, scale, torch.Generator().manual_seed(0))
    assert 0.35 < calm.float().mean() < 0.65
    assert torch.equal(copy.edge_index, batch.edge_index)
    moved = (copy.x != batch.x).any(1)
    assert not moved[calm[batch.batch]].any()
    assert torch.equal(copy.window_attr[calm], batch.window_attr[calm])
    edge_owner = batch.batch[batch.edge_index[0]]
    assert torch.equal(copy.edge_attr[calm[edge_owner]], batch.edge_attr[calm[edge_owner]])
    share = torch.bincount(batch.batch, moved.float()) / batch.ptr.diff()
    assert share[~calm].std() > 0.1
    assert (share > 0.5).any()
    again, _ = disturbed(batch, scale, torch.Generator().manual_seed(0))
    other, _ = disturbed(batch, scale, torch.Generator().manual_seed(1))
    assert torch.equal(copy.x, again.x)
    assert not torch.equal(copy.x, other.x)


def captures() -> list[PreparedCapture]:
    return [
        prepared("train_01/clean", 80, None, seed=1, settings=TEACHER),
        prepared("train_02/first", 80, slice(30, 60), seed=2, settings=TEACHER),
        prepared("train_02/second", 80, slice(20, 50), seed=3, settings=TEACHER),
    ]


@cache
def teachers() -> DetectorStack:
    torch.manual_seed(0)
    return train_stack(captures(), TEACHER, CPU, SilentReporter())


def taught() -> DetectorStack:
    small = student_settings(TEACHER)
    lessons = lessons_of(teachers(), CPU)
    return train_stack(captures(), small, CPU, SilentReporter(), lessons=lessons)


@cache
def students() -> DetectorStack:
    return taught()


def agreement(detectors: Detectors, other: PreparedCapture) -> tuple[float, float]:
    """Rank correlation with the teachers on windows that nobody has seen: errors, log-odds."""
    graphs = GraphTensors.join([(other.store, other.relative)])
    teacher = teachers().final
    assert teacher.gat is not None
    assert detectors.gat is not None
    errors = [error_components(d.vgae, graphs)[:, 0] for d in (teacher, detectors)]
    odds = [attack_log_odds(g, graphs) for g in (teacher.gat, detectors.gat)]
    return spearmanr(*errors).statistic, spearmanr(*odds).statistic


@pytest.mark.slow
def test_students_say_of_unseen_windows_what_their_teachers_say() -> None:
    unseen = prepared("test_01/other", 80, slice(30, 60), seed=9, settings=TEACHER)
    small = student_settings(TEACHER)
    torch.manual_seed(0)
    untaught = Detectors(VGAE(small.vgae).eval(), GAT(small.gat).eval())
    assert min(agreement(students().final, unseen)) > 0.75
    assert min(agreement(untaught, unseen)) < 0.75
    label = unseen.store.y[unseen.scored]
    scores = score_capture(students().final, unseen, CPU)
    for score in (scores.anomaly_score, scores.gat_prob):
        assert f1_score(label, score >= 0.5) > 0.9
    for untaught_score in (
        score_capture(untaught, unseen, CPU).gat_prob,
        np.zeros(len(label)),
    ):
        assert f1_score(label, untaught_score >= 0.5) < 0.8


@pytest.mark.slow
def test_students_are_calibrated_like_their_teachers() -> None:
    vgae, gat = students().final.vgae, students().final.gat
    assert gat is not None
    assert bool(gat.calibrated)
    assert (vgae.thresholds > 1e-6).all()
    assert len(students().folds) == len(teachers().folds)
    assert not torch.equal(vgae.thresholds, teachers().final.vgae.thresholds)


def hashes(stack: DetectorStack) -> list[str]:
    models = [m for d in (stack.final, *stack.folds) for m in (d.vgae, d.gat)]
    return [weights_hash(model) for model in models if model is not None]


@pytest.mark.slow
def test_the_same_seed_makes_the_same_students_and_leaves_teachers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(distillation, "EPOCHS", 2)
    before = hashes(teachers())
    assert hashes(taught()) == hashes(taught())
    assert hashes(teachers()) == before
