"""The comparison page: intervals, thresholds, cells of a matrix and their windows."""

import json

import pytest

from core.evaluation.metrics import window_metrics
from dashboard.results import load_predictions, rows_where
from tests.dashboard.run_folders import RUN_ID, write_run
from tests.pages.test_pages import said

SCENARIO = "test_01_known_vehicle_known_attack"
CAPTURE = f"{SCENARIO}/DoS-1.csv"


def windows_listed(app):
    return next(f.value for f in app.dataframe if "Truth" in f.value.columns)


def test_a_cell_in_the_address_lists_its_windows_at_its_threshold(open_page, workspace):
    folder = write_run(workspace)
    app = open_page("comparison", run=RUN_ID, threshold="0.3", cell="fusion-fp")
    assert not app.exception
    rows = rows_where(load_predictions(folder), split=SCENARIO)
    expected = window_metrics(rows["label"], rows["fused"], 0.3)["fp"]
    shown = windows_listed(app)
    assert len(shown) == expected > 0
    assert set(shown["Truth"]) == {"benign"}
    assert (shown["Fused"] >= 0.3).all()
    assert f"DQN fusion at 0.3: {expected} false alarms" in said(app)


@pytest.mark.parametrize("query", [{"cell": "fusion-xx"}, {"cell": "<b>-tp"}, {"threshold": "nan"}])
def test_nonsense_in_the_address_is_passed_over(open_page, workspace, query):
    write_run(workspace)
    app = open_page("comparison", run=RUN_ID, **query)
    assert not app.exception
    assert not app.error


def test_a_window_is_judged_by_the_threshold_that_was_chosen(open_page, workspace):
    folder = write_run(workspace)
    rows = rows_where(load_predictions(folder), capture=CAPTURE)
    row = rows[(rows["fused"] > 0.3) & (rows["fused"] < 0.5)].iloc[0]
    window = f"{CAPTURE}@{row['window']}"
    verdicts = []
    for threshold in ("0.3", "0.5"):
        app = open_page(
            "comparison", run=RUN_ID, threshold=threshold, cell="fusion-fp", window=window
        )
        verdicts.append({m.label: m.value for m in app.metric}["Verdict"])
    assert verdicts == ["attack", "benign"]


def test_intervals_attacks_and_delays_are_shown_where_a_run_has_them(open_page, workspace):
    folder = write_run(workspace)
    results = json.loads((folder / "results.json").read_text())
    numbers = results["scenarios"][SCENARIO]
    numbers["intervals"] = {"fusion": {"f1": [0.111, 0.999]}}
    numbers["attacks"] = {"DoS": numbers["captures"]["DoS-1.csv"]}
    numbers["detection"] = {
        "fusion": {"episodes": 2, "detected": 2, "missed": 0, "delay_ms": None, "hours": 0.1}
    }
    numbers["fusion_gain"] = {"best_single": "gat", "f1": -0.1, "f1_interval": [-0.2, -0.05]}
    (folder / "results.json").write_text(json.dumps(results))
    app = open_page("comparison", run=RUN_ID)
    assert not app.exception
    tables = [f.value for f in app.dataframe]
    assert any("(0.111 to 0.999)" in str(t.get("F1", [])) for t in tables)
    assert any("Attack" in t.columns and "DoS" in set(t["Attack"]) for t in tables)
    assert any("Longest delay (ms)" in t.columns for t in tables)
    assert "it does not help" in said(app)


def test_a_script_in_a_capture_name_stays_text(open_page, workspace):
    folder = write_run(workspace)
    results = json.loads((folder / "results.json").read_text())
    name = "<script>alert(1)</script>.csv"
    captures = results["scenarios"][SCENARIO]["captures"]
    captures[name] = captures.pop("DoS-1.csv")
    results["warnings"] = [f"{name}: **bold** [link](http://x)"]
    (folder / "results.json").write_text(json.dumps(results))
    app = open_page("comparison", run=RUN_ID)
    assert not app.exception
    assert "\\[link\\]" in said(app)
    assert "\\*\\*bold" in said(app)
