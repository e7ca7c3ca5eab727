import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.captures.frame_table import FrameTable
from core.detectors.crossfit import Detectors, Scores, score_capture
from core.detectors.prepare import prepare_capture
from core.detectors.scoring import (
    anomaly_score,
    attack_log_odds,
    calibrate,
    center_and_spread,
    clean_thresholds,
    deviation,
    error_components,
    probability,
    stage,
)
from core.detectors.vgae import COMPONENTS, EXPERIENCE
from core.graphs.build import build_graphs
from core.graphs.tensors import GraphTensors
from tests.core.detectors.toy import CPU, config, random_graphs, untrained_gat, untrained_vgae
from tests.core.graphs.captures import random_capture


def test_deviation_by_hand() -> None:
    components = np.array([[1.0, 5.0], [4.0, 5.0], [1.0, -50.0], [2.0, 6.0]])
    found = deviation(components, center=np.array([1.0, 5.0]), spread=np.array([1.0, 0.5]))
    # Only excess counts: 3 and 0; 0 and (far below) 0; 1 and 2.
    np.testing.assert_allclose(found, [0, 3 / np.sqrt(2), 0, np.sqrt((1 + 4) / 2)])


def test_score_is_a_half_at_the_threshold() -> None:
    found = anomaly_score(np.array([0.0, 1.5, 3.0, 6.0]), np.full(4, 3.0))
    np.testing.assert_allclose(found, [0, 0.2, 0.5, 0.8])


@given(
    distance=arrays(float, 20, elements=st.floats(0, 1e6)),
    threshold=st.floats(1e-6, 1e6),
)
def test_score_is_monotone_and_within_0_and_1(distance: np.ndarray, threshold: float) -> None:
    distance.sort()
    score = anomaly_score(distance, np.full(20, threshold))
    assert (score >= 0).all()
    assert (score <= 1).all()
    assert (np.diff(score) >= 0).all()
    np.testing.assert_array_equal(score[distance >= threshold] >= 0.5, True)
    np.testing.assert_array_equal(score[distance < threshold * (1 - 1e-9)] < 0.5, True)


def test_center_and_spread_are_median_and_mad() -> None:
    components = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    center, spread = center_and_spread(components)
    assert center == [2.0]
    assert spread == pytest.approx([1.4826 * 1 + 0.05])


def test_threshold_leaves_one_in_a_hundred_above() -> None:
    distance = np.random.default_rng(0).permutation(np.arange(2000.0))
    thresholds = clean_thresholds(distance, np.full(2000, 1000))
    assert thresholds.shape == (len(EXPERIENCE),)
    assert len(np.unique(thresholds)) == 1  # the other stages have no windows of their own
    assert (distance > thresholds[0]).sum() == 20
    assert (clean_thresholds(np.zeros(5), np.arange(5)) > 0).all()


def test_stage_by_hand() -> None:
    assert EXPERIENCE[:4] == (0, 5, 10, 20)
    assert stage(np.array([0, 4, 5, 9, 10, 199, 200, 10**6])).tolist() == [0, 0, 1, 1, 2, 5, 6, 6]


def test_thresholds_follow_experience_and_never_rise() -> None:
    rng = np.random.default_rng(0)
    experience = np.repeat(EXPERIENCE, 100)
    height = np.repeat([9.0, 5.0, 7.0, 3.0, 2.0, 1.0, 1.0], 100)
    thresholds = clean_thresholds(height + 0.1 * rng.random(700), experience)
    np.testing.assert_allclose(thresholds, [9.1, 7.1, 7.1, 3.1, 2.1, 1.1, 1.1], atol=0.01)
    # Nineteen windows are too few for a threshold of their own: all windows give it.
    few = np.concatenate([np.zeros(19, int), np.full(1000, 300)])
    thresholds = clean_thresholds(np.where(few == 0, 99.0, 1.0), few)
    np.testing.assert_allclose(thresholds[0], np.quantile(np.where(few == 0, 99.0, 1.0), 0.99))
    np.testing.assert_allclose(thresholds[-1], 1.0)


def test_probability_does_not_overflow() -> None:
    found = probability(np.array([-1e4, -1.0, 0.0, 1.0, 1e4]))
    np.testing.assert_allclose(found, [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1])


def test_a_calibrated_model_finds_the_median_window_normal() -> None:
    graphs, vgae = random_graphs(), untrained_vgae()
    components = error_components(vgae, graphs)
    calibrate(vgae, components)
    np.testing.assert_allclose(vgae.component_center, np.median(components, 0), rtol=1e-5)
    assert (vgae.component_spread > 0).all()


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
    found = score_capture(Detectors(vgae, None), capture, CPU)
    assert found.windows.tolist() == list(range(12, 60))
    assert (found.gat_prob == 0.5).all()
    graphs = GraphTensors.join([(capture.store, capture.relative)])
    components = error_components(vgae, graphs)
    center, spread = center_and_spread(components[:12])
    expected = deviation(components[12:], center, spread)
    np.testing.assert_allclose(found.deviation, expected)
    np.testing.assert_allclose(found.anomaly_score, anomaly_score(expected, np.ones(48)))


def test_without_commissioning_the_model_and_experience_are_the_reference() -> None:
    settings = config(protocol="zero-shot")
    store = build_graphs(random_capture(1200, 9, seed=4), settings.window)
    vgae = untrained_vgae()
    vgae.component_center.fill_(-1.0)
    vgae.component_spread.fill_(2.0)
    vgae.thresholds.copy_(torch.arange(7, 0, -1))
    found = score_capture(Detectors(vgae, None), prepare_capture("test_/x", store, settings), CPU)
    assert found.windows.tolist() == list(range(60))
    expected = np.sqrt((np.maximum((found.components + 1) / 2, 0) ** 2).mean(1))
    np.testing.assert_allclose(found.deviation, expected)
    # Of 60 windows, the first 5 are of stage 0 (threshold 7), the last 10 of stage 4 (3).
    for window, threshold in ((0, 7), (4, 7), (5, 6), (10, 5), (20, 4), (49, 4), (50, 3), (59, 3)):
        square = expected[window] ** 2
        assert found.anomaly_score[window] == pytest.approx(square / (square + threshold**2))
