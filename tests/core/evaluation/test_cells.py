import numpy as np
import pytest

from core.evaluation.cells import cells_of, errors_per_cell, on_grid


def test_a_window_belongs_to_the_nearest_cell():
    assert list(cells_of([0.0, 0.24, 0.26, 1.0], [1.0, 0.5, 0.76, 0.0], 3)) == [2, 1, 5, 6]


def test_misses_and_false_alarms_are_counted_where_they_are():
    missed, false = errors_per_cell(
        anomaly=[0.0, 0.0, 1.0, 1.0, 1.0],
        gat_prob=[0.0, 0.0, 0.0, 1.0, 1.0],
        label=[1, 0, 0, 0, 1],
        fused=[0.2, 0.2, 0.5, 0.9, 0.9],
        threshold=0.5,
        size=2,
    )
    assert missed.tolist() == [[1, 0], [0, 0]]
    assert false.tolist() == [[0, 0], [1, 1]]


def test_no_windows_are_no_errors():
    missed, false = errors_per_cell([], [], [], [], 0.5, 4)
    assert missed.shape == (4, 4)
    assert not missed.any()
    assert not false.any()


@pytest.mark.parametrize("size", [2, 3, 5])
def test_a_map_on_another_grid_keeps_its_corners(size):
    values = np.arange(9.0).reshape(3, 3)
    there = on_grid(values, size)
    assert there.shape == (size, size)
    assert [there[0, 0], there[0, -1], there[-1, 0], there[-1, -1]] == [0, 2, 6, 8]
    assert np.array_equal(on_grid(values, 3), values)
