import json
import re

import pytest

from core.jobs.run import load_manifest
from dashboard.report import report_html
from tests.dashboard.run_folders import RUN_ID, write_run

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"


@pytest.fixture
def folder(workspace):
    return write_run(workspace)


def report(folder, workspace):
    return report_html(load_manifest(folder), folder, workspace)


def without_plotly(page):
    """What is not a script of plotly's."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_a_report_has_verdict_figures_settings_hash_seed_and_versions(folder, workspace):
    page = report(folder, workspace)
    text = without_plotly(page)
    for words in (
        "Intrusion detection on demo",
        RUN_ID,
        "mean F1",
        "simulated traffic",
        "01 known vehicle, known attack",
        "training.max_epochs",
        "SHA-256",
        "<dt>Seed</dt><dd>0</dd>",
        "<dt>torch</dt><dd>2.",
    ):
        assert words in text
    # Bars, policy, alphas, and for each scenario thresholds and calibration.
    assert text.count("<figure") == 3 + 3 * 2


def test_a_report_needs_nothing_from_elsewhere(folder, workspace):
    text = without_plotly(report(folder, workspace))
    assert not re.search(r'(src|href)="', text)
    assert "default-src 'none'" in text


def test_nothing_in_a_report_is_taken_for_markup(folder, workspace):
    results = json.loads((folder / "results.json").read_text())
    numbers = results["scenarios"].pop("test_01_known_vehicle_known_attack")
    numbers["captures"] = {HOSTILE: numbers["captures"]["DoS-1.csv"]}
    numbers["attacks"] = {HOSTILE: numbers["captures"][HOSTILE]}
    results["scenarios"][HOSTILE] = numbers
    results["warnings"] = [HOSTILE]
    results["dataset"] = HOSTILE
    (folder / "results.json").write_text(json.dumps(results))
    page = report(folder, workspace)
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert" in page


def test_intervals_and_detection_are_told_where_they_are_known(folder, workspace):
    results = json.loads((folder / "results.json").read_text())
    numbers = results["scenarios"]["test_01_known_vehicle_known_attack"]
    numbers["intervals"] = {"fusion": {"f1": [0.111, 0.999]}}
    numbers["fusion_gain"] = {
        "best_single": "gat",
        "f1": -0.05,
        "f1_interval": [-0.09, -0.01],
        "gap_closed": None,
    }
    numbers["detection"] = {
        "fusion": {
            "episodes": 3,
            "detected": 2,
            "missed": 1,
            "delay_ms": {"median": 12.0, "mean": 13.0, "max": 99.0},
            "false_alarms": 4,
            "hours": 0.5,
            "false_alarms_per_hour": 8.0,
        }
    }
    (folder / "results.json").write_text(json.dumps(results))
    text = without_plotly(report(folder, workspace))
    assert "(0.111 to 0.999)" in text
    assert "<strong>it does not help</strong>" in text
    assert "<td>99</td>" in text
