"""What is measured per scenario, capture and attack, from a table of scored windows."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from core.evaluation.metrics import window_metrics
from core.evaluation.scenario import METHODS, UNNAMED, measure_scenario


def table(rows):
    """From (capture, window, label, attack, vgae, gat, fusion); a window every 0.1 s."""
    frame = pd.DataFrame(
        rows, columns=["capture", "window", "label", "attack", "anomaly_score", "gat_prob", "fused"]
    )
    frame = frame.assign(
        start_time=frame.window * 0.1,
        end_time=frame.window * 0.1 + 0.1,
        first_frame=frame.window * 100,
        fixed_alpha=frame.anomaly_score,
        stacking=frame.gat_prob,
        oracle=frame[["anomaly_score", "gat_prob"]].max(axis=1).where(frame.label == 1, 0.0),
    )
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    for name in ("capture", "attack"):
        column = arrow[name].combine_chunks().dictionary_encode()
        arrow = arrow.set_column(arrow.column_names.index(name), name, column)
    return arrow


ROWS = [
    ("t/a", 0, 0, "", 0.1, 0.1, 0.1),
    ("t/a", 1, 1, "dos", 0.9, 0.1, 0.9),
    ("t/a", 2, 1, "dos", 0.1, 0.9, 0.9),
    ("t/b", 0, 0, "", 0.9, 0.1, 0.9),
    ("t/b", 1, 1, "fuzzing", 0.1, 0.1, 0.1),
    ("t/b", 2, 1, "", 0.9, 0.1, 0.9),
]


def test_an_attack_is_measured_with_the_clean_windows_of_its_captures():
    attacks = measure_scenario(table(ROWS), 0.5)["attacks"]
    counts = {
        name: tuple(part["methods"]["fusion"][c] for c in ("tp", "fp", "tn", "fn"))
        for name, part in attacks.items()
    }
    assert counts == {"dos": (2, 0, 1, 0), "fuzzing": (0, 1, 0, 1), UNNAMED: (1, 1, 0, 0)}


def test_episodes_and_false_alarms_of_each_part():
    found = measure_scenario(table(ROWS), 0.5, split="t", frames=100)
    assert set(found["captures"]) == {"a", "b"}
    assert found["detection"]["fusion"]["false_alarms"] == 1
    assert found["captures"]["a"]["detection"]["fusion"]["false_alarms"] == 0
    assert found["captures"]["a"]["detection"]["vgae"]["delay_frames"]["max"] == 100
    assert found["captures"]["a"]["detection"]["gat"]["delay_frames"]["max"] == 200
    assert found["attacks"]["fuzzing"]["detection"]["fusion"]["missed"] == 1
    assert "detection" not in measure_scenario(table(ROWS), 0.5, contiguous=False)


def test_the_order_of_the_rows_does_not_matter():
    rng = np.random.default_rng(0)
    shuffled = [ROWS[i] for i in rng.permutation(len(ROWS))]
    assert measure_scenario(table(shuffled), 0.5) == measure_scenario(table(ROWS), 0.5)


def test_what_fusion_adds_by_hand():
    gain = measure_scenario(table(ROWS), 0.5)["fusion_gain"]
    # Four attacks. VGAE: 2 found, 1 false alarm; GAT: 1 found; fusion: 3, 1; oracle: 3, 0.
    vgae, fusion, oracle = 4 / 7, 6 / 8, 6 / 7
    assert gain["best_single"] == "vgae"
    assert gain["f1"] == pytest.approx(fusion - vgae)
    assert gain["gap_closed"] == pytest.approx((fusion - vgae) / (oracle - vgae))
    assert gain["f1_interval"] is None  # six windows are too few to say


def many(count=400):
    rng = np.random.default_rng(1)
    label = (np.arange(count) // 40) % 2
    anomaly, gat = (np.clip(0.3 * label + 0.7 * rng.random(count), 0, 1) for _ in range(2))
    names = np.where(label == 1, "dos", "")
    return table(
        [
            ("t/a", i, *row)
            for i, row in enumerate(
                zip(label, names, anomaly, gat, (anomaly + gat) / 2, strict=True)
            )
        ]
    )


def test_intervals_lie_around_what_was_measured():
    found = measure_scenario(many(), 0.5)
    for method in METHODS:
        for name, (low, high) in found["intervals"][method].items():
            assert low <= found["methods"][method][name] <= high, (method, name)
    low, high = found["intervals"]["vgae"]["f1"]
    assert 0.01 < high - low < 0.3
    low, high = found["fusion_gain"]["f1_interval"]
    assert low <= found["fusion_gain"]["f1"] <= high


def test_results_are_json_and_the_threshold_is_exact():
    rows = [("t/a", 0, 1, "dos", 0.7, 0.7, 0.7), ("t/a", 1, 0, "", 0.0, 0.0, 0.0)]
    found = measure_scenario(table(rows), 0.7)
    assert json.loads(json.dumps(found, allow_nan=False)) is not None
    assert found["methods"]["fusion"] == window_metrics([1, 0], [0.7, 0.0], 0.7)


def test_no_window_at_all():
    found = measure_scenario(table(ROWS).slice(0, 0), 0.5, commissioning={"t/short": 9}, split="t")
    assert (found["windows"], found["commissioning_windows"]) == (0, 9)
    assert found["captures"]["short"]["fusion_gain"]["best_single"] is None
    assert found["attacks"] == {}
    assert found["intervals"]["fusion"]["f1"] is None
