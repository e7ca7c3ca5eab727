import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from core.errors import ScoresError
from core.evaluation.metrics import METRIC_NAMES, window_metrics

windows = st.lists(
    st.tuples(st.booleans(), st.floats(0, 1, width=32)), min_size=1, max_size=60
).map(lambda rows: (np.array([r[0] for r in rows]), np.array([r[1] for r in rows])))


def test_values_computed_by_hand():
    #               tp   fn   fp   tn   tn   tp (0.5 itself counts as an attack)
    label = [1, 1, 0, 0, 0, 1]
    score = [0.9, 0.2, 0.8, 0.1, 0.3, 0.5]
    m = window_metrics(label, score)
    assert (m["tp"], m["fn"], m["fp"], m["tn"]) == (2, 1, 1, 2)
    assert m["accuracy"] == pytest.approx(4 / 6)
    assert m["precision"] == pytest.approx(2 / 3)
    assert m["recall"] == pytest.approx(2 / 3)
    assert m["f1"] == pytest.approx(2 / 3)
    assert m["fpr"] == pytest.approx(1 / 3)
    assert m["mcc"] == pytest.approx((2 * 2 - 1 * 1) / 9)
    # Pairs (attack, clean) in the right order: 0.9 beats 3, 0.2 beats 1, 0.5 beats 2 of 3 each.
    assert m["auroc"] == pytest.approx(6 / 9)
    # Precision at each attack, from the top: 1/1, 2/3, 3/5.
    assert m["auprc"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_has_exactly_the_names_that_other_programs_rely_on():
    assert tuple(window_metrics([0, 1], [0.1, 0.9])) == METRIC_NAMES
    assert ",".join(METRIC_NAMES) == (
        "accuracy,precision,recall,f1,mcc,auroc,auprc,fpr,tp,fp,tn,fn"
    )


@given(windows, st.floats(0, 1))
def test_agrees_with_sklearn(rows, threshold):
    label, score = rows
    called = score >= threshold
    m = window_metrics(label, score, threshold)
    assert m["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(label, called))
    for name in ("precision", "recall", "f1"):
        value = getattr(sklearn_metrics, f"{name}_score")(label, called, zero_division=np.nan)
        if name == "f1" and not label.any():
            value = np.nan  # There was nothing to find, whatever was called an attack.
        assert m[name] is None if np.isnan(value) else m[name] == pytest.approx(value)
    if label.any() and not label.all() and called.any() and not called.all():
        assert m["mcc"] == pytest.approx(sklearn_metrics.matthews_corrcoef(label, called))
    else:
        assert m["mcc"] is None


@given(windows, st.randoms(use_true_random=False))
def test_order_of_the_windows_does_not_matter(rows, random):
    label, score = rows
    order = list(range(len(label)))
    random.shuffle(order)
    assert window_metrics(label[order], score[order]) == pytest.approx(
        window_metrics(label, score), nan_ok=False
    )


def test_undefined_values_are_none():
    no_attack = window_metrics([0, 0], [0.1, 0.2])
    undefined = {name for name, value in no_attack.items() if value is None}
    assert undefined == {"precision", "recall", "f1", "mcc", "auroc", "auprc"}
    assert no_attack["accuracy"] == 1.0
    assert no_attack["fpr"] == 0.0

    only_attacks = window_metrics([1, 1], [0.9, 0.2])
    assert {name for name, value in only_attacks.items() if value is None} == {
        *("mcc", "auroc", "fpr")
    }

    nothing = window_metrics([], [])
    assert [nothing[name] for name in ("tp", "fp", "tn", "fn")] == [0, 0, 0, 0]
    assert all(nothing[name] is None for name in METRIC_NAMES[:8])


def test_missed_attacks_give_f1_zero_rather_than_undefined():
    assert window_metrics([1, 0], [0.1, 0.1])["f1"] == 0.0


def test_a_given_verdict_replaces_the_threshold_but_not_the_ranking():
    m = window_metrics([1, 0], [0.9, 0.1], verdict=[0, 1])
    assert (m["tp"], m["fp"], m["tn"], m["fn"]) == (0, 1, 0, 1)
    assert m["auroc"] == 1.0


def test_many_windows_do_not_overflow_the_correlation():
    label = np.repeat([0, 1], 300_000)
    assert window_metrics(label, label.astype(float))["mcc"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("label", "score", "verdict", "message"),
    [
        ([0, 1], [0.5], None, "one score per label"),
        ([0, 1], [0.5, np.nan], None, r"finite scores, got nan at row 1 \(1 such rows of 2\)"),
        ([0, 1], [np.inf, 0.5], None, "finite scores, got inf at row 0"),
        ([0, 2], [0.5, 0.5], None, "label 0 or 1, got 2 at row 1"),
        ([0, 1], [0.5, 0.5], [1], "one verdict per label"),
        ([0, 1], [0.5, 0.5], [1, 7], "verdict 0 or 1, got 7 at row 1"),
        ([[0, 1]], [[0.5, 0.5]], None, "one column"),
    ],
)
def test_bad_columns_are_refused(label, score, verdict, message):
    with pytest.raises(ScoresError, match=message):
        window_metrics(label, score, verdict=verdict)
