import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn

from core.config import DetectorConfig
from core.detectors.checkpoint import weights_hash
from core.detectors.scoring import attack_log_odds, error_components
from core.detectors.training import (
    HARD_WEIGHT,
    SURE,
    Course,
    GATModule,
    WindowBatches,
    best_epoch,
    fit_gat,
    fit_vgae,
)
from core.errors import JobStopped
from core.graphs.tensors import GraphTensors
from core.progress import SilentReporter
from tests.core.detectors.toy import Recorder, config, prepared, untrained_gat, untrained_vgae


def toy_graphs(settings: DetectorConfig) -> GraphTensors:
    """A clean capture, then one attacked in its windows 30 to 45."""
    captures = [
        prepared("train_/clean", seed=1, settings=settings),
        prepared("train_/attacked", attacked=slice(30, 46), seed=2, settings=settings),
    ]
    return GraphTensors.join([(c.store, c.relative) for c in captures])


def parts(graphs: GraphTensors) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out windows, of both captures and both classes."""
    held = (np.arange(120) // 5) % 5 == 0
    return np.flatnonzero(~held), np.flatnonzero(held)


def clean(graphs: GraphTensors, index: np.ndarray) -> np.ndarray:
    return index[graphs.y.numpy()[index] == 0]


def test_the_same_seed_gives_the_same_weights() -> None:
    settings = config()
    graphs = toy_graphs(settings)
    train, held = parts(graphs)

    def hashes(seed: int, drawn_before: int) -> tuple[str, str]:
        chosen = dataclasses.replace(settings, seed=seed)
        torch.manual_seed(drawn_before)
        vgae = fit_vgae(graphs, clean(graphs, train), clean(graphs, held), chosen, SilentReporter())
        torch.manual_seed(drawn_before)
        anomaly = np.linspace(0, 1, len(train))
        gat = fit_gat(graphs, train, held, chosen, SilentReporter(), anomaly=anomaly)
        return weights_hash(vgae.model), weights_hash(gat.model)

    first, again, other = hashes(0, 1), hashes(0, 2), hashes(1, 1)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_unseen_ids_are_learnt_as_an_attack() -> None:
    settings = config(**{"gat.epochs": 6, "gat.dropout": 0.0, "gat.lr": 0.02, "vgae.epochs": 6})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    gat = fit_gat(graphs, train, held, settings, SilentReporter()).model
    other = prepared("test_/other", attacked=slice(25, 50), seed=9, settings=settings)
    unknown = GraphTensors.join([(other.store, other.relative)])
    odds = attack_log_odds(gat, unknown)[other.scored]
    label = other.store.y[other.scored]
    assert roc_auc_score(label, odds) > 0.95
    course = fit_vgae(graphs, clean(graphs, train), clean(graphs, held), settings, SilentReporter())
    vgae = course.model
    assert not vgae.training
    assert not gat.training
    error = error_components(vgae, unknown)[other.scored].sum(1)
    assert roc_auc_score(label, error) > 0.95


def test_features_are_standardised_by_the_training_windows() -> None:
    settings = config(**{"gat.epochs": 1})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    gat = fit_gat(graphs, train, held, settings, SilentReporter()).model
    batch = graphs.gather(torch.from_numpy(train))
    torch.testing.assert_close(gat.x_mean, batch.x.mean(0))
    torch.testing.assert_close(gat.edge_mean, batch.edge_attr.mean(0))
    torch.testing.assert_close(gat.window_std, batch.window_attr.std(0, correction=0) + 0.01)


def test_a_single_clean_window_is_learnt_from() -> None:
    settings = config()
    course = fit_vgae(
        toy_graphs(settings), np.array([20]), np.array([], int), settings, SilentReporter()
    )
    assert len(course.states) == settings.vgae.epochs
    assert course.losses == []  # Nothing was held out.


def test_every_epoch_is_reported() -> None:
    settings = config(**{"vgae.epochs": 3})
    graphs, recorder = toy_graphs(settings), Recorder()
    train, held = (clean(graphs, part) for part in parts(graphs))
    fit_vgae(graphs, train, held, settings, recorder)
    assert [(step, point["epoch"]) for step, point in recorder.points] == [
        ("vgae", 0),
        ("vgae", 1),
        ("vgae", 2),
    ]
    for _, point in recorder.points:
        assert set(point) == {"epoch", "train_loss", "val_loss"}
        assert all(np.isfinite(value) for value in point.values())


class StopAfter(SilentReporter):
    """Asks to stop at the n-th check."""

    def __init__(self, checks: int) -> None:
        self.checks = checks

    def check(self) -> None:
        self.checks -= 1
        if self.checks < 0:
            raise JobStopped("stopped")


def test_a_stop_is_obeyed_between_batches() -> None:
    settings = config(**{"gat.epochs": 1000})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    with pytest.raises(JobStopped):
        fit_gat(graphs, train, held, settings, StopAfter(2))


def test_the_best_epoch_is_that_of_all_courses() -> None:
    def course(*losses: float) -> Course[Any]:
        return Course(untrained_vgae(), [{}] * 4, list(losses))

    assert best_epoch([course(3.0, 1.0, 2.0, 1.5)]) == 1
    assert best_epoch([course(3.0, 1.0, 2.0, 1.5), course(9.0, 9.0, 2.0, 3.0)]) == 2
    assert best_epoch([course(3.0, 1.0, 2.0, 1.5), course()]) == 1
    assert best_epoch([course(), course()]) == 3


def test_a_course_goes_back_to_any_epoch() -> None:
    settings, recorder = config(**{"gat.epochs": 4}), Recorder()
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    course = fit_gat(graphs, train, held, settings, recorder)
    assert course.losses == [point["val_loss"] for _, point in recorder.points]
    hashes = [weights_hash(course.at(epoch)) for epoch in range(4)]
    assert len(set(hashes)) == 4
    assert weights_hash(course.at(1)) == hashes[1]
    # What ends early is as a longer course was then: the schedule is the same.
    short = fit_gat(graphs, train, held, settings, SilentReporter(), epochs=2)
    assert weights_hash(short.model) == hashes[1]


def test_being_sure_and_wrong_is_bounded_where_epochs_are_compared() -> None:
    settings = config()
    graphs, gat = toy_graphs(settings), untrained_gat()
    module = GATModule(gat, graphs, 1e-3, 1, 0, attack_weight=2.0)
    attacked = torch.from_numpy(np.flatnonzero(graphs.y.numpy()))
    with torch.no_grad():
        gat.classifier[-1].bias.fill_(-1000.0)
        assert float(module.loss(attacked, None)) > 1000
        assert float(module.held_out_loss(attacked)) == pytest.approx(
            2 * np.log1p(np.exp(SURE)), rel=1e-5
        )


def test_hard_windows_are_drawn_more_often() -> None:
    weight = torch.where(torch.arange(1000) < 100, HARD_WEIGHT, 1.0)
    batches = WindowBatches(torch.arange(1000), 64, 0, 50, weight=weight)
    drawn = torch.stack([torch.cat(list(batches)) for _ in range(400)])
    assert all(len(epoch.unique()) == 50 for epoch in drawn)
    share = float((drawn < 100).float().mean())
    # 3 * 100 against 900, a little less as windows are not drawn twice.
    assert share == pytest.approx(0.25, abs=0.02)
    everything = WindowBatches(torch.arange(1000), 64, 0, weight=weight)
    assert torch.cat(list(everything)).unique().tolist() == list(range(1000))


def test_a_gat_learns_most_from_what_a_vgae_finds_hard(monkeypatch: pytest.MonkeyPatch) -> None:
    import core.detectors.training as module

    seen: list[torch.Tensor | None] = []
    init = WindowBatches.__init__

    def spy(self: WindowBatches, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        seen.append(self.weight)

    monkeypatch.setattr(module.WindowBatches, "__init__", spy)
    settings = config(**{"gat.epochs": 1})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    anomaly = np.random.default_rng(0).random(len(train))
    fit_gat(graphs, train, held, settings, SilentReporter(), anomaly=anomaly)
    found = anomaly[graphs.y.numpy()[train] == 0]
    weight = seen[0]
    assert weight is not None
    hard = weight.numpy() == HARD_WEIGHT
    assert hard.mean() == pytest.approx(0.25, abs=0.02)
    assert found[hard].min() > found[~hard].max()


def test_the_rarer_class_weighs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    loss = nn.functional.binary_cross_entropy_with_logits

    def spy(*args: Any, pos_weight: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        seen.append(float(pos_weight))
        return loss(*args, pos_weight=pos_weight, **kwargs)

    monkeypatch.setattr(nn.functional, "binary_cross_entropy_with_logits", spy)
    settings = config(**{"gat.epochs": 1})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    attacked = int(graphs.y[torch.from_numpy(train)].sum())
    fit_gat(graphs, train, held, settings, SilentReporter())
    assert len(set(seen)) == 1
    assert seen[0] == pytest.approx((len(train) - attacked) / attacked)


@given(
    clean_windows=st.integers(1, 300),
    rare_windows=st.integers(0, 300),
    limit=st.one_of(st.none(), st.integers(2, 200)),
    batch_size=st.integers(1, 64),
)
def test_an_epoch_draws_what_it_may(
    clean_windows: int, rare_windows: int, limit: int | None, batch_size: int
) -> None:
    index = torch.arange(clean_windows)
    rare = torch.arange(1000, 1000 + rare_windows)
    batches = WindowBatches(index, batch_size, 0, limit, rare)
    first, second = list(batches), list(batches)
    assert len(first) == len(second) == len(batches)
    drawn = torch.cat(first)
    total = clean_windows + rare_windows
    assert len(drawn) == min(total, limit or total)
    assert len(drawn.unique()) == len(drawn)
    assert all(0 < len(batch) <= batch_size for batch in first)
    attacked = int((drawn >= 1000).sum())
    if len(drawn) < total:
        # Half of an epoch, where there are as many; clean windows fill the rest.
        wanted = max(len(drawn) // 2, len(drawn) - clean_windows)
        assert attacked == min(rare_windows, wanted)
    if len(drawn) > 20:
        assert not torch.equal(drawn, torch.cat(second))
    repeated = torch.cat(list(WindowBatches(index, batch_size, 0, limit, rare)))
    assert torch.equal(drawn, repeated)


def test_without_a_seed_windows_come_in_order() -> None:
    batches = WindowBatches(torch.arange(10), 4)
    assert [b.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert len(batches) == 3
