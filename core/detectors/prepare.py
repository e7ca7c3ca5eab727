"""A capture made ready for the detectors: its graphs, its habit, the windows that count."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.config import DetectorConfig
from core.graphs.contamination import is_contaminated, odd_windows
from core.graphs.profiles import KnownVehicle, best_match
from core.graphs.reference import (
    Relative,
    VehicleProfile,
    commission,
    relate_to_past,
    relate_to_past_in_parts,
    relate_to_profile,
)
from core.graphs.rehearsed import CLEAR_SHARE, Rehearsal
from core.graphs.store import GraphStore

LARGEST_COMMISSIONING_SHARE = 1 / 3
"""A short capture keeps at least two thirds of its windows for scoring."""

ENOUGH_WINDOWS = 20
"""A start under attack is learnt from where at least so many windows of it look clean."""
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
    """Windows for the vehicle's profile to be learnt from; empty in the zero-shot protocol."""
    scored: npt.NDArray[np.int64]
    """All other windows; of a rehearsal, those that are clearly attacked or not attacked at all."""
    reference: npt.NDArray[np.int64]
    """Commissioning windows that say what is normal: those that do not look attacked."""
    rehearsal: Rehearsal | None = None
    """Which attack is acted out on which recorded capture; None for recorded traffic."""
    vehicle: str = ""
    """Known vehicle with the ids and timing of the first windows; empty if there is none."""
    notes: tuple[str, ...] = ()
    """What the user should know about where the profile comes from."""

    @property
    def experience(self) -> npt.NDArray[np.int64]:
        """For each scored window, how many windows its reference was learnt from."""
        if self.profile is not None:
            return np.full(len(self.scored), self.profile.windows)
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
    def taught(self) -> npt.NDArray[np.int64]:
        """Scored windows that a classifier may learn from: of some rehearsals, none."""
        if self.rehearsal is None or self.rehearsal.taught:
            return self.scored
        return self.scored[:0]

    @property
    def split(self) -> str:
        """Folder of the capture in its data set."""
        return self.key.split("/", 1)[0]


def prepare_capture(
    key: str,
    store: GraphStore,
    config: DetectorConfig,
    rehearsal: Rehearsal | None = None,
    known: Sequence[KnownVehicle] = (),
) -> PreparedCapture:
    """Relate a capture's windows to its own habit, as ``config.protocol`` says.

    ``commissioned``: a profile from the first windows of the capture. In a training capture those
    known to be attacked are passed over; the labels of a test capture are never looked at, but
    where its start looks attacked (:mod:`core.graphs.contamination`) the profile is that of a
    ``known`` vehicle with the same ids and timing, or else is learnt from the other windows.
    ``zero-shot``: each window is related to those before it.
    """
    windows = np.arange(len(store))
    chosen = windows[:0]
    train = key.startswith("train_")
    if config.protocol == "commissioned":
        candidates = windows[store.y == 0] if train else windows
        limit = max(1, int(len(store) * LARGEST_COMMISSIONING_SHARE))
        chosen = candidates[: min(config.profile_windows, limit)]
    scored = np.setdiff1d(windows, chosen)
    if rehearsal is not None:
        share = store.attacked_share[scored]
        scored = scored[(share == 0) | (share >= CLEAR_SHARE)]
    # Attacked from the first to the last window: the past is all there is to compare with.
    profile, vehicle, reference = None, None, chosen
    notes: list[str] = []
    if train and len(chosen):
        profile = commission(store, chosen)
    elif len(chosen):
        vehicle = best_match(known, store.windows(0, len(chosen)))
        profile, reference, notes = _commissioned(key, store, chosen, config, vehicle)
    name = vehicle.name if vehicle else ""
    return PreparedCapture(
        key, store, profile, chosen, scored, reference, rehearsal, name, tuple(notes)
    )


def _commissioned(
    key: str,
    store: GraphStore,
    chosen: npt.NDArray[np.int64],
    config: DetectorConfig,
    vehicle: KnownVehicle | None,
) -> tuple[VehicleProfile | None, npt.NDArray[np.int64], list[str]]:
    """Profile, the windows that say what is normal, and notes; ``chosen`` are the first windows."""
    notes: list[str] = []
    if len(store) < config.profile_windows:
        notes.append(
            f"{key}: a profile should be learnt from {config.profile_windows} windows; there are "
            f"only {len(store)}, and it was learnt from {len(chosen)} of them"
        )
    start = store.windows(0, len(chosen))
    odd = odd_windows(start, vehicle.profile if vehicle else None)
    if not is_contaminated(odd):
        return commission(store, chosen), chosen, notes
    calm = chosen[~odd]
    enough = len(calm) >= ENOUGH_WINDOWS
    looks = f"{key}: {odd.sum()} of the first {len(odd)} windows look attacked; "
    if vehicle:
        notes.append(f"{looks}the profile of {vehicle.name} is used, which has its ids and timing")
        profile = vehicle.profile.scaled(config.profile_windows)
        return profile, calm if enough else calm[:0], notes
    if enough:
        notes.append(f"{looks}its profile was learnt from the other {len(calm)}")
        return commission(store, calm), calm, notes
    notes.append(
        f"{looks}too few are left to learn a profile from, and no known vehicle has its ids and "
        "timing: each window is compared with those before it"
    )
    return None, calm[:0], notes
