import json

import numpy as np
import pandas as pd

from dashboard.figures import (
    DETECTOR_LINES,
    FUSION_LINES,
    MAX_POINTS,
    alpha_histogram,
    method_bars,
    timeline,
)
from dashboard.palette import METHODS
from tests.dashboard.run_folders import write_run


def test_alpha_shares_add_up_for_each_class():
    alpha = np.array([0.0, 0.05, 1.0, 1.0])
    benign, attacked = alpha_histogram(alpha, np.array([0, 0, 1, 1])).data
    assert list(benign.y[:2]) == [0.5, 0.5]
    assert attacked.y[-1] == 1.0


def test_bars_leave_out_what_is_undefined_and_can_zoom(workspace):
    results = json.loads((write_run(workspace) / "results.json").read_text())
    figure = method_bars(results)
    assert [bar.name for bar in figure.data] == [m.label for m in METHODS.values()]
    assert all(bar.y[2] is None for bar in figure.data)
    assert figure.layout.yaxis.range[0] == 0
    lowest = min(v for bar in figure.data for v in bar.y if v is not None)
    assert 0 < method_bars(results, zoom=True).layout.yaxis.range[0] < lowest


def test_long_captures_are_thinned():
    n = 3 * MAX_POINTS + 1
    windows = pd.DataFrame(
        {
            "window": np.arange(n),
            "start_time": np.arange(n) + 100.0,
            "label": np.zeros(n, np.uint8),
            "attack": [""] * n,
            **{name: np.zeros(n) for name in ("anomaly_score", "gat_prob", "alpha", "fused")},
        }
    )
    figure = timeline(windows, FUSION_LINES, 0.5)
    assert figure.data[0].x[0] == 0.0
    assert all(len(trace.x) <= MAX_POINTS for trace in figure.data)


def test_lines_break_where_windows_are_missing():
    windows = pd.DataFrame(
        {
            "window": [0, 1, 7, 8],
            "start_time": [0.0, 1.0, 7.0, 8.0],
            "label": np.array([0, 0, 1, 1], np.uint8),
            "attack": pd.Categorical(["", "", "DoS", "DoS"]),
            "anomaly_score": [0.1, 0.2, 0.8, 0.9],
            "gat_prob": [0.1, 0.2, 0.8, 0.9],
        }
    )
    truth, anomaly, _ = timeline(windows, DETECTOR_LINES, None).data
    assert np.isnan(anomaly.y).tolist() == [False, False, True, False, False]
    assert list(truth.customdata) == ["benign", "benign", "benign", "DoS", "DoS"]
