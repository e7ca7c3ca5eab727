import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.cache.predictions import FusionPredictionCache
from core.config import FusionConfig, create_fusion_config
from core.errors import ScoresError
from core.evaluation.comparison import compare
from core.evaluation.metrics import METRIC_NAMES, window_metrics
from core.evaluation.scenario import METHODS, SCORE_COLUMNS


class Steps:
    """Trusts the model whose score is farther from 0.5."""

    def alpha_of(self, cache):
        gat_prob, anomaly = cache.gat_prob, cache.anomaly_score
        return (np.abs(gat_prob - 0.5) > np.abs(anomaly - 0.5)).astype(np.float32)


@pytest.fixture
def caches(scored):
    train = scored([0.9, 0.1, 0.4, 0.2], [0.8, 0.2, 0.9, 0.1], [1, 0, 1, 0])
    validation = scored([0.9, 0.1], [0.7, 0.3], [1, 0], capture=["train_02/b.csv"] * 2)
    test = scored(
        #  VGAE right, GAT right, both right, both wrong | clean capture
        anomaly=[0.9, 0.4, 0.9, 0.3, 0.1, 0.6],
        gat=[0.3, 0.95, 0.9, 0.2, 0.2, 0.1],
        label=[1, 1, 1, 1, 0, 0],
        capture=["test_01/x.csv"] * 4 + ["test_01/y.csv"] * 2,
        first_window=200,
    )
    return train, validation, {"test_01": test}


def run(caches, **options):
    return compare(*caches, Steps(), FusionConfig(), **options)


def test_results_hold_what_other_programs_rely_on(caches):
    results = run(caches).results
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    scenario = results["scenarios"]["test_01"]
    assert set(scenario) == {
        *("windows", "attack_windows", "commissioning_windows", "methods", "captures"),
        *("attacks", "detection", "fusion_gain", "intervals"),
    }
    assert list(scenario["methods"]) == list(METHODS)
    assert set(scenario["captures"]) == {"x.csv", "y.csv"}
    for part in (scenario, *scenario["captures"].values(), results["validation"]):
        assert list(part["methods"]) == list(METHODS)
        assert all(tuple(m) == METRIC_NAMES for m in part["methods"].values())


def test_counts_by_hand(caches):
    scenario = run(caches).results["scenarios"]["test_01"]
    assert (scenario["windows"], scenario["attack_windows"]) == (6, 4)
    counts = {
        name: tuple(m[c] for c in ("tp", "fp", "tn", "fn"))
        for name, m in scenario["methods"].items()
    }
    assert counts["vgae"] == (2, 1, 1, 2)
    assert counts["gat"] == (2, 0, 2, 2)
    # Steps takes the GAT for rows 2 and 6, the VGAE for 1, 3 (equally sure), 5; both miss row 4.
    assert counts["fusion"] == counts["oracle"] == (3, 0, 2, 1)
    clean = scenario["captures"]["y.csv"]
    assert (clean["windows"], clean["attack_windows"]) == (2, 0)
    assert clean["methods"]["vgae"]["fp"] == 1
    assert clean["methods"]["vgae"]["recall"] is None


def test_each_method_is_measured_on_its_column_of_the_table(caches):
    comparison = run(caches)
    table = comparison.predictions.to_pandas()
    rows = table[table["split"] == "test_01"]
    for method, column in SCORE_COLUMNS.items():
        expected = window_metrics(rows["label"], rows[column])
        assert comparison.results["scenarios"]["test_01"]["methods"][method] == expected


def test_table_says_where_each_window_lies(caches):
    table = run(caches).predictions.to_pylist()
    assert len(table) == 2 + 6
    assert [row["split"] for row in table[:3]] == ["validation", "validation", "test_01"]
    assert table[1]["capture"] == "train_02/b.csv"
    last = table[-1]
    assert (last["capture"], last["window"], last["label"]) == ("test_01/y.csv", 201, 0)
    assert (last["attack"], table[2]["attack"]) == ("", "dos")
    assert last["end_time"] == pytest.approx(20.2)
    assert last["alpha"] == 1.0


def test_windows_before_the_first_scored_one_were_commissioning(caches):
    results = run(caches).results
    assert results["scenarios"]["test_01"]["commissioning_windows"] == 400
    assert results["validation"]["commissioning_windows"] == 0


def test_a_capture_spent_whole_on_commissioning_is_still_listed(caches):
    spent = {"test_01/x.csv": 200, "test_01/short.csv": 150, "test_02/other.csv": 7}
    scenario = run(caches, commissioning=spent).results["scenarios"]["test_01"]
    assert scenario["commissioning_windows"] == 350
    assert scenario["captures"]["short.csv"]["windows"] == 0
    assert scenario["captures"]["short.csv"]["methods"]["fusion"]["accuracy"] is None


def test_baselines_see_training_windows_only(caches):
    train, validation, tests = caches
    wrong = replace(tests["test_01"], label=1 - tests["test_01"].label)
    other = compare(train, validation, {"test_01": wrong}, Steps(), FusionConfig())
    same = run(caches)
    for column in ("fixed_alpha", "stacking", "fused"):
        assert other.predictions[column].equals(same.predictions[column])


def test_the_threshold_moves_every_verdict(caches):
    config = create_fusion_config(evaluation={"threshold": 0.99})
    methods = compare(*caches, Steps(), config).results["scenarios"]["test_01"]["methods"]
    assert all(methods[name]["tp"] == 0 for name in METHODS)


def test_one_class_in_training_and_no_attack_in_a_test_are_said(scored, caches):
    _, validation, _ = caches
    train = scored([0.1, 0.2], [0.1, 0.3], [0, 0])
    clean = scored([0.1], [0.2], [0], capture=["test_05/c.csv"])
    warnings = compare(train, validation, {"test_05": clean}, Steps(), FusionConfig()).results[
        "warnings"
    ]
    assert "stacking was not learnt" in warnings[0]
    assert warnings[1].startswith("test_05: no attacked window")


def test_an_empty_validation_and_no_test_folder_are_measured_as_nothing(caches):
    comparison = compare(caches[0], caches[1].select(slice(0, 0)), {}, Steps(), FusionConfig())
    assert comparison.results["validation"]["windows"] == 0
    assert comparison.results["validation"]["methods"]["oracle"]["accuracy"] is None
    assert comparison.predictions.num_rows == 0


def test_a_score_that_is_not_finite_is_refused(caches):
    broken = replace(caches[1], anomaly_score=np.array([np.nan, 0.1], np.float32))
    with pytest.raises(ScoresError, match="finite"):
        compare(caches[0], broken, {}, Steps(), FusionConfig())


score = st.floats(0, 1, width=32)
rows = st.lists(st.tuples(score, score, st.integers(0, 1), score), min_size=2, max_size=30)


@given(rows, st.floats(0, 1))
def test_oracle_is_never_below_what_a_weight_can_do(rows, threshold):
    anomaly, gat, label, alpha = (np.array(c, np.float32) for c in zip(*rows, strict=True))

    class AnyPolicy:
        def alpha_of(self, cache):
            return alpha

    cache = FusionPredictionCache.from_arrays(anomaly, gat, label)
    config = create_fusion_config(evaluation={"threshold": threshold})
    results = compare(cache, cache, {"test_01": cache}, AnyPolicy(), config).results
    methods = results["scenarios"]["test_01"]["methods"]
    for name in ("vgae", "gat", "fixed_alpha", "fusion"):
        assert methods["oracle"]["accuracy"] >= methods[name]["accuracy"]
        if methods["oracle"]["auroc"] is not None:
            assert methods["oracle"]["auroc"] >= methods[name]["auroc"] - 1e-12
