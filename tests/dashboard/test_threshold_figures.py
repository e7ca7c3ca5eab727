import numpy as np
import pytest

from core.evaluation.metrics import window_metrics
from core.evaluation.thresholds import SortedScores, reliability
from dashboard.palette import SCORE_COLUMNS
from dashboard.scenario_scores import CELLS, scenario_scores
from dashboard.threshold_figures import calibration, threshold_explorer
from tests.dashboard.run_folders import write_run

SCENARIO = "test_01_known_vehicle_known_attack"


@pytest.fixture
def scores(workspace):
    return scenario_scores(write_run(workspace), SCENARIO)


def bars(data):
    return [trace for trace in data if trace["type"] == "bar"]


def words(data):
    """Of each matrix: its rates, then what is in its cells, in their order."""
    return [trace["text"] for trace in data if trace["text"]]


def test_every_frame_counts_what_the_metrics_count(scores):
    figure = threshold_explorer(scores.sorted, ["vgae", "fusion"], 0.5, 0.5)
    label = scores.rows["label"].to_numpy()
    for name in ("0.2", "0.5", "0.83"):
        frame = next(f for f in figure.frames if f.name == name)
        matrices = zip(bars(frame.data), words(frame.data), strict=True)
        for method, (bar, (rates, *cells)) in zip(("vgae", "fusion"), matrices, strict=True):
            expected = window_metrics(label, scores.rows[SCORE_COLUMNS[method]], float(name))
            assert rates.startswith(f"F1 {expected['f1']:.3f}")
            for text, (told, cell, threshold, _) in zip(cells, bar["customdata"], strict=True):
                assert (told, threshold) == (method, float(name))
                assert text.startswith(f"<b>{expected[cell]:,}</b>")


def test_the_slider_begins_where_it_is_told_and_knows_the_runs_threshold(scores):
    figure = threshold_explorer(scores.sorted, ["vgae"], 0.3712, 0.3712)
    steps = [step.label for step in figure.layout.sliders[0].steps]
    assert steps[figure.layout.sliders[0].active] == "0.3712"
    assert steps == sorted(steps, key=float)
    (bar,) = bars(figure.data)
    assert {row[2] for row in bar["customdata"]} == {0.3712}


def test_operating_points_lie_on_their_curves(scores):
    figure = threshold_explorer(scores.sorted, ["vgae"], 0.5, 0.5)
    roc, _, point, *_ = figure.data
    away = np.hypot(np.asarray(roc.x) - point.x[0], np.asarray(roc.y) - point.y[0])
    assert away.min() == pytest.approx(0, abs=1e-12)


def test_a_scenario_without_attacks_is_drawn(workspace):
    scores = scenario_scores(write_run(workspace), "test_02_without_attacks")
    figure = threshold_explorer(scores.sorted, ["vgae", "gat", "fusion", "stacking"], 0.5, 0.5)
    assert any("F1 –" in text for trace in figure.data for text in trace["text"] or ())


def test_cells_hold_the_windows_that_they_count(scores):
    label = scores.rows["label"].to_numpy()
    expected = window_metrics(label, scores.rows["fused"], 0.4)
    found = {cell: scores.cell("fusion", cell, 0.4) for cell in CELLS}
    assert {cell: len(rows) for cell, rows in found.items()} == {c: expected[c] for c in CELLS}
    assert (found["fn"]["fused"] < 0.4).all()
    assert (found["fn"]["label"] == 1).all()
    assert sum(map(len, found.values())) == len(scores.rows)


def test_calibration_shows_bins_with_windows():
    found = {"vgae": reliability([0, 1, 1], [0.05, 0.95, 0.95])}
    perfect, line = calibration(found, ["vgae"]).data
    assert list(perfect.x) == [0, 1]
    assert list(line.customdata) == [1, 2]
    assert "error 0.050" in line.name


def test_many_windows_are_sorted_once_and_then_counted_fast():
    rng = np.random.default_rng(0)
    label = rng.random(1_000_000) < 0.1
    many = SortedScores.of(label, rng.random(1_000_000))
    tp, fp, tn, fn = many.confusion(np.linspace(0, 1, 101))
    assert (tp + fn == label.sum()).all()
    assert (fp + tn == (~label).sum()).all()
