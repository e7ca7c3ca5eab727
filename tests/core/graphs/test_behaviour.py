"""Different numbers and their places, by each of the ways to find them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.graphs.behaviour import distinct

FLAGS, SORTED, SEARCHED = 1 << 16, 1 << 32, 1 << 61


@pytest.mark.parametrize("upper", [FLAGS, SORTED, SEARCHED])
@given(data=st.data())
def test_different_numbers_and_their_places(upper: int, data: st.DataObject) -> None:
    number = st.one_of(st.integers(0, 9), st.integers(upper - 9, upper - 1))
    key = np.array(data.draw(st.lists(number, min_size=1, max_size=40)), np.int64)
    values, place = distinct(key, upper)
    expected = sorted(set(key.tolist()))
    assert values.tolist() == expected
    assert place.tolist() == [expected.index(value) for value in key.tolist()]
    assert values.dtype == place.dtype == np.int64


def test_many_numbers_are_told_apart_in_each_way() -> None:
    rng = np.random.default_rng(0)
    for upper in (1000, 100_000, 600_000, 1 << 40):
        key = rng.integers(0, upper, 50_000)
        values, place = distinct(key, upper)
        np.testing.assert_array_equal(values, np.unique(key))
        np.testing.assert_array_equal(values[place], key)
