"""A capture made ready for the detectors: its graphs, its habit, the windows that count."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.config import DetectorConfig
from core.graphs.reference import Relative, commission, relate_to_past, relate_to_profile
from core.graphs.store import GraphStore

LARGEST_COMMISSIONING_SHARE = 1 / 3
"""A short capture keeps at least two thirds of its windows for scoring."""


@dataclass(frozen=True)
class PreparedCapture:
    """One capture with features relative to its reference."""

    key: str
    """``split/file``"""
    store: GraphStore
    relative: Relative
    commissioning: npt.NDArray[np.int64]
    """Windows that the vehicle's profile was learnt from; empty in the zero-shot protocol."""
    scored: npt.NDArray[np.int64]
    """All other windows."""

    @property
    def experience(self) -> npt.NDArray[np.int64]:
        """For each scored window, how many windows its reference was learnt from."""
        if len(self.commissioning):
            return np.full(len(self.scored), len(self.commissioning))
        return self.scored

    @property
    def split(self) -> str:
        """Folder of the capture in its data set."""
        return self.key.split("/", 1)[0]


def prepare_capture(key: str, store: GraphStore, config: DetectorConfig) -> PreparedCapture:
    """Relate a capture's windows to its own habit, as ``config.protocol`` says.

    ``commissioned``: a profile from the first windows of the capture. In a training capture those
    known to be attacked are passed over; the labels of a test capture are never looked at.
    ``zero-shot``: each window is related to those before it.
    """
    windows = np.arange(len(store))
    if config.protocol == "zero-shot":
        return PreparedCapture(key, store, relate_to_past(store), windows[:0], windows)
    candidates = windows[store.y == 0] if key.startswith("train_") else windows
    limit = max(1, int(len(store) * LARGEST_COMMISSIONING_SHARE))
    chosen = candidates[: min(config.profile_windows, limit)]
    if not len(chosen):
        # Attacked from the first to the last window: the past is all there is to compare with.
        return PreparedCapture(key, store, relate_to_past(store), chosen, windows)
    relative = relate_to_profile(store, commission(store, chosen))
    return PreparedCapture(key, store, relative, chosen, np.setdiff1d(windows, chosen))
