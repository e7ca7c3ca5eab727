import json

import numpy as np
import pytest

from dashboard.curves import (
    DETECTOR_CHARTS,
    FUSION_CHARTS,
    LOG_LINES,
    MAX_POINTS,
    Drained,
    best_so_far,
    draw,
    last_value,
)


def metrics(seq, step, **values):
    return {"seq": seq, "type": "metrics", "step": step, "values": values}


def source_of(option):
    return option["dataset"]["source"].to_pandas()


def test_events_are_taken_once():
    state = Drained()
    event = metrics(1, "gat", epoch=0, val_loss=0.5)
    state.take([event])
    state.take([event, metrics(2, "gat", epoch=1, val_loss=0.4)])
    assert list(state.frame("gat")["val_loss"]) == [0.5, 0.4]
    assert list(state.frame("gat")["x"]) == [1, 2]


def test_parts_of_a_step_have_columns_of_their_own():
    state = Drained()
    state.take([metrics(1, "vgae", epoch=0, val_loss=1.0)])
    state.take([metrics(2 + i, "vgae fold 1", epoch=i, val_loss=2.0 - i) for i in range(2)])
    frame = state.frame("vgae")
    assert list(frame["val_loss fold 1"]) == [2.0, 1.0]
    assert frame["val_loss"][0] == 1.0
    assert np.isnan(frame["val_loss"][1])
    names = [s["name"] for s in draw(DETECTOR_CHARTS[0], frame, 0.0, False)["series"]]
    assert names == ["held out", "held out fold 1"]


def test_before_the_last_training_the_newest_fold_is_drawn_strongly_and_named() -> None:
    state = Drained()
    for fold in (1, 2):
        said = {"train_loss": 2.0, "val_loss": 3.0}
        state.take([metrics(2 * fold + i, f"vgae fold {fold}", epoch=i, **said) for i in range(2)])

    def drawn_strongly() -> list[str]:
        option = draw(DETECTOR_CHARTS[0], state.frame("vgae"), 0.0, False)
        strong = [s["name"] for s in option["series"] if s["lineStyle"]["opacity"] == 1]
        assert option["legend"]["data"] == strong
        return strong

    assert drawn_strongly() == ["training fold 2", "held out fold 2"]
    smooth = draw(DETECTOR_CHARTS[0], state.frame("vgae"), 0.5, False)
    assert smooth["legend"]["data"] == ["training fold 2", "held out fold 2"]
    assert "held out fold 2, raw" in [s["name"] for s in smooth["series"]]
    state.take([metrics(9, "vgae", epoch=0, train_loss=1.0, val_loss=1.5)])
    assert drawn_strongly() == ["training", "held out"]


def test_memory_of_a_session_is_bounded():
    state = Drained()
    state.take([metrics(i + 1, "fusion", epoch=i, train_loss=0.0) for i in range(3 * MAX_POINTS)])
    state.take([{"seq": 10**6 + i, "type": "log", "message": "x"} for i in range(1000)])
    assert len(state.frame("fusion")["x"]) <= MAX_POINTS
    assert state.frame("fusion")["x"][0] == 1
    assert state.frame("fusion")["x"][-1] == 3 * MAX_POINTS
    assert len(state.log) == LOG_LINES


def test_smoothing_follows_the_moving_average_and_keeps_the_raw_line():
    state = Drained()
    state.take([metrics(i + 1, "vgae", epoch=i, train_loss=v) for i, v in enumerate([1.0, 0.0])])
    option = draw(DETECTOR_CHARTS[0], state.frame("vgae"), 0.5, False)
    assert [s["name"] for s in option["series"]] == ["training", "training, raw"]
    # Weights 1/3 and 2/3: the past counts half as much as the present.
    assert list(source_of(option)["train_loss smooth"]) == pytest.approx([1.0, 1 / 3])


def test_log_axes_are_for_losses_only_and_leave_out_what_has_no_logarithm():
    state = Drained()
    state.take([metrics(1, "vgae", epoch=0, train_loss=0.0, val_loss=1.0)])
    state.take([metrics(2, "fusion", epoch=0, val_reward=-0.5, train_reward=0.1)])
    loss = draw(DETECTOR_CHARTS[0], state.frame("vgae"), 0.0, True)
    assert loss["yAxis"]["type"] == "log"
    assert source_of(loss)["train_loss"].isna().all()
    assert draw(FUSION_CHARTS[0], state.frame("fusion"), 0.0, True)["yAxis"]["type"] == "value"


def test_undefined_values_are_gaps_and_the_best_is_named():
    state = Drained()
    values = [None, 0.9, 0.8]
    state.take([metrics(i + 1, "fusion", epoch=i, gap_closed=v) for i, v in enumerate(values)])
    chart = next(c for c in FUSION_CHARTS if c.best == "gap_closed")
    frame = state.frame("fusion")
    option = draw(chart, frame, 0.0, False)
    assert source_of(option)["gap_closed"].isna().sum() == 1
    assert best_so_far(chart, frame) == "best 0.9000 at epoch 2"
    assert [t["text"] for t in option["title"]] == [chart.title, "best 0.9000 at epoch 2"]
    assert last_value(frame, "gap_closed") == 0.8
    assert last_value({"gap_closed": np.array([0.5, np.nan])}, "gap_closed") == 0.5
    assert last_value(frame, "epsilon") is None


def test_another_run_is_laid_beside_with_its_own_epochs():
    frames = []
    for values in ([0.5, 0.6], [0.7, 0.8, 0.9]):
        state = Drained()
        state.take([metrics(i + 1, "fusion", epoch=i, val_f1=v) for i, v in enumerate(values)])
        frames.append(state.frame("fusion"))
    option = draw(FUSION_CHARTS[1], frames[0], 0.0, False, {"other": frames[1]})
    source = source_of(option)
    assert list(source["x"]) == [1, 2, 3]
    np.testing.assert_array_equal(source["val_f1"], [0.5, 0.6, np.nan])
    np.testing.assert_array_equal(source["beside other"], [0.7, 0.8, 0.9])
    # Accuracy was never told: there is nothing to explain in the legend.
    assert option["legend"]["data"] == ["F1", "other"]


def test_alpha_is_drawn_with_a_band_of_its_spread():
    state = Drained()
    state.take([metrics(1, "fusion", epoch=0, alpha_mean=0.9, alpha_std=0.2)])
    chart = next(c for c in FUSION_CHARTS if c.band)
    source = source_of(draw(chart, state.frame("fusion"), 0.0, False))
    assert source["low"][0] == pytest.approx(0.7)
    assert source["low"][0] + source["width"][0] == pytest.approx(1.0)


def test_an_epoch_told_again_by_a_run_that_went_on_counts_as_told_last():
    state = Drained()
    values = [(4, 0.1), (5, 0.2), (5, 0.3), (6, 0.4)]
    state.take([metrics(i + 1, "fusion", epoch=e, val_f1=v) for i, (e, v) in enumerate(values)])
    assert list(state.frame("fusion")["x"]) == [1, 2, 3]
    assert list(state.frame("fusion")["val_f1"]) == [0.1, 0.3, 0.4]


def test_metrics_that_come_later_or_stay_away_are_gaps():
    state = Drained()
    state.take([metrics(1, "gat", epoch=0, train_loss=1.0)])
    state.take([metrics(2, "gat", epoch=1, val_f1=0.5), metrics(3, "gat", epoch=2, train_loss=2.0)])
    frame = state.frame("gat")
    assert set(frame) == {"x", "train_loss", "val_f1"}
    np.testing.assert_array_equal(frame["train_loss"], [1.0, np.nan, 2.0])
    np.testing.assert_array_equal(frame["val_f1"], [np.nan, 0.5, np.nan])


def test_of_a_long_run_some_epochs_are_drawn_while_it_lasts_the_best_and_the_last_among_them():
    state = Drained()
    chart = FUSION_CHARTS[1]
    for epochs in (1001, 1100):
        values = [1.0 if i == 333 else 0.5 for i in range(epochs)]
        state.take([metrics(i + 1, "fusion", epoch=i, val_f1=v) for i, v in enumerate(values)])
        source = source_of(draw(chart, state.frame("fusion"), 0.0, False, live=True))
        # Every eighth, which those drawn before are among, and two more.
        assert list(source["x"]) == sorted({*range(1, epochs + 1, 8), 334, epochs})
        assert source["val_f1"].max() == 1.0
    whole = source_of(draw(chart, state.frame("fusion"), 0.0, False))
    assert len(whole) == 1100
    option = draw(chart, state.frame("fusion"), 0.0, False, last=20, live=True)
    some = source_of(option)
    assert list(some["x"]) == list(range(1081, 1101))
    # Of those shown, the best is marked.
    assert option["series"][0]["markPoint"]["data"][0]["coord"] == [1081.0, 0.5]


def test_options_without_their_data_are_plain_json():
    state = Drained()
    state.take([metrics(1, "fusion", epoch=0, train_loss=0.1, alpha_mean=0.5, alpha_std=0.1)])
    for chart in FUSION_CHARTS:
        option = draw(chart, state.frame("fusion"), 0.3, True)
        json.dumps({k: v for k, v in option.items() if k != "dataset"})


def test_charts_drawn_anew_each_second_hold_only_what_they_need():
    state = Drained()
    state.take([metrics(1, "fusion", epoch=0, val_accuracy=0.5, val_f1=0.5, train_loss=0.1)])
    of_two, of_one = (c for c in FUSION_CHARTS if c.title in ("Validation accuracy and F1", "Loss"))
    frame = state.frame("fusion")
    assert "legend" in draw(of_two, frame, 0.0, False)
    assert "legend" not in draw(of_one, frame, 0.0, False)
    assert "legend" in draw(of_one, frame, 0.0, False, {"other": frame})
    assert "toolbox" in draw(of_one, frame, 0.0, False)
    assert "toolbox" not in draw(of_one, frame, 0.0, False, live=True)
