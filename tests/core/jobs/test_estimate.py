import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.jobs.estimate import FALL, Estimate


def test_steps_count_by_their_planned_share():
    estimate = Estimate({"graphs": 1, "gat": 3})
    assert estimate.update("graphs", 1.0) == pytest.approx(0.25)
    assert estimate.update("gat", 0.5) == pytest.approx(0.625)


def test_time_is_measured_in_what_the_plan_turned_out_to_be_worth():
    estimate = Estimate({"graphs": 1, "gat": 3})
    estimate.update("graphs", 0.5, 2.0)
    estimate.update("graphs", 1.0, 4.0)
    assert estimate.update("gat", 0.0, 4.0) == pytest.approx(0.25)
    assert estimate.remaining_s() == pytest.approx(12.0)
    assert estimate.update("gat", 0.5, 10.0) == pytest.approx(0.625)
    assert estimate.remaining_s() == pytest.approx(6.0)


def test_a_step_that_takes_far_longer_than_planned_is_judged_by_its_own_pace():
    # Planned from a run of 40 epochs, now there are 100,000.
    estimate = Estimate({"gat": 180, "fusion": 3})
    estimate.update("gat", 1.0, 180.0)
    assert estimate.update("fusion", 0.0, 180.0) == pytest.approx(180 / 183)
    for epoch in range(1, 101):
        estimate.update("fusion", epoch / 100_000, 180.0 + epoch / 3)
    assert estimate.remaining_s() == pytest.approx(100_000 / 3, rel=0.1)
    assert estimate.overall < FALL
    for epoch in range(101, 100_001):
        estimate.update("fusion", epoch / 100_000, 180.0 + epoch / 3)
    assert (estimate.overall, estimate.remaining_s()) == (1.0, 0.0)


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
    assert estimate.remaining_s() is None
    estimate.update("x", 0.5, 0.1)
    assert estimate.remaining_s() is None
    estimate.update("x", 0.51, 4.0)
    assert estimate.remaining_s() is not None


def test_a_long_run_has_an_estimate_long_before_a_fiftieth_is_done():
    estimate = Estimate()
    estimate.update("x", 0.001, 20.0)
    assert estimate.remaining_s() is None
    estimate.update("x", 0.002, 40.0)
    assert estimate.remaining_s() == pytest.approx(20_000, rel=0.01)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(-1, 2), st.floats(0, 1e4)), max_size=50)
)
def test_overall_progress_stays_in_range_and_does_not_flicker(reports):
    estimate, elapsed, before = Estimate({"a": 1, "b": 5, "c": 2}), 0.0, 0.0
    for step, fraction, seconds in reports:
        elapsed += seconds
        now = estimate.update(step, fraction, elapsed)
        assert 0 <= now <= 1
        assert now >= before or now < before - FALL
        assert estimate.remaining_s() is None or estimate.remaining_s() >= 0
        before = now
