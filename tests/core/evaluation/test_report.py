"""Rows and tables from runs made up by hand."""

import pytest

from core.evaluation.report import in_sample_rows, markdown, rows
from core.evaluation.scenario import METHODS

INTERVALS = ("f1", "auroc", "fpr")


def measured(f1, low, high, delay=100.0):
    metrics = {"mcc": 0.5, "auroc": 0.75, "auprc": 0.5, "fpr": 0.0}
    bounds = None if low is None else [low, high]
    return {
        "windows": 10,
        "attack_windows": 4,
        "methods": {m: {"f1": f1.get(m, 0.5), **metrics} for m in METHODS},
        "intervals": {m: dict.fromkeys(INTERVALS, bounds) for m in METHODS},
        "detection": {
            m: {
                "episodes": 2,
                "missed": 0 if delay else 2,
                "delay_ms": delay and {"median": delay},
                "delay_frames": None,
                "false_alarms_per_hour": 12.0,
            }
            for m in METHODS
        },
    }


def run(seed, f1, low=0.8, high=0.9, delay=100.0, **other):
    part = measured(f1, low, high, delay)
    scenario = part | {"captures": {"a.csv": part}, "attacks": {"dos": part}}
    return {
        "dataset": "cars",
        "arrangement": "given",
        "left_out": "",
        "protocol": "commissioned",
        "seed": seed,
        "device": "cpu",
        "seconds": {"graphs": 1.0, "fusion": 2.0},
        "validation": part,
        "scenarios": {"test_01": scenario},
        "summary": {"gap_closed": 0.5, "alpha_mean": 0.25},
        "in_sample": None,
        **other,
    }


RUNS = [
    run(0, {"vgae": 0.8, "gat": 0.7, "fusion": 0.9, "oracle": 1.0}, 0.8, 0.95),
    run(1, {"vgae": 0.6, "gat": 0.9, "fusion": 0.9, "oracle": 1.0}, 0.85, 0.99, delay=200.0),
]


def test_a_row_is_the_mean_over_seeds_and_the_widest_interval():
    found = rows(RUNS)
    assert [(row["part"], row["name"]) for row in found] == [
        ("all", "test_01"), ("attack", "dos"), ("capture", "a.csv"),
    ]  # fmt: skip
    row = found[0]
    assert row["methods"]["gat"]["f1"] == pytest.approx(0.8)
    assert row["intervals"]["fusion"]["f1"] == [0.8, 0.99]
    assert row["detection"]["fusion"]["delay_ms"]["median"] == 150.0
    assert row["f1"]["1"]["vgae"] == 0.6
    # By mean F1 the GAT (.8) is better than the VGAE (.7), and half of .2 is closed.
    assert row["best_single"] == "gat"
    assert row["gain"] == pytest.approx(0.1)
    assert row["gap_closed"] == pytest.approx(0.5)


def test_a_delay_is_the_mean_over_the_seeds_that_noticed_anything():
    row = rows([RUNS[0], run(1, {}, delay=None)])[0]
    assert row["detection"]["fusion"]["delay_ms"]["median"] == 100.0
    assert row["detection"]["fusion"]["missed"] == 1


def test_what_one_seed_does_not_define_is_not_defined():
    row = rows([RUNS[0], run(1, dict.fromkeys(METHODS), low=None)])[0]
    assert row["methods"]["fusion"]["f1"] is row["best_single"] is row["gain"] is None
    assert row["intervals"]["fusion"]["f1"] is None


def test_no_gap_is_none_closed():
    for oracle in (1.0, 0.9999):
        f1 = {"vgae": 0.9995, "fusion": 0.9994, "oracle": max(oracle, 0.9995)}
        assert rows([run(0, f1)])[0]["gap_closed"] is None


def test_tables_hold_the_figures():
    text = markdown({"runs": RUNS, "notes": ["cars: one vehicle"]}, "the command", {"on": "paper"})
    assert "`the command`" in text
    assert "- on: paper" in text
    assert "- seeds: 0, 1" in text
    assert "- cars: one vehicle" in text
    assert "## cars, commissioned, folders as given" in text
    scenario = next(line for line in text.splitlines() if line.startswith("| **test_01** | 10"))
    cells = [cell.strip() for cell in scenario.strip("|").split("|")]
    assert cells[3:] == [
        *(".7000", ".8000", ".5000", ".5000", "**.9000** (.9000–.9000)", "1.0000"),
        *(".8000–.9900", "+.1000 (GAT), lowest +.0000", "50%"),
    ]
    operation = text.splitlines()[text.splitlines().index(scenario) + 6]
    assert operation.startswith("| **test_01** | .5000 | .7500 |")
    assert operation.endswith("| 0 of 2 | 150 | - | 12 |")
    assert "closes 50% of the gap" in text
    assert "mean alpha 0.25" in text
    assert "One run took 3 s on cpu" in text
    assert "in-sample scores" not in text


def test_every_table_is_a_table():
    lines = markdown({"runs": RUNS, "notes": []}, "c", {}).splitlines()
    widths = [line.count("|") for line in lines if line.startswith("|")]
    blocks = [lines[i - 1].startswith("|") for i in range(1, len(lines)) if lines[i][:5] == "| ---"]
    assert blocks == [True, True]
    assert set(widths) == {13, 12}


def test_a_score_short_of_perfect_never_reads_perfect():
    text = markdown({"runs": [run(0, {"fusion": 0.99999})], "notes": []}, "c", {})
    assert "**.9999**" in text
    text = markdown({"runs": [run(0, {"fusion": 1 - 1e-16})], "notes": []}, "c", {})
    assert "**1.0000**" in text


def test_in_sample_scores_are_shown_beside_honest_ones():
    knowing = run(0, {"fusion": 0.6}) | {"validation": measured({"fusion": 1.0}, 0.8, 0.9)}
    found = in_sample_rows([run(0, {"fusion": 0.9, "oracle": 0.95}, in_sample=knowing), RUNS[1]])
    assert [(r["scenario"], r["cross_fitted"], r["in_sample"], r["oracle"]) for r in found] == [
        ("validation", 0.9, 1.0, 0.95),
        ("test_01", 0.9, 0.6, 0.95),
    ]
    assert in_sample_rows(RUNS) == []
