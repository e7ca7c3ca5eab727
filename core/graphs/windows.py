"""Where each window of a capture begins and ends, as its frames come in."""

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.config import WindowConfig

SHORTEST = 2
"""Frames below which a window has no transition, and so no graph."""

Spans = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""First frame of each window, and the frame after its last; both counted in the capture."""

_NONE = (np.empty(0, np.int64), np.empty(0, np.int64))


class Windows(Protocol):
    """Cuts a capture into windows while its frames come in."""

    needed: int
    """First frame that a window still to come may hold."""

    def extend(self, timestamp: npt.NDArray[np.float64]) -> Spans:
        """Take more frames; return the windows that are whole now."""

    def rest(self) -> Spans:
        """After the last frame: the incomplete window at the end, where it is to be kept."""


def windows_of(config: WindowConfig) -> Windows:
    """Windows by time where a duration is set, otherwise by number of frames."""
    return WindowsByTime(config) if config.duration_s else WindowsByCount(config)


def widened(
    mask: npt.NDArray[np.bool_], capture: npt.NDArray[Any], reach: int
) -> npt.NDArray[np.bool_]:
    """``mask [W]`` with up to ``reach`` windows more on either side, within each capture.

    Args:
        capture: ``[W]`` which capture each window is of; those of one capture lie together, in
            order.
    """
    wide, done = mask.copy(), 0
    while done < reach:
        # What reaches ``done`` windows, moved by one more than that at most, reaches so many more.
        step = min(done + 1, reach - done)
        if step >= len(mask):
            break
        same = capture[step:] == capture[:-step]
        before = wide.copy()
        wide[step:] |= before[:-step] & same
        wide[:-step] |= before[step:] & same
        done += step
    return wide


class WindowsByCount:
    """``size`` frames each, a new one every ``stride`` frames."""

    def __init__(self, config: WindowConfig) -> None:
        self.config = config
        self.needed = 0
        self._frames = 0
        self._next = 0
        self._covered = 0

    def extend(self, timestamp: npt.NDArray[np.float64]) -> Spans:
        size, stride = self.config.size, self.config.stride
        self._frames += len(timestamp)
        begin = np.arange(self._next, self._frames - size + 1, stride, dtype=np.int64)
        if len(begin):
            self._next = int(begin[-1]) + stride
            self._covered = int(begin[-1]) + size
        self.needed = min(self._next, self._frames)
        return begin, begin + size

    def rest(self) -> Spans:
        # Where windows overlap, frames at the end may all be in a whole window already.
        new = self._frames > self._covered
        if self.config.last == "drop" or not new or self._frames - self._next < SHORTEST:
            return _NONE
        return np.array([self._next]), np.array([self._frames])


class WindowsByTime:
    """``duration_s`` each, a new one every ``stride_s``, counted from the first frame.

    Window ``k`` holds the frames from ``k * stride_s`` up to, and without, ``k * stride_s +
    duration_s``; it is whole where a frame at or after its end exists. Where the clock falls back
    by less than a window, time stands still until it has caught up. Where it falls back by more
    (it was wrapped or set anew), time goes on from there with the next frame.
    """

    def __init__(self, config: WindowConfig) -> None:
        self.config = config
        self.duration = config.duration_s
        self.stride = config.stride_s or config.duration_s
        self.needed = 0
        self._next = 0
        self._origin: float | None = None
        self._last = 0.0
        """The clock at the last frame."""
        self._shift = 0.0
        """Seconds by which the clock fell back in all."""
        self._elapsed = np.empty(0)
        """Seconds since the first frame, never falling, of the frames from ``needed`` on."""

    def extend(self, timestamp: npt.NDArray[np.float64]) -> Spans:
        if self._origin is None:
            self._origin = self._last = float(timestamp[0])
        fall = -np.diff(timestamp, prepend=self._last)
        fall[fall < self.duration] = 0.0
        shift = np.cumsum(np.append(self._shift, fall))[1:]
        self._last, self._shift = float(timestamp[-1]), float(shift[-1])
        latest = self._elapsed[-1:] if len(self._elapsed) else np.zeros(1)
        new = np.maximum.accumulate(np.append(latest, timestamp - self._origin + shift))[1:]
        self._elapsed = np.concatenate([self._elapsed, new])
        number = self._candidates()
        number = number[number * self.stride + self.duration <= self._elapsed[-1]]
        spans = self._spans(number)
        while self._next * self.stride + self.duration <= self._elapsed[-1]:
            jump = int((self._elapsed[-1] - self.duration) / self.stride) - 1
            self._next = max(self._next + 1, jump)
        # The latest frame stays: the time stands there if the clock runs backward after it.
        gone = int(np.searchsorted(self._elapsed, self._next * self.stride))
        gone = min(gone, len(self._elapsed) - 1)
        self._elapsed = self._elapsed[gone:]
        self.needed += gone
        return spans

    def rest(self) -> Spans:
        if self.config.last == "drop":
            return _NONE
        begin = self.needed + int(np.searchsorted(self._elapsed, self._next * self.stride))
        end = self.needed + len(self._elapsed)
        return (np.array([begin]), np.array([end])) if end - begin >= SHORTEST else _NONE

    def _candidates(self) -> npt.NDArray[np.int64]:
        """Numbers of windows still to come that may hold a frame; a long silence costs nothing."""
        last = np.floor(self._elapsed / self.stride).astype(np.int64)
        last = last[np.append(True, last[1:] != last[:-1])]
        # One more on either side: the quotient may be rounded across a border.
        overlap = int(np.ceil(self.duration / self.stride)) + 1
        number = np.unique(last[:, None] + 1 - np.arange(overlap + 1))
        return number[number >= self._next]

    def _spans(self, number: npt.NDArray[np.int64]) -> Spans:
        begin = np.searchsorted(self._elapsed, number * self.stride)
        end = np.searchsorted(self._elapsed, number * self.stride + self.duration)
        enough = end - begin >= SHORTEST
        return self.needed + begin[enough], self.needed + end[enough]
