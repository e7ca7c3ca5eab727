"""Delays and false alarms, by hand and against a plain loop over the windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.detection import JOIN_S, Timeline, detection_metrics


def timeline(start, end=None, capture=None, window=None, frames=100):
    start = np.asarray(start, float)
    window = np.arange(len(start)) if window is None else np.asarray(window)
    columns = {
        "capture": np.zeros(len(start), int) if capture is None else np.asarray(capture),
        "window": window,
        "start_time": start,
        "end_time": start + 0.1 if end is None else np.asarray(end, float),
        "first_frame": window * 100,
    }
    return Timeline.of(columns, frames)


def detect(line, label, alarm):
    return detection_metrics(line, np.array(label), np.array(alarm, bool))


def test_values_computed_by_hand():
    # Ten windows of 0.1 s, one every 0.5 s; one long pause before the eighth.
    start = np.append(np.arange(7) * 0.5, 10 + np.arange(3) * 0.5)
    label = [0, 0, 1, 1, 1, 0, 0, 1, 1, 0]
    alarm = [1, 0, 0, 1, 1, 0, 0, 0, 0, 1]
    found = detect(timeline(start), label, alarm)
    assert (found["episodes"], found["detected"], found["missed"]) == (2, 1, 1)
    # Begins at 1.0 s; the second attacked window, from 1.5 to 1.6 s, is called an attack.
    assert found["delay_ms"] == pytest.approx(dict.fromkeys(("median", "mean", "max"), 600.0))
    # Frames 200 to 399: the whole of both windows.
    assert found["delay_frames"] == {"median": 200.0, "mean": 200.0, "max": 200.0}
    assert found["false_alarms"] == 2
    assert found["hours"] == pytest.approx(11.1 / 3600)
    assert found["false_alarms_per_hour"] == pytest.approx(2 * 3600 / 11.1)


def test_an_alarm_before_the_attack_does_not_detect_it():
    found = detect(timeline([0.0, 0.1, 0.2]), [0, 1, 1], [1, 0, 0])
    assert (found["detected"], found["missed"], found["false_alarms"]) == (0, 1, 1)
    assert found["delay_ms"] is None


def test_an_alarm_that_stands_when_the_attack_begins_detects_its_first_window():
    found = detect(timeline([0.0, 0.1, 0.2]), [0, 1, 1], [1, 1, 1])
    assert found["delay_ms"]["max"] == pytest.approx(100.0)
    assert found["delay_frames"]["max"] == 100.0


def test_short_pauses_do_not_end_an_attack_or_an_alarm():
    start = [0.0, 0.5, 1.0, 2.2]  # 0.9 s and 1.1 s between the ends and starts of every other one
    line = timeline(start)
    assert detect(line, [1, 0, 1, 0], [0, 0, 0, 0])["episodes"] == 1
    assert detect(line, [0, 0, 1, 1], [0, 0, 0, 0])["episodes"] == 2
    assert detect(line, [0, 0, 0, 0], [1, 0, 1, 0])["false_alarms"] == 1
    assert detect(line, [0, 0, 0, 0], [1, 0, 1, 1])["false_alarms"] == 2


def test_an_alarm_that_is_right_in_between_does_not_hide_that_it_was_wrong_before():
    found = detect(timeline([0.0, 0.1, 0.2]), [0, 1, 0], [1, 1, 1])
    assert found["false_alarms"] == 1
    assert found["detected"] == 1


def test_captures_are_apart_whatever_their_clocks_say():
    line = timeline([0.0, 0.1, 0.2, 0.3], capture=[0, 0, 1, 1])
    found = detect(line, [0, 1, 1, 0], [1, 0, 1, 1])
    assert (found["episodes"], found["missed"], found["false_alarms"]) == (2, 1, 2)
    assert found["hours"] == pytest.approx(0.4 / 3600)


def test_without_times_only_frames_are_counted():
    line = timeline([5.0] * 6, end=[5.0] * 6)
    found = detect(line, [0, 1, 1, 0, 0, 1], [1, 0, 1, 0, 1, 0])
    assert found["delay_ms"] is found["hours"] is found["false_alarms_per_hour"] is None
    assert (found["episodes"], found["missed"], found["false_alarms"]) == (2, 1, 2)
    assert found["delay_frames"]["max"] == 200.0


def test_a_clock_that_is_set_back_shortens_nothing():
    line = timeline([100.0, 100.1, 3.0, 3.1])
    found = detect(line, [0, 1, 1, 1], [0, 0, 0, 1])
    assert found["delay_ms"]["max"] == pytest.approx(300.0 - 100.0)  # the fall took no time
    assert found["hours"] > 0


def test_windows_by_time_have_no_delay_in_frames():
    assert detect(timeline([0.0], frames=None), [1], [1])["delay_frames"] is None


def test_nothing_scored():
    found = detect(timeline([]), [], [])
    assert (found["episodes"], found["false_alarms"]) == (0, 0)
    assert found["hours"] is found["false_alarms_per_hour"] is found["delay_ms"] is None


def plain(rows, capture):
    """Episodes with their delay in s (None: missed) and the number of false alarms, one by one."""
    episodes, false_alarms = [], 0
    begun = last_attacked = last_false = where = None
    delay = None
    for name, (start, end, label, alarm) in zip(capture, rows, strict=True):
        if name != where:
            last_attacked = last_false = None
            where = name
        if label:
            if last_attacked is None or start - last_attacked >= JOIN_S:
                episodes.append(None)
                begun = start
            if alarm and episodes[-1] is None:
                delay = end - begun
                episodes[-1] = delay
            last_attacked = end
        elif alarm:
            if last_false is None or start - last_false >= JOIN_S:
                false_alarms += 1
            last_false = end
    return episodes, false_alarms


window = st.tuples(
    st.sampled_from([0.0, 0.25, 1.0, 2.0]), st.booleans(), st.booleans(), st.integers(0, 9)
)


@given(st.lists(window, min_size=1, max_size=40))
def test_agrees_with_a_loop_over_the_windows(windows):
    pause, label, alarm, change = zip(*windows, strict=True)
    start = np.cumsum(np.array(pause) + 0.125)  # exact in binary
    capture = np.cumsum(np.array(change) == 0)
    found = detect(timeline(start, start + 0.125, capture), label, alarm)
    episodes, false_alarms = plain(
        list(zip(start, start + 0.125, label, alarm, strict=True)), capture
    )
    delays = [1000 * delay for delay in episodes if delay is not None]
    assert found["episodes"] == len(episodes)
    assert found["detected"] == len(delays)
    assert found["false_alarms"] == false_alarms
    if delays:
        assert found["delay_ms"] == pytest.approx(
            {"median": np.median(delays), "mean": np.mean(delays), "max": max(delays)}
        )
