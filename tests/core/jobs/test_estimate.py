import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.estimate import Estimate


def test_steps_count_by_their_planned_share():
    estimate = Estimate({"graphs": 1, "gat": 3})
    assert estimate.update("graphs", 1.0) == pytest.approx(0.25)
    assert estimate.update("gat", 0.5) == pytest.approx(0.625)
    assert estimate.remaining_s(10.0) == pytest.approx(6.0)


def test_steps_that_were_jumped_over_drop_out():
    estimate = Estimate({"graphs": 10, "gat": 80, "fusion": 10})
    assert estimate.update("fusion", 0.5) == pytest.approx(0.5)


def test_a_step_that_was_not_planned_leaves_the_rest_to_come():
    estimate = Estimate({"graphs": 1, "gat": 3})
    # An average step (2) before graphs (1) and gat (3).
    assert estimate.update("demo data", 1.0) == pytest.approx(2 / 6)
    assert estimate.update("graphs", 1.0) == pytest.approx(3 / 6)
    estimate.update("another", 1.0)
    assert estimate.update("gat", 1.0) == 1.0


def test_interleaved_steps_both_count():
    estimate = Estimate({"vgae": 1, "gat": 1})
    estimate.update("vgae", 0.5)
    assert estimate.update("gat", 0.5) == pytest.approx(0.5)
    assert estimate.update("vgae", 1.0) == pytest.approx(0.75)


def test_remaining_time_is_unknown_at_the_start():
    estimate = Estimate()
    assert estimate.remaining_s(100.0) is None
    estimate.update("x", 0.5)
    assert estimate.remaining_s(0.1) is None


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(-1, 2)), max_size=50))
def test_overall_progress_never_falls_and_stays_in_range(reports):
    estimate = Estimate({"a": 1, "b": 5, "c": 2})
    seen = [0.0]
    for step, fraction in reports:
        seen.append(estimate.update(step, fraction))
    assert seen == sorted(seen)
    assert seen[-1] <= 1.0
