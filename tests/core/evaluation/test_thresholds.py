import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, roc_auc_score

from core.evaluation.metrics import window_metrics
from core.evaluation.thresholds import SortedScores, rates, reliability

windows = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=60
).map(lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows])))


@given(windows, st.floats(0, 1, width=32))
def test_counts_and_rates_are_those_of_the_metrics(data, threshold):
    label, score = data
    counts = SortedScores.of(label, score).confusion([threshold])
    expected = window_metrics(label, score, threshold)
    assert [int(c[0]) for c in counts] == [expected[name] for name in ("tp", "fp", "tn", "fn")]
    for name, values in rates(*counts).items():
        want = expected[name]
        assert np.isnan(values[0]) if want is None else values[0] == pytest.approx(want)


@given(windows)
def test_the_whole_curve_has_the_area_of_the_ranking(data):
    label, score = data
    if label.all() or not label.any():
        return
    _, fpr, recall, _ = SortedScores.of(label, score).curve()
    assert auc(fpr, recall) == pytest.approx(roc_auc_score(label, score))


def test_a_long_curve_is_thinned_but_keeps_its_area_and_ends():
    rng = np.random.default_rng(0)
    label = rng.random(50_000) < 0.1
    score = np.clip(0.3 * label + rng.normal(0.4, 0.15, len(label)), 0, 1)
    _, fpr, recall, precision = SortedScores.of(label, score).curve(200)
    assert len(fpr) <= 202
    assert (fpr[0], recall[0], precision[0]) == (0, 0, 1)
    assert (fpr[-1], recall[-1]) == (1, 1)
    assert auc(fpr, recall) == pytest.approx(roc_auc_score(label, score), abs=2e-4)


def test_without_attacks_there_is_no_recall():
    tp, fp, tn, fn = SortedScores.of([0, 0], [0.2, 0.8]).confusion([0.5])
    assert (tp[0], fp[0], tn[0], fn[0]) == (0, 1, 1, 0)
    _, fpr, recall, _ = SortedScores.of([0, 0], [0.2, 0.8]).curve()
    assert np.isnan(recall).all()
    assert fpr[-1] == 1


def test_reliability_by_hand():
    # Bin 0 to 0.5: scores 0.1 and 0.3, none attacked; 0.5 to 1: 0.7 and 1.0, one attacked.
    found = reliability([0, 0, 1, 0], [0.1, 0.3, 0.7, 1.0], bins=2)
    assert found.score == pytest.approx([0.2, 0.85])
    assert found.attacked == pytest.approx([0.0, 0.5])
    assert found.windows.tolist() == [2, 2]
    assert found.error == pytest.approx((2 * 0.2 + 2 * 0.35) / 4)


def test_reliability_of_nothing_is_not_a_number():
    assert np.isnan(reliability([], []).error)
