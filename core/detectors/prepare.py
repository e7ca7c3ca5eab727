"""A capture made ready for the detectors: its graphs, its habit, the windows that count."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.config import DetectorConfig
from core.graphs.reference import (
    Relative,
    VehicleProfile,
    commission,
    relate_to_past,
    relate_to_past_in_parts,
    relate_to_profile,
)
from core.graphs.rehearsed import Rehearsal
from core.graphs.store import GraphStore

LARGEST_COMMISSIONING_SHARE = 1 / 3
"""A short capture keeps at least two thirds of its windows for scoring."""


PART_WINDOWS = 20_000
"""Windows related and scored at once: a few hundred megabytes."""


@dataclass(frozen=True)
class PreparedCapture:
    """One capture with the reference that its features are relative to."""

    key: str
    """``split/file``"""
    store: GraphStore
    profile: VehicleProfile | None
    """What is normal on the vehicle; None where each window is related to those before it."""
    commissioning: npt.NDArray[np.int64]
    """Windows that the vehicle's profile was learnt from; empty in the zero-shot protocol."""
    scored: npt.NDArray[np.int64]
    """All other windows."""
    rehearsal: Rehearsal | None = None
    """Which attack is acted out on which recorded capture; None for recorded traffic."""

    @property
    def experience(self) -> npt.NDArray[np.int64]:
        """For each scored window, how many windows its reference was learnt from."""
        if len(self.commissioning):
            return np.full(len(self.scored), len(self.commissioning))
        return self.scored

    @cached_property
    def relative(self) -> Relative:
        """Features of all windows at once, relative to the reference."""
        if self.profile is None:
            return relate_to_past(self.store)
        return relate_to_profile(self.store, self.profile)

    def parts(self) -> Iterator[tuple[GraphStore, Relative]]:
        """All windows with their relative features, at most :data:`PART_WINDOWS` at a time."""
        if self.profile is None:
            yield from relate_to_past_in_parts(self.store, PART_WINDOWS)
            return
        for first in range(0, len(self.store), PART_WINDOWS):
            part = self.store.windows(first, min(first + PART_WINDOWS, len(self.store)))
            yield part, relate_to_profile(part, self.profile)

    @property
    def split(self) -> str:
        """Folder of the capture in its data set."""
        return self.key.split("/", 1)[0]


def prepare_capture(
    key: str, store: GraphStore, config: DetectorConfig, rehearsal: Rehearsal | None = None
) -> PreparedCapture:
    """Relate a capture's windows to its own habit, as ``config.protocol`` says.

    ``commissioned``: a profile from the first windows of the capture. In a training capture those
    known to be attacked are passed over; the labels of a test capture are never looked at.
    ``zero-shot``: each window is related to those before it.
    """
    windows = np.arange(len(store))
    chosen = windows[:0]
    if config.protocol == "commissioned":
        candidates = windows[store.y == 0] if key.startswith("train_") else windows
        limit = max(1, int(len(store) * LARGEST_COMMISSIONING_SHARE))
        chosen = candidates[: min(config.profile_windows, limit)]
    # Attacked from the first to the last window: the past is all there is to compare with.
    profile = commission(store, chosen) if len(chosen) else None
    scored = np.setdiff1d(windows, chosen)
    return PreparedCapture(key, store, profile, chosen, scored, rehearsal)
