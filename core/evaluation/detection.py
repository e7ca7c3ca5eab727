"""How soon an attack is noticed, and how often there is an alarm for nothing.

Everything is told from windows, whose verdicts are there when the window has ended:

- An **episode** is an attack as seen in one capture: a maximal run of attacked windows. Windows
  less than :data:`JOIN_S` apart (end of one to start of the next) are one run, because an attack
  that injects every now and then is still one attack.
- Its **delay** runs from the start of its first attacked window to the end of the first of its
  attacked windows that is called an attack. The attack began somewhere inside that first window, so
  the true delay is shorter by at most one window. An episode none of whose windows is called an
  attack is **missed**, and has no delay.
- A **false alarm** is a maximal run of clean windows that are called attacks, joined by the same
  rule. However long it stands, it counts once: the false-positive rate says how long alarms stand.
- Hours are those of the captures' scored windows, attacked or not.

A capture whose clock stands still has no times: its windows are joined only where they follow one
another, and delays in ms and alarms per hour are None.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

JOIN_S = 1.0
"""Seconds between windows from which they belong to two episodes, or two alarms."""

Detection = dict[str, Any]


@dataclass(frozen=True)
class Timeline:
    """When each of ``W`` windows began and ended, on a clock that never runs backward.

    Rows are grouped by capture and in the order of their windows.
    """

    first: npt.NDArray[np.bool_]
    """``[W]`` first scored window of its capture."""
    start: npt.NDArray[np.float64]
    """``[W]`` seconds"""
    end: npt.NDArray[np.float64]
    """``[W]`` seconds"""
    window: npt.NDArray[np.int64]
    """``[W]`` place in the capture."""
    first_frame: npt.NDArray[np.int64]
    """``[W]`` place of the window's first frame in the capture."""
    frames: int | None
    """Frames per window; None where they differ."""
    timed: bool
    """Whether every capture has times."""

    @classmethod
    def of(cls, columns: Mapping[str, npt.NDArray[Any]], frames: int | None = None) -> "Timeline":
        """From ``capture, window, start_time, end_time, first_frame``, all ``[W]``, in order."""
        capture, end = columns["capture"], columns["end_time"].astype(np.float64)
        first = np.append(True, capture[1:] != capture[:-1])[: len(capture)]
        step = np.maximum(np.diff(end, prepend=end[:1]), 0.0)
        length = np.maximum(end - columns["start_time"], 0.0)
        step[first] = length[first]
        clock = np.cumsum(step)
        moved = np.add.reduceat(step, np.flatnonzero(first)) if len(step) else step
        return cls(
            first,
            clock - length,
            clock,
            columns["window"].astype(np.int64),
            columns["first_frame"].astype(np.int64),
            frames,
            timed=bool((moved > 0).all()),
        )

    def __len__(self) -> int:
        return len(self.first)

    @property
    def hours(self) -> float | None:
        """Time covered by the scored windows; None without times."""
        if not self.timed or not len(self):
            return None
        begins = np.flatnonzero(self.first)
        ends = np.append(begins[1:], len(self)) - 1
        return float((self.end[ends] - self.start[begins]).sum() / 3600)

    def runs(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """``[R]`` where in the chosen rows each maximal run of them begins."""
        rows = np.flatnonzero(chosen)
        if not len(rows):
            return rows
        capture = np.cumsum(self.first)[rows]
        apart = (
            self.start[rows[1:]] - self.end[rows[:-1]] >= JOIN_S
            if self.timed
            else np.diff(self.window[rows]) > 1
        )
        return np.flatnonzero(np.append(True, apart | (np.diff(capture) > 0)))


def detection_metrics(
    timeline: Timeline, label: npt.NDArray[Any], alarm: npt.NDArray[np.bool_]
) -> Detection:
    """Detection delay and false alarms of one method.

    Args:
        label: ``[W]``, 1 where the window is attacked.
        alarm: ``[W]`` windows called an attack.

    Returns:
        ``episodes, detected, missed``; ``delay_ms`` and ``delay_frames`` (``median``, ``mean`` and
        ``max`` over detected episodes, or None); ``false_alarms``, ``hours`` and
        ``false_alarms_per_hour``.
    """
    attacked = np.asarray(label, bool)
    rows = np.flatnonzero(attacked)
    begins = timeline.runs(attacked)
    # The first alarm at or after each episode's beginning, counted in attacked windows.
    alarms = np.flatnonzero(alarm[rows])
    place = np.searchsorted(alarms, begins)
    following = np.append(alarms, len(rows))[place]
    detected = following < np.append(begins[1:], len(rows))[: len(begins)]
    onset, noticed = rows[begins[detected]], rows[following[detected]]
    delay = timeline.end[noticed] - timeline.start[onset]
    frames = timeline.first_frame[noticed] - timeline.first_frame[onset]
    false_alarms, hours = len(timeline.runs(~attacked & alarm)), timeline.hours
    return {
        "episodes": len(begins),
        "detected": len(onset),
        "missed": len(begins) - len(onset),
        "delay_ms": _spread(delay * 1000) if timeline.timed else None,
        "delay_frames": _spread(frames + timeline.frames) if timeline.frames else None,
        "false_alarms": false_alarms,
        "hours": hours,
        "false_alarms_per_hour": false_alarms / hours if hours else None,
    }


def _spread(values: npt.NDArray[Any]) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        "median": float(np.median(values)),
        "mean": float(values.mean()),
        "max": float(values.max()),
    }
