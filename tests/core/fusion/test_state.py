"""What the agent sees: features by hand, scales learnt from training, and refusals that list."""

import numpy as np
import pytest
import torch

from core.cache.predictions import FusionPredictionCache
from core.errors import CheckpointError, ConfigError
from core.fusion.state import StateEncoder, recent
from core.fusion.windows import Windows


def scores() -> FusionPredictionCache:
    cache = FusionPredictionCache.from_arrays(
        [0.1, 0.9, 0.5, 0.2],
        [0.2, 0.4, 1.0, 0.6],
        [0, 1, 1, 0],
        capture=["a", "a", "a", "b"],
        start_time=[0.0, 1.0, 2.0, 0.0],
        end_time=[1.0, 3.0, 5.0, 4.0],
    )
    cache.components["vgae_features"] = np.array([10.0, 20.0, 30.0, 40.0], np.float32)
    return cache


def test_the_default_is_both_scores_as_they_are() -> None:
    assert StateEncoder().plain
    torch.testing.assert_close(StateEncoder().states(scores()), scores().states)
    torch.testing.assert_close(
        StateEncoder().plane([0.1, 0.2], 0.5), torch.tensor([[0.1, 0.5], [0.2, 0.5]])
    )


def test_features_by_hand() -> None:
    names = (
        *("gat_prob", "anomaly", "anomaly_confidence", "gat_confidence", "disagreement"),
        *("anomaly_recent", "gat_prob_recent", "duration", "vgae_features"),
    )
    columns = dict(zip(names, StateEncoder.fit(names, scores()).columns(scores()), strict=True))
    assert columns["anomaly_confidence"] == pytest.approx([0.8, 0.8, 0.0, 0.6])
    assert columns["gat_confidence"] == pytest.approx([0.6, 0.2, 1.0, 0.2])
    assert columns["disagreement"] == pytest.approx([0.1, 0.5, 0.5, 0.4])
    assert columns["anomaly_recent"] == pytest.approx([0.1, 0.1, 0.5, 0.2])
    assert columns["gat_prob_recent"] == pytest.approx([0.2, 0.2, 0.3, 0.6])
    assert columns["duration"].tolist() == [1, 2, 3, 4]
    assert columns["vgae_features"].tolist() == [10, 20, 30, 40]


def test_recent_scores_end_at_gaps_and_after_ten_windows() -> None:
    cache = FusionPredictionCache.from_arrays(np.arange(30) / 30, np.zeros(30), np.zeros(30))
    cache = cache.select(np.r_[0:15, 16:30])
    found = recent(cache.anomaly_score, cache)
    assert found[0] == cache.anomaly_score[0]
    assert found[14] == pytest.approx(np.mean(np.arange(4, 14)) / 30)
    assert found[15] == cache.anomaly_score[15], "window 15 is not there"
    assert found[17] == pytest.approx(16.5 / 30)


def test_numbers_of_any_size_come_into_0_to_1_by_median_and_spread() -> None:
    encoder = StateEncoder.fit(("vgae_features", "anomaly"), scores())
    states = encoder.states(scores())
    assert encoder.usual == pytest.approx((25.0, 0.35))
    assert states[:, 1].tolist() == pytest.approx([0.1, 0.9, 0.5, 0.2])
    spread = 15.0 / 1.35  # quartiles 17.5 and 32.5
    assert states[:, 0].tolist() == pytest.approx(
        [1 / (1 + np.exp(-x / spread)) for x in (-15, -5, 5, 15)]
    )
    other = scores()
    other.components["vgae_features"] = np.full(4, 25.0, np.float32)
    assert encoder.states(other)[:, 0].tolist() == [0.5] * 4, "scales are those of training"


def test_the_plane_uses_medians_or_the_given_cut_for_what_it_does_not_hold() -> None:
    encoder = StateEncoder.fit(("vgae_features", "gat_prob", "disagreement"), scores())
    assert encoder.plane([0.9], [0.2]).tolist() == [pytest.approx([0.5, 0.2, 0.7])]
    cut = encoder.plane([0.9], [0.2], {"vgae_features": 40.0})[0, 0].item()
    assert cut == pytest.approx(1 / (1 + np.exp(-1.35)), abs=1e-4)
    with pytest.raises(ConfigError, match="cut at 'gat_prob'; it can at vgae_features"):
        encoder.plane([0.9], [0.2], {"gat_prob": 0.5})


def test_what_the_cache_lacks_is_refused_with_what_it_has() -> None:
    with pytest.raises(ConfigError, match=r"no 'vgae_x'; it has anomaly, .*, vgae_features"):
        StateEncoder.fit(("anomaly", "vgae_x"), scores())


def test_it_is_restored_from_plain_lists() -> None:
    encoder = StateEncoder.fit(("vgae_features", "anomaly"), scores())
    assert StateEncoder.from_dict(encoder.to_dict()) == encoder
    for damage in ({"names": []}, {"center": [1.0]}, {"spread": None}, {"usual": ["x", "y"]}):
        with pytest.raises(CheckpointError):
            StateEncoder.from_dict(encoder.to_dict() | damage)


def test_windows_gather_what_the_encoder_gives() -> None:
    encoder = StateEncoder.fit(("vgae_features", "anomaly"), scores())
    windows = Windows.of(scores(), encoder)
    rows = torch.tensor([3, 0, 0])
    torch.testing.assert_close(windows.states(rows), encoder.states(scores())[rows])
    torch.testing.assert_close(windows.scores(rows), scores().states[rows])


def test_next_windows_by_hand() -> None:
    cache = FusionPredictionCache.from_arrays(
        np.zeros(7), np.zeros(7), np.zeros(7), capture=["a"] * 3 + ["b"] * 4
    ).select(np.array([0, 1, 2, 3, 4, 6]))  # window 2 of the second capture was held out
    after, live = Windows.of(cache, StateEncoder()).following(torch.arange(6))
    assert after.tolist() == [1, 2, 2, 4, 4, 5]
    assert live.tolist() == [1, 1, 0, 1, 0, 0]


def test_slices_cover_every_nth_row_once() -> None:
    windows = Windows.of(
        FusionPredictionCache.from_arrays(np.arange(10) / 10, np.zeros(10), np.zeros(10)),
        StateEncoder(),
    )
    for step, expected in ((1, range(10)), (3, range(0, 10, 3))):
        found = torch.cat([windows.scores(rows)[:, 0] for rows in windows.parts(2, step)])
        assert (10 * found).round().int().tolist() == list(expected)


def test_on_a_cpu_columns_are_the_caches_own_memory() -> None:
    cache = scores()
    windows = Windows.of(cache, StateEncoder())
    assert windows.anomaly.data_ptr() == cache.anomaly_score.ctypes.data
    assert windows.label.data_ptr() == cache.label.ctypes.data


def test_windows_of_a_selection_lie_in_the_memory_of_its_origin() -> None:
    cache = scores()
    chosen = cache.select(np.array([3, 1, 2]))
    windows = Windows.of(chosen, StateEncoder())
    assert len(windows) == 3
    assert windows.anomaly.data_ptr() == cache.anomaly_score.ctypes.data
    assert "anomaly_score" not in vars(chosen)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(windows.scores(rows), cache.states[[2, 3]])
    assert windows.labels(slice(1, 3)).tolist() == cache.label[[1, 2]].tolist()
    moved = windows.to(torch.device("meta"))
    assert moved.chosen is None
    assert len(moved) == 3


def test_what_a_map_can_be_cut_at_and_how_far() -> None:
    encoder = StateEncoder(
        ("anomaly", "duration", "gat_prob_recent"),
        (0.0, 2.0, 0.0),
        (0.0, 0.5, 0.0),
        (0.5, 2.1, 0.3),
    )
    assert encoder.free == ("duration", "gat_prob_recent")
    assert encoder.reach("duration") == (0.5, 2.1, 3.5)
    assert encoder.reach("gat_prob_recent") == (0.0, 0.3, 1.0)
    assert StateEncoder().free == ()
