import dataclasses

import numpy as np
import pytest
import torch

from core.captures.frame_table import FrameTable
from core.detectors.calibration import (
    Logistic,
    anomaly_score,
    center_and_spread,
    deviation,
    passed_center,
)
from core.detectors.capture_scores import Scores, score_capture
from core.detectors.prepare import prepare_capture
from core.detectors.scoring import attack_log_odds, error_components
from core.detectors.stack import Detectors
from core.detectors.vgae import COMPONENTS
from core.graphs.build import build_graphs
from core.graphs.tensors import GraphTensors
from tests.core.detectors.toy import CPU, config, random_graphs, untrained_gat, untrained_vgae
from tests.core.graphs.captures import random_capture


@pytest.mark.parametrize("batch", [1, 40, 10**6])
def test_a_window_scores_the_same_in_every_batch(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    graphs, vgae, gat = random_graphs(), untrained_vgae(), untrained_gat()
    assert len(graphs) == 45
    components, odds = error_components(vgae, graphs), attack_log_odds(gat, graphs)
    assert components.shape == (45, len(COMPONENTS))
    assert odds.shape == (45,)
    monkeypatch.setattr("core.detectors.scoring.BATCH_EDGES", batch)
    np.testing.assert_allclose(error_components(vgae, graphs), components, atol=1e-5)
    np.testing.assert_allclose(attack_log_odds(gat, graphs), odds, atol=1e-5)


def test_the_order_in_a_batch_does_not_matter() -> None:
    graphs, vgae, gat = random_graphs(), untrained_vgae(), untrained_gat()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(graphs)))
    with torch.inference_mode():
        for model in (vgae.components, gat):
            whole = model(graphs.gather(torch.arange(len(graphs))))
            torch.testing.assert_close(
                model(graphs.gather(order)), whole[order], atol=1e-5, rtol=1e-5
            )


def test_no_window_gives_no_score() -> None:
    graphs = random_graphs()
    nothing = GraphTensors(
        x=graphs.x[:0],
        edge_index=graphs.edge_index[:, :0],
        edge_attr=graphs.edge_attr[:0],
        window_attr=graphs.window_attr[:0],
        y=graphs.y[:0],
        node_ptr=graphs.node_ptr[:1],
        edge_ptr=graphs.edge_ptr[:1],
    )
    assert error_components(untrained_vgae(), nothing).shape == (0, len(COMPONENTS))
    assert attack_log_odds(untrained_gat(), nothing).shape == (0,)


def renumbered(table: FrameTable) -> FrameTable:
    """The same traffic under other ids, whose order is another."""
    ids = np.unique(table.arbitration_id)
    new = np.random.default_rng(1).permutation(2000)[: len(ids)]
    assert (np.diff(new) < 0).any()
    return dataclasses.replace(
        table, arbitration_id=new[np.searchsorted(ids, table.arbitration_id)].astype(np.uint32)
    )


@pytest.mark.parametrize("protocol", ["zero-shot", "commissioned"])
def test_scores_do_not_depend_on_the_numbers_of_ids(protocol: str) -> None:
    settings = config(protocol=protocol)
    table = random_capture(1200, 9, seed=4)
    detectors = Detectors(untrained_vgae(), untrained_gat())

    def scores(capture: FrameTable) -> Scores:
        store = build_graphs(capture, settings.window)
        return score_capture(detectors, prepare_capture("test_/x", store, settings), CPU)

    first, second = scores(table), scores(renumbered(table))
    np.testing.assert_allclose(first.anomaly_score, second.anomaly_score, atol=1e-4)
    np.testing.assert_allclose(first.gat_prob, second.gat_prob, atol=1e-4)
    np.testing.assert_allclose(first.components, second.components, atol=1e-3)
    assert first.anomaly_score.std() > 0
    assert first.gat_prob.std() > 0


@pytest.mark.parametrize("protocol", ["zero-shot", "commissioned"])
def test_a_capture_is_scored_in_parts_as_at_once(
    protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(protocol=protocol, profile_windows=12)
    store = build_graphs(random_capture(1200, 9, seed=4), settings.window)
    capture = prepare_capture("test_/x", store, settings)
    detectors = Detectors(untrained_vgae(), untrained_gat())
    whole = score_capture(detectors, capture, CPU)
    monkeypatch.setattr("core.detectors.prepare.PART_WINDOWS", 7)
    assert len(list(capture.parts())) == 9
    parts = score_capture(detectors, capture, CPU)
    np.testing.assert_array_equal(parts.windows, whole.windows)
    for name in ("anomaly_score", "gat_prob", "components", "deviation"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-4)


def test_commissioning_windows_are_reference_and_not_scored() -> None:
    settings = config(profile_windows=12)
    store = build_graphs(random_capture(1200, 9, seed=4), settings.window)
    capture = prepare_capture("test_/x", store, settings)
    vgae = untrained_vgae()
    vgae.component_usual.copy_(torch.linspace(0.5, 4, len(COMPONENTS)))
    found = score_capture(Detectors(vgae, None), capture, CPU)
    assert found.windows.tolist() == list(range(12, 60))
    assert (found.gat_prob == 0.5).all()
    graphs = GraphTensors.join([(capture.store, capture.relative)])
    components = error_components(vgae, graphs)
    center, spread = center_and_spread(components[:12])
    usual = np.linspace(0.5, 4, len(COMPONENTS))
    expected = deviation(components[12:], center, np.sqrt(spread * usual))
    np.testing.assert_allclose(found.deviation, expected, rtol=1e-6)
    np.testing.assert_allclose(found.anomaly_score, anomaly_score(expected, np.ones(48)), rtol=1e-6)


@pytest.mark.parametrize("protocol", ["zero-shot", "commissioned"])
def test_log_odds_are_taken_relative_to_the_reference(protocol: str) -> None:
    settings = config(protocol=protocol, profile_windows=12)
    store = build_graphs(random_capture(1200, 9, seed=4), settings.window)
    capture = prepare_capture("test_/x", store, settings)
    gat = untrained_gat()
    odds = attack_log_odds(gat, GraphTensors.join([(capture.store, capture.relative)]))
    plain = score_capture(Detectors(untrained_vgae(), gat), capture, CPU)
    np.testing.assert_allclose(plain.gat_prob, 1 / (1 + np.exp(-odds[capture.scored])), rtol=1e-5)
    own = {"odds_center": -0.5, "odds_spread": 0.3}
    for name, value in {**own, "odds_usual": 0.2, "slope": 1.5, "border": 2.0}.items():
        getattr(gat, name).fill_(value)
    gat.calibrated.fill_(True)
    found = score_capture(Detectors(untrained_vgae(), gat), capture, CPU)
    center, spread = passed_center(odds, -0.5, 0.3), 0.3
    if protocol == "commissioned":
        middle = np.median(odds[:12])
        center = np.full(len(odds), middle)[12:]
        spread = 1.4826 * np.median(np.abs(odds[:12] - middle)) + 0.05
    departure = (odds[capture.scored] - center) / np.sqrt(spread * 0.2)
    expected = Logistic(1.5, 2.0).probability(departure)
    np.testing.assert_allclose(found.gat_prob, expected, rtol=1e-5)


def test_without_commissioning_windows_before_move_the_reference_of_the_model() -> None:
    settings = config(protocol="zero-shot")
    store = build_graphs(random_capture(1200, 9, seed=4), settings.window)
    vgae = untrained_vgae()
    vgae.component_center.fill_(-1.0)
    vgae.component_spread.fill_(2.0)
    vgae.thresholds.copy_(torch.arange(7, 0, -1))
    vgae.component_usual.fill_(8.0)
    found = score_capture(Detectors(vgae, None), prepare_capture("test_/x", store, settings), CPU)
    assert found.windows.tolist() == list(range(60))
    # From where the windows before lie, in units of the geometric mean of 2, the model's own
    # spread, and 8, the usual one.
    center = passed_center(found.components, -1.0, 2.0)
    expected = np.sqrt((np.maximum((found.components - center) / 4, 0) ** 2).mean(1))
    assert abs(center[-1] + 1.0).max() > 0.1
    np.testing.assert_allclose(found.deviation, expected)
    # Of 60 windows, the first 5 are of stage 0 (threshold 7), the last 10 of stage 4 (3).
    for window, threshold in ((0, 7), (4, 7), (5, 6), (10, 5), (20, 4), (49, 4), (50, 3), (59, 3)):
        square = expected[window] ** 2
        assert found.anomaly_score[window] == pytest.approx(square / (square + threshold**2))
