import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.detectors.calibration import (
    HIGHEST_SHIFT,
    LOWEST_BORDER,
    MARGIN,
    SPREAD_FLOOR,
    Logistic,
    _most_likely,
    anomaly_score,
    center_and_spread,
    clean_thresholds,
    deviation,
    expected_spread,
    fit_logistic,
    passed_center,
    stage,
    usual_spread,
)
from core.detectors.vgae import EXPERIENCE


def test_deviation_by_hand() -> None:
    components = np.array([[1.0, 5.0], [4.0, 5.0], [1.0, -50.0], [2.0, 6.0]])
    found = deviation(components, center=np.array([1.0, 5.0]), spread=np.array([1.0, 0.5]))
    # Only excess counts: 3 and 0; 0 and (far below) 0; 1 and 2.
    np.testing.assert_allclose(found, [0, 3 / np.sqrt(2), 0, np.sqrt((1 + 4) / 2)])


def test_score_is_a_half_at_the_threshold() -> None:
    found = anomaly_score(np.array([0.0, 1.5, 3.0, 6.0]), np.full(4, 3.0))
    np.testing.assert_allclose(found, [0, 0.2, 0.5, 0.8])


@given(
    distance=arrays(float, 20, elements=st.floats(0, 1e6)),
    threshold=st.floats(1e-6, 1e6),
)
def test_score_is_monotone_and_within_0_and_1(distance: np.ndarray, threshold: float) -> None:
    distance.sort()
    score = anomaly_score(distance, np.full(20, threshold))
    assert (score >= 0).all()
    assert (score <= 1).all()
    assert (np.diff(score) >= 0).all()
    np.testing.assert_array_equal(score[distance >= threshold] >= 0.5, True)
    np.testing.assert_array_equal(score[distance < threshold * (1 - 1e-9)] < 0.5, True)


def test_center_and_spread_are_median_and_mad() -> None:
    components = np.array([[0.0], [1.0], [2.0], [3.0], [1000.0]])
    center, spread = center_and_spread(components)
    assert center == [2.0]
    assert spread == pytest.approx([1.4826 * 1 + 0.05])


def test_the_tail_knows_of_a_slow_beat() -> None:
    # One window in twenty-one holds a message sent once a second.
    values = np.random.default_rng(0).normal(0.0, 1.0, (210, 1))
    _, calm = center_and_spread(values, tail=True)
    assert calm == pytest.approx(center_and_spread(values)[1], abs=0.15)
    values[::21] = 8.0
    _, beating = center_and_spread(values, tail=True)
    assert beating == pytest.approx([8.0 / 2.326 + 0.05], rel=0.02)
    assert center_and_spread(values)[1] == pytest.approx(calm, abs=0.2)
    # One window of 210 is no beat: it may be an attack.
    values[::21] = 0.0
    values[7] = 1000.0
    assert center_and_spread(values, tail=True)[1] == pytest.approx(calm, abs=0.2)


def test_thresholds_are_a_quantile_and_a_margin() -> None:
    distance = np.random.default_rng(0).permutation(np.arange(20_000.0))
    thresholds = clean_thresholds(distance, np.full(20_000, 1000))
    assert thresholds.shape == (len(EXPERIENCE),)
    assert len(np.unique(thresholds)) == 1  # the other stages have no windows of their own
    assert (distance > thresholds[0] / MARGIN).sum() == 20
    assert (clean_thresholds(np.zeros(5), np.arange(5)) > 0).all()


def test_stage_by_hand() -> None:
    assert EXPERIENCE[:4] == (0, 5, 10, 20)
    assert stage(np.array([0, 4, 5, 9, 10, 199, 200, 10**6])).tolist() == [0, 0, 1, 1, 2, 5, 6, 6]


def test_thresholds_follow_experience_and_never_rise() -> None:
    rng = np.random.default_rng(0)
    experience = np.repeat(EXPERIENCE, 100)
    height = np.repeat([9.0, 5.0, 7.0, 3.0, 2.0, 1.0, 1.0], 100)
    thresholds = clean_thresholds(height + 0.1 * rng.random(700), experience)
    np.testing.assert_allclose(thresholds / MARGIN, [9.1, 7.1, 7.1, 3.1, 2.1, 1.1, 1.1], atol=0.01)
    # Nineteen windows are too few for a threshold of their own: all windows give it.
    few = np.concatenate([np.zeros(19, int), np.full(1000, 300)])
    thresholds = clean_thresholds(np.where(few == 0, 99.0, 1.0), few)
    everything = np.quantile(np.where(few == 0, 99.0, 1.0), 0.999)
    np.testing.assert_allclose(thresholds[0], everything * MARGIN)
    np.testing.assert_allclose(thresholds[-1], MARGIN)


def test_the_usual_spread_is_that_of_a_normal_tail() -> None:
    rng = np.random.default_rng(0)
    departures = rng.normal(0.0, [1.0, 3.0, 0.0], (100_000, 3))
    np.testing.assert_allclose(usual_spread(departures), [1.0, 3.0, 0.05], rtol=0.03)
    np.testing.assert_allclose(expected_spread(np.array([4.0]), np.array([9.0])), [6.0])


def test_the_center_of_windows_before_by_hand() -> None:
    """Against a plain loop; the first window has nothing before it, the second one window."""
    values = np.random.default_rng(3).normal(1.0, 2.0, 30)
    found = passed_center(values, center=-1.0, spread=5.0)
    assert found[0] == -1.0
    assert found[1] == pytest.approx(-1.0 + (values[0] + 1.0) / 11)
    for i in range(2, 30):
        tenth, quarter = np.quantile(values[:i], [0.1, 0.25])
        # Of a normal distribution the 10 % quantile lies 1.2816, the 25 % one .6745 spreads low.
        median = quarter + 0.6745 * (quarter - tenth) / (1.2816 - 0.6745)
        assert found[i] == pytest.approx(-1.0 + (median + 1.0) * i / (i + 10), abs=1e-3)


def test_every_column_has_a_center_of_its_own() -> None:
    values = np.random.default_rng(3).normal([1.0, -5.0], 2.0, (30, 2))
    found = passed_center(values, np.array([0.0, -1.0]), np.array([1.0, 0.1]))
    for i, (center, spread) in enumerate(((0.0, 1.0), (-1.0, 0.1))):
        np.testing.assert_array_equal(found[:, i], passed_center(values[:, i], center, spread))


def test_the_center_of_windows_before_stays_with_clean_ones_while_most_are_attacked() -> None:
    rng = np.random.default_rng(0)
    clean, attacked = rng.normal(2.0, 0.5, 2000), rng.normal(30.0, 1.0, 2000)
    mixed = np.where(rng.random(2000) < 0.6, attacked, clean)
    found = passed_center(mixed, center=0.0, spread=1.0)
    assert abs(found[-500:] - 2.0).max() < 1.0  # Two spreads, where attacks lie at 56.
    # Attacked from the first window on, it rises no further than other captures allow.
    assert passed_center(attacked, 0.0, 1.0).max() <= HIGHEST_SHIFT
    # And no window changes what was said of those before it.
    np.testing.assert_array_equal(passed_center(mixed[:100], 0.0, 1.0), found[:100])


def test_without_a_profile_the_border_lies_half_way_to_the_highest() -> None:
    departure, label = drawn(1.5, 0.0, 0.0)
    low, high = np.quantile(departure[label == 0], [0.99, 0.999]) * [1, MARGIN]
    found = fit_logistic(departure, label, profiled=False)
    assert low < found.border < high
    assert found.border**2 == pytest.approx(low * high)
    assert found.slope == fit_logistic(departure, label).slope
    # Clean windows that never depart: a border there is all the same.
    nothing = fit_logistic(np.repeat([0.0, 9.0], 50), np.repeat([0, 1], 50), profiled=False)
    assert nothing.probability(np.zeros(1)) < 0.5


def test_probability_does_not_overflow() -> None:
    found = Logistic(2.0, 1.0).probability(np.array([-1e4, 0.5, 1.0, 1.5, 1e4]))
    np.testing.assert_allclose(found, [0, 1 / (1 + np.e), 0.5, np.e / (1 + np.e), 1])


def drawn(slope: float, border: float, blind: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Departures and labels as the model of :func:`fit_logistic` has them."""
    rng = np.random.default_rng(seed)
    departure = rng.uniform(-12.0, 8.0, 20_000)
    probability = blind + (1 - blind) / (1 + np.exp(-slope * (departure - border)))
    return departure, (rng.random(20_000) < probability).astype(np.uint8)


def test_recorded_attacks_say_how_high_thresholds_lie() -> None:
    rng = np.random.default_rng(0)
    clean, stages = np.abs(rng.normal(0, 1, 8000)), np.tile([0, 1000], 4000)
    low, high = np.quantile(clean, 0.99), MARGIN * np.quantile(clean, 0.999)

    def threshold(attacked: np.ndarray) -> float:
        return float(clean_thresholds(clean, stages, attacked)[-1])

    # Of the stage's own windows, which are half of all.
    own = clean[stages == 1000]
    highest = MARGIN * np.quantile(own, 0.999)
    assert clean_thresholds(clean, stages)[-1] == pytest.approx(highest)
    assert threshold(rng.normal(30, 1, 2000)) == pytest.approx(highest)
    assert threshold(np.empty(0)) == pytest.approx(highest)
    assert threshold(rng.normal(2.5, 0.3, 2000)) == pytest.approx(np.quantile(own, 0.99))
    # So many as lie between: where as many attacked as clean windows do.
    between = threshold(rng.normal(3.6, 0.3, 500))
    assert low + 0.1 < between < high


@pytest.mark.parametrize("blind", [0.0, 0.3])
def test_a_known_mapping_is_found_whatever_the_classifier_is_blind_to(blind: float) -> None:
    departure, label = drawn(20.0, 0.0, blind)
    slope, border = _most_likely(departure, label > 0, around=1.0)
    assert border == pytest.approx(0.0, abs=0.25)
    assert slope == pytest.approx(20.0, rel=0.4)
    # So steep that hardly a clean window lies beyond the border: nor need one of another vehicle.
    # Of those here none departs above 0, and the lowest border is the floor's.
    found = fit_logistic(departure, label)
    assert found.slope == pytest.approx(slope, rel=0.01)
    assert found.border == pytest.approx(SPREAD_FLOOR**0.25 * LOWEST_BORDER**0.75)
    departure, label = drawn(1.5, 2.0, blind)
    found = fit_logistic(departure, label)
    assert found.slope == pytest.approx(1.5, rel=0.15)
    low, high = np.quantile(departure[label == 0], [0.99, 0.999]) * [1, MARGIN]
    assert high > LOWEST_BORDER
    assert found.border == pytest.approx(low**0.25 * high**0.75)


def test_blind_spots_do_not_pull_the_border_into_the_clean_windows() -> None:
    rng = np.random.default_rng(1)
    clean, blind, seen = rng.normal(0, 1, 4000), rng.normal(0, 1, 1000), rng.normal(9, 1, 1000)
    departure = np.concatenate([clean, blind, seen])
    label = np.repeat([0, 1, 1], [4000, 1000, 1000]).astype(np.uint8)
    found = fit_logistic(departure, label)
    assert 3.0 < found.border < 7.0
    assert (found.probability(clean) >= 0.5).mean() < 0.001
    assert (found.probability(seen) > 0.5).mean() > 0.99


def test_scores_that_separate_perfectly_have_a_finite_slope() -> None:
    departure = np.concatenate([np.linspace(-1, 1, 500), np.linspace(20, 30, 500)])
    found = fit_logistic(departure, np.repeat([0, 1], 500).astype(np.uint8))
    assert 0.1 < found.slope < 20
    low = np.quantile(departure[:500], 0.99)
    # The data allow anything between the two.
    assert low**0.25 * LOWEST_BORDER**0.75 <= found.border < low**0.25 * 20.0**0.75


def test_a_classifier_that_sees_nothing_calls_nothing_an_attack() -> None:
    rng = np.random.default_rng(2)
    departure = rng.normal(0, 1, 3000)
    label = (np.arange(3000) % 3 == 0).astype(np.uint8)
    found = fit_logistic(departure, label)
    assert (found.probability(departure[label == 0]) >= 0.5).mean() <= 0.001


def test_without_a_profile_thresholds_lie_half_way_whatever_attacks_were_seen() -> None:
    rng = np.random.default_rng(0)
    clean, stages = np.abs(rng.normal(0, 1, 8000)), np.full(8000, 1000)
    low, high = np.quantile(clean, [0.99, 0.999]) * [1, MARGIN]
    for attacked in (None, rng.normal(2.5, 0.3, 2000), rng.normal(30, 1, 2000)):
        found = clean_thresholds(clean, stages, attacked, profiled=False)
        np.testing.assert_allclose(found, np.sqrt(low * high))
    assert (clean_thresholds(np.zeros(50), np.zeros(50, int), profiled=False) > 0).all()
