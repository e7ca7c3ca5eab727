"""Tests of tests: p values by hand, and what they must and must not find."""

import numpy as np
import pytest
from scipy.stats import chi2

from core.evaluation.significance import compare_verdicts, mcnemar, paired_bootstrap


def right(both: int, first: int, second: int, none: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Which windows two methods have right, by how many each has."""
    return (
        np.repeat([True, True, False, False], [both, first, second, none]),
        np.repeat([True, False, True, False], [both, first, second, none]),
    )


def test_few_differing_windows_are_counted_out() -> None:
    # 1 of 6 or fewer, or 5 or more: 2 * (1 + 6) / 64.
    assert mcnemar(*right(100, 5, 1)) == (5, 1, pytest.approx(14 / 64), True)
    assert mcnemar(*right(100, 0, 0)) == (0, 0, 1.0, True)
    assert mcnemar(*right(100, 3, 3))[2] == pytest.approx(1.0)


def test_many_are_held_against_chi_squared() -> None:
    here, there, p, exact = mcnemar(*right(10, 40, 20))
    assert (here, there, exact) == (40, 20, False)
    assert p == pytest.approx(chi2.sf(19**2 / 60, 1))


def windows(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(np.arange(4), size // 4), np.tile(np.arange(size // 4), 4)


def test_a_clear_difference_is_found_and_none_where_there_is_none() -> None:
    rng = np.random.default_rng(0)
    label = rng.random(4000) < 0.4
    good, bad, same = (label ^ (rng.random(4000) < error) for error in (0.02, 0.10, 0.02))
    clear = compare_verdicts(label, good, bad, *windows(4000))
    assert clear.interval is not None
    assert clear.difference is not None
    assert clear.interval[0] <= clear.difference <= clear.interval[1]
    assert clear.interval[0] > 0.05
    assert clear.bootstrap_p == pytest.approx(0.001)
    assert clear.mcnemar_p < 1e-10
    luck = compare_verdicts(label, good, same, *windows(4000))
    assert luck.interval is not None
    assert luck.bootstrap_p is not None
    assert luck.interval[0] < 0 < luck.interval[1]
    assert min(luck.bootstrap_p, luck.mcnemar_p) > 0.05


def test_windows_that_err_together_count_as_few() -> None:
    # All 40 windows in which the second errs lie in one block of 50.
    label = np.arange(4000) % 2 == 0
    second = label.copy()
    second[:40] = ~second[:40]
    found = compare_verdicts(label, label, second, *windows(4000))
    assert found.mcnemar_p < 1e-8
    assert found.bootstrap_p is not None
    assert found.bootstrap_p > 0.05


def test_what_is_undefined_is_none() -> None:
    nothing = np.zeros(100, bool)
    assert paired_bootstrap(nothing, nothing, nothing, *windows(100)) == (None, None)
    found = compare_verdicts(nothing, nothing, nothing, *windows(100)).to_dict()
    assert found["difference"] is None
    assert found["mcnemar_p"] == 1.0
