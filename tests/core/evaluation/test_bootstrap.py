"""Intervals by block bootstrap: every draw is what measuring the drawn windows would give."""

import numpy as np
import pytest

from core.evaluation.bootstrap import (
    BLOCK_WINDOWS,
    INTERVAL_METRICS,
    draw_weights,
    interval,
    intervals,
    resampled_metrics,
    time_blocks,
)
from core.evaluation.metrics import window_metrics


def windows(count=600, seed=0, digits=2):
    rng = np.random.default_rng(seed)
    label = rng.random(count) < 0.3
    score = np.clip(0.35 * label + 0.65 * rng.random(count), 0, 1).round(digits)
    return label, score


def test_every_draw_is_the_measure_of_the_drawn_windows():
    label, score = windows()  # rounded: with ties between the classes
    block = time_blocks(np.repeat([0, 1], 300), np.tile(np.arange(300), 2))
    weights = draw_weights(int(block.max()) + 1, resamples=25)
    draws = resampled_metrics(block, label, score, 0.5, weights)
    assert set(draws) == set(INTERVAL_METRICS)
    for number, weight in enumerate(weights):
        rows = np.concatenate(
            [np.tile(np.flatnonzero(block == b), int(n)) for b, n in enumerate(weight)]
        ).astype(int)
        expected = window_metrics(label[rows], score[rows])
        for name in INTERVAL_METRICS:
            assert draws[name][number] == pytest.approx(expected[name]), name


def test_auroc_from_joined_cells_is_next_to_exact(monkeypatch):
    label, score = windows(3000, digits=9)
    block = np.arange(3000) // 50
    weights = draw_weights(60, resamples=200)
    exact = resampled_metrics(block, label, score, 0.5, weights)["auroc"]
    monkeypatch.setattr("core.evaluation.bootstrap.CELLS", 128)
    joined = resampled_metrics(block, label, score, 0.5, weights)["auroc"]
    assert exact.std() > 0.003
    assert np.abs(joined - exact).max() < 0.0005
    assert joined.mean() == pytest.approx(exact.mean(), abs=1e-4)


def test_blocks_are_stretches_of_one_capture():
    capture = np.repeat([3, 1], [1000, 1030])
    window = np.concatenate([np.arange(1000), 7 + np.arange(1030)])
    block = time_blocks(capture, window)
    assert len(np.unique(block)) == 1000 // BLOCK_WINDOWS + 21
    for number in np.unique(block):
        rows = np.flatnonzero(block == number)
        assert len(np.unique(capture[rows])) == 1
        assert len(rows) <= BLOCK_WINDOWS
        assert np.ptp(window[rows]) == len(rows) - 1


def test_few_windows_are_cut_into_shorter_blocks_and_very_many_into_longer_ones():
    assert len(np.unique(time_blocks(np.zeros(40), np.arange(40)))) == 20
    assert len(np.unique(time_blocks(np.zeros(10**5), np.arange(10**5)))) == 1000


def test_the_same_seed_draws_the_same():
    assert (draw_weights(30, seed=1) == draw_weights(30, seed=1)).all()
    assert (draw_weights(30, seed=1) != draw_weights(30, seed=2)).any()
    assert (draw_weights(30).sum(axis=1) == 30).all()


def test_an_interval_of_alike_windows_is_wider_than_of_single_ones():
    # Blocks that are wrong as a whole: windows drawn one by one would look far too sure.
    wrong = np.repeat(np.arange(40) % 4 == 0, 50)
    score = np.where(wrong, 0.1, 0.9)
    label = np.ones(2000, bool)

    def width(block):
        weights = draw_weights(int(block.max()) + 1)
        low, high = intervals(resampled_metrics(block, label, score, 0.5, weights))["recall"]
        assert low < 0.75 < high
        return high - low

    by_block = width(np.arange(2000) // 50)
    assert by_block > 5 * width(np.arange(2000))
    # Binomial, 40 trials: 2 * 1.96 * sqrt(.75 * .25 / 40) = 0.268.
    assert by_block == pytest.approx(0.268, rel=0.1)


def test_the_interval_holds_the_truth_in_about_95_of_100_cases():
    held = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        right = np.repeat(rng.random(60) < 0.7, 10)
        draws = draw_weights(60, seed, 400) @ np.add.reduceat(right, np.arange(0, 600, 10)) / 600
        low, high = interval(draws)
        held += low <= 0.7 <= high
    assert 180 <= held <= 198


def test_what_most_draws_do_not_define_has_no_interval():
    assert interval(np.array([np.nan, np.nan, 0.5])) is None
    assert interval(np.array([np.nan, 0.5, 0.5])) == [0.5, 0.5]
    label = np.zeros(100, bool)
    found = intervals(
        resampled_metrics(np.arange(100) // 5, label, np.zeros(100), 0.5, draw_weights(20))
    )
    assert found["f1"] is found["auroc"] is found["recall"] is None
    assert found["fpr"] == [0.0, 0.0]
