import dataclasses
from collections.abc import Mapping
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
from core.detectors.scoring import attack_log_odds, center_and_spread, error_components
from core.detectors.training import (
    DetectorModule,
    KeepBest,
    WindowBatches,
    fit_gat,
    fit_vgae,
    hold_out,
)
from core.errors import JobStopped
from core.graphs.tensors import GraphTensors
from core.progress import SilentReporter
from tests.core.detectors.toy import Recorder, config, prepared, untrained_vgae


def toy_graphs(settings: DetectorConfig) -> GraphTensors:
    """A clean capture, then one attacked in its windows 30 to 45."""
    captures = [
        prepared("train_/clean", seed=1, settings=settings),
        prepared("train_/attacked", attacked=slice(30, 46), seed=2, settings=settings),
    ]
    return GraphTensors.join([(c.store, c.relative) for c in captures])


def parts(graphs: GraphTensors) -> tuple[np.ndarray, np.ndarray]:
    """Training and held-out windows."""
    capture = np.repeat([0, 1], 60)
    held = hold_out(capture, graphs.y.numpy().astype(np.uint8), 0.2, 0)
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
        gat = fit_gat(graphs, train, held, chosen, SilentReporter())
        return weights_hash(vgae), weights_hash(gat)

    first, again, other = hashes(0, 1), hashes(0, 2), hashes(1, 1)
    assert first == again
    assert first[0] != other[0]
    assert first[1] != other[1]


def test_unseen_ids_are_learnt_as_an_attack() -> None:
    settings = config(**{"gat.epochs": 6, "gat.dropout": 0.0, "gat.lr": 0.02, "vgae.epochs": 6})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    gat = fit_gat(graphs, train, held, settings, SilentReporter())
    other = prepared("test_/other", attacked=slice(25, 50), seed=9, settings=settings)
    unknown = GraphTensors.join([(other.store, other.relative)])
    odds = attack_log_odds(gat, unknown)[other.scored]
    label = other.store.y[other.scored]
    assert roc_auc_score(label, odds) > 0.95
    vgae = fit_vgae(graphs, clean(graphs, train), clean(graphs, held), settings, SilentReporter())
    assert not vgae.training
    assert not gat.training
    error = error_components(vgae, unknown)[other.scored].sum(1)
    assert roc_auc_score(label, error) > 0.95


def test_features_are_standardised_by_the_training_windows() -> None:
    settings = config(**{"gat.epochs": 1})
    graphs = toy_graphs(settings)
    train, held = parts(graphs)
    gat = fit_gat(graphs, train, held, settings, SilentReporter())
    batch = graphs.gather(torch.from_numpy(train))
    torch.testing.assert_close(gat.x_mean, batch.x.mean(0))
    torch.testing.assert_close(gat.edge_mean, batch.edge_attr.mean(0))
    torch.testing.assert_close(gat.window_std, batch.window_attr.std(0, correction=0) + 0.01)


def test_the_vgae_is_calibrated_on_all_clean_windows() -> None:
    settings = config(**{"vgae.epochs": 1})
    graphs = toy_graphs(settings)
    train, held = (clean(graphs, part) for part in parts(graphs))
    vgae = fit_vgae(graphs, train, held, settings, SilentReporter())
    rows = np.concatenate([train, held])
    center, spread = center_and_spread(error_components(vgae, graphs)[rows])
    np.testing.assert_allclose(vgae.component_center, center, rtol=1e-5)
    np.testing.assert_allclose(vgae.component_spread, spread, rtol=1e-5)


def test_a_single_clean_window_is_learnt_from() -> None:
    settings = config()
    graphs = toy_graphs(settings)
    vgae = fit_vgae(graphs, np.array([20]), np.array([], int), settings, SilentReporter())
    np.testing.assert_allclose(vgae.component_center, error_components(vgae, graphs)[20], rtol=1e-4)


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


def test_the_best_epoch_is_kept() -> None:
    class Trainer:
        def __init__(self, epoch: int, loss: float) -> None:
            self.current_epoch = epoch
            self.callback_metrics = {"val_loss": torch.tensor(loss)}

    module = DetectorModule(untrained_vgae(), None, 1e-3, 1, 0)  # type: ignore[arg-type]
    keep, seen = KeepBest("vgae", 4, SilentReporter()), []
    for epoch, loss in enumerate([3.0, 1.0, 2.0, 1.5]):
        with torch.no_grad():
            for parameter in module.model.parameters():
                parameter.fill_(float(epoch))
        seen.append(weights_hash(module.model))
        trainer: Any = Trainer(epoch, loss)
        keep.on_train_epoch_end(trainer, module)
    assert keep.best == 1.0
    module.model.load_state_dict(keep.state)
    assert weights_hash(module.model) == seen[1]


def test_training_ends_with_the_weights_of_the_best_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The worse the later epochs, the more the result must be the first one's."""
    settings = config(**{"gat.epochs": 4, "gat.lr": 1.0})
    graphs, recorder = toy_graphs(settings), Recorder()
    train, held = parts(graphs)
    states: list[Mapping[str, torch.Tensor]] = []
    end = KeepBest.on_train_epoch_end

    def spy(self: KeepBest, trainer: Any, module: Any) -> None:
        end(self, trainer, module)
        states.append({k: v.clone() for k, v in module.model.state_dict().items()})

    monkeypatch.setattr(KeepBest, "on_train_epoch_end", spy)
    gat = fit_gat(graphs, train, held, settings, recorder)
    losses = [point["val_loss"] for _, point in recorder.points]
    best = states[int(np.argmin(losses))]
    assert len({tuple(s["embed.weight"].flatten().tolist()) for s in states}) == 4
    for name, value in gat.state_dict().items():
        torch.testing.assert_close(value, best[name])


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


@given(
    runs=st.lists(st.tuples(st.integers(1, 120), st.booleans()), min_size=1, max_size=8),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 1000),
)
def test_whole_pieces_of_every_class_are_held_out(
    runs: list[tuple[int, bool]], fraction: float, seed: int
) -> None:
    capture = np.concatenate([np.full(n, i // 2) for i, (n, _) in enumerate(runs)])
    label = np.concatenate([np.full(n, y, np.uint8) for n, y in runs])
    held = hold_out(capture, label, fraction, seed)
    np.testing.assert_array_equal(held, hold_out(capture, label, fraction, seed))
    start, pieces = 0, {0: [], 1: []}  # type: ignore[var-annotated]
    before: tuple[int, int] | None = None
    for window in range(len(label) + 1):
        now = (capture[window], label[window]) if window < len(label) else None
        if before is not None and (now != before or window - start == 25):
            piece = held[start:window]
            assert piece.all() or not piece.any()
            pieces[before[1]].append(bool(piece[0]))
            start = window
        before = now
    for taken in pieces.values():
        if len(taken) > 1:
            expected = min(max(1, round(fraction * len(taken))), len(taken) - 1)
            assert sum(taken) == expected
        else:
            assert not any(taken)  # A class with a single piece is all for training.
