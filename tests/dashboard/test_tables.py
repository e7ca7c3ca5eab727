import json

import pytest

from dashboard.tables import f1_table, long_table, method_table, parts_table
from tests.dashboard.run_folders import write_run


@pytest.fixture
def results(workspace):
    return json.loads((write_run(workspace) / "results.json").read_text())


def test_every_method_has_a_row_and_numbers_match_the_file(results):
    numbers = results["scenarios"]["test_01_known_vehicle_known_attack"]
    table = method_table(numbers)
    assert list(table["Method"])[-2:] == ["DQN fusion", "Oracle"]
    fusion = table[table["Method"] == "DQN fusion"].iloc[0]
    assert fusion["F1"] == f"{numbers['methods']['fusion']['f1']:.3f}"
    assert fusion["TP"] == str(numbers["methods"]["fusion"]["tp"])


def test_undefined_numbers_are_dashes(results):
    table = method_table(results["scenarios"]["test_02_without_attacks"])
    assert set(table["F1"]) == {"–"}
    assert set(table["AUROC"]) == {"–"}
    assert "–" not in set(table["Accuracy"])


def test_scenarios_and_captures_have_a_row_each(results):
    assert len(f1_table(results)) == 3
    assert list(parts_table(results["validation"], "captures", "f1")["Capture"]) == [
        "DoS-1.csv",
        "fuzzing-2.csv",
    ]


def test_the_download_holds_every_scenario_capture_and_method(results):
    table = long_table(results)
    assert len(table) == 3 * (1 + 2) * 6
    assert {"scenario", "capture", "method", "f1", "tp"} <= set(table.columns)
