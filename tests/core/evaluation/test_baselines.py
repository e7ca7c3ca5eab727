from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from core.cache.predictions import FusionPredictionCache, write_predictions
from core.config import FusionAgentConfig
from core.errors import ScoresError
from core.evaluation.baselines import (
    best_fixed_alpha,
    fit_stacking,
    fixed_alpha_rewards,
    fused_score,
    oracle_score,
)

score = st.floats(0, 1, width=32)


windows = FusionPredictionCache.from_arrays


def test_rewards_of_fixed_weights_by_hand():
    agent = replace(FusionAgentConfig(), miss_cost=3.0, false_alarm_cost=0.5)
    # The VGAE misses one of two attacks, the GAT raises one of two possible false alarms.
    scores = windows([0.9, 0.1, 0.1, 0.1], [0.9, 0.9, 0.9, 0.1], [1, 1, 0, 0])
    assert fixed_alpha_rewards(scores, [0.0, 1.0], agent, 0.5).tolist() == [
        (1 - 3 + 1 + 1) / 4,
        (1 + 1 - 0.5 + 1) / 4,
    ]


def test_fixed_alpha_is_the_middle_of_the_weights_that_are_right_everywhere():
    # Attack: 0.2 + 0.6 a >= 0.5 from a = 0.5 on. Clean: 0.1 + 0.8 a >= 0.5 from a = 0.5 on too,
    # and 0.1 + 0.5 a from a = 0.8 on: right everywhere for a in [0.5, 0.8).
    train = windows([0.2, 0.1], [0.8, 0.6], [1, 0])
    grid = [0.0, 0.2, 0.55, 0.65, 0.75, 0.9, 1.0]
    assert best_fixed_alpha(train, grid) == 0.65
    assert best_fixed_alpha(train) == pytest.approx(0.65, abs=0.002)


def test_fixed_alpha_follows_the_costs():
    # Two attacks only the GAT sees, three clean windows that only the VGAE calls clean.
    train = windows([0.1] * 5, [0.9] * 5, [1, 1, 0, 0, 0])
    costly_misses = replace(FusionAgentConfig(), miss_cost=10.0)
    assert best_fixed_alpha(train) < 0.5
    assert best_fixed_alpha(train, agent=costly_misses) > 0.5


def test_fixed_alpha_follows_the_threshold():
    train = windows([0.0, 0.0], [1.0, 0.85], [1, 0])
    assert best_fixed_alpha(train, threshold=0.9) == pytest.approx(0.95, abs=0.01)


def test_fixed_alpha_without_windows_is_refused():
    with pytest.raises(ScoresError, match="got none"):
        best_fixed_alpha(windows([0.5], [0.5], [1]).select(slice(0, 0)))


def test_a_memory_mapped_cache_is_read_as_it_is(tmp_path):
    train = random_windows(50)
    write_predictions(tmp_path / "cache.arrow", train.to_table(), {})
    mapped = FusionPredictionCache.load(tmp_path / "cache.arrow")
    assert best_fixed_alpha(mapped) == best_fixed_alpha(train)
    assert fit_stacking(mapped) == fit_stacking(train)


def random_windows(count=400):
    rng = np.random.default_rng(0)
    label = rng.random(count) < 0.3
    anomaly = np.clip(0.3 * label + rng.random(count) * 0.7, 0, 1)
    gat = np.clip(0.5 * label + rng.random(count) * 0.5, 0, 1)
    return windows(anomaly, gat, label)


def test_stacking_is_logistic_regression_of_the_two_scores():
    train = random_windows()
    columns = np.column_stack([train.anomaly_score, train.gat_prob])
    expected = LogisticRegression().fit(columns, train.label).predict_proba(columns)[:, 1]
    stacking = fit_stacking(train)
    got = stacking.predict_proba(train.anomaly_score, train.gat_prob)
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert stacking.note == ""


def test_stacking_accepts_more_false_alarms_when_misses_cost_more():
    train = random_windows()
    cautious = fit_stacking(train, replace(FusionAgentConfig(), miss_cost=9.0))
    plain = fit_stacking(train)
    flagged = [
        np.count_nonzero(s.predict_proba(train.anomaly_score, train.gat_prob) >= 0.5)
        for s in (plain, cautious)
    ]
    assert flagged[1] > flagged[0]


@pytest.mark.parametrize(("label", "word"), [(0, "clean"), (1, "attacked")])
def test_stacking_of_one_class_answers_that_class_and_says_so(label, word):
    stacking = fit_stacking(windows([0.1, 0.9], [0.2, 0.8], [label, label]))
    assert f"all 2 training windows are {word}" in stacking.note
    verdict = stacking.predict_proba([0.0, 1.0], [1.0, 0.0]) >= 0.5
    assert verdict.tolist() == [bool(label)] * 2


def test_oracle_takes_the_side_of_the_label():
    scores = windows([0.2, 0.2], [0.7, 0.7], [1, 0])
    np.testing.assert_allclose(oracle_score(scores), [0.7, 0.2], rtol=1e-6)


@given(st.lists(st.tuples(score, score, st.integers(0, 1)), min_size=1), st.floats(0, 1))
def test_oracle_is_right_exactly_where_a_model_is_right(rows, threshold):
    anomaly, gat, label = (np.array(column) for column in zip(*rows, strict=True))
    scores = windows(anomaly, gat, label)
    right = (oracle_score(scores) >= threshold) == label
    single = [
        (s.astype(np.float64) >= threshold) == label
        for s in (scores.anomaly_score, scores.gat_prob)
    ]
    np.testing.assert_array_equal(right, single[0] | single[1])


@given(score, score, st.floats(0, 1), st.floats(0, 1))
def test_no_weight_carries_a_fused_score_past_a_threshold_that_neither_score_passes(
    anomaly, gat, alpha, threshold
):
    called = {anomaly >= threshold, gat >= threshold}
    assert bool(fused_score(anomaly, gat, alpha) >= threshold) in called
