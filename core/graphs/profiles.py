"""Profiles of known vehicles: learnt from training captures, matched, and kept on disk."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.config import WindowConfig
from core.errors import CheckpointError
from core.files import atomic_path
from core.graphs.contamination import is_contaminated, odd_windows
from core.graphs.reference import COMPARED, VehicleProfile, commission
from core.graphs.store import NODE_FEATURES, WINDOW_FEATURES, GraphStore
from core.graphs.vehicles import Traffic, vehicles

VERSION = 1
"""Of the file."""
LEARNT_WINDOWS = 5000
"""So many windows of a capture are learnt from; a capture may be larger than memory."""
STRETCH_WINDOWS = 200
"""Windows that are looked at together for whether they are under attack."""
REGULAR_SHARE = 0.1
"""Share of windows from which an id counts; random ids of an attack are in fewer."""
REGULAR_WINDOWS = 3
"""And so many windows at least."""
SAME_VEHICLE = 0.9
"""Share of a capture's regular ids that a vehicle has, if the capture is of that vehicle."""
SAME_RHYTHM = 0.75
"""And share of these that come about as often there."""
RHYTHM = 1.5
"""Factor between two intervals that are about the same."""

_INTERVAL = NODE_FEATURES.index("interval_log")
_KEY = "vehicle_profile"
_ARRAYS = tuple(field.name for field in fields(VehicleProfile) if field.name != "windows")
_PROFILE_INTERVAL = list(COMPARED).index("interval_log")


@dataclass(frozen=True)
class KnownVehicle:
    """A vehicle's profile, and where it comes from."""

    name: str
    captures: Mapping[str, str]
    """Training capture (``split/file``) -> hash of its content."""
    window: str
    """Window settings that the profile was learnt with; features depend on them."""
    profile: VehicleProfile
    made: str = ""
    """When it was saved: date and time, UTC."""
    revision: int = 0
    """Counts what was saved under the name, from 1."""


@dataclass(frozen=True)
class Likeness:
    """How much a stretch of traffic looks like a vehicle's."""

    ids: float
    """Share of the stretch's regular ids that the vehicle has."""
    rhythm: float
    """Share of these ids that come about as often."""

    @property
    def same_vehicle(self) -> bool:
        """Whether both are high enough."""
        return self.ids >= SAME_VEHICLE and self.rhythm >= SAME_RHYTHM


def likeness(profile: VehicleProfile, store: GraphStore) -> Likeness:
    """Compare ids and timing of a stretch with those of a vehicle; an attack may be in it."""
    ids, code = np.unique(store.node_id, return_inverse=True)
    windows = np.bincount(code)
    regular = windows >= max(REGULAR_WINDOWS, REGULAR_SHARE * len(store))
    interval = np.bincount(code, store.x[:, _INTERVAL].astype(np.float64)) / windows
    shared, here, there = np.intersect1d(ids[regular], profile.ids, return_indices=True)
    if not len(shared):
        return Likeness(0.0, 0.0)
    off = np.abs(interval[regular][here] - profile.mean[there, _PROFILE_INTERVAL])
    return Likeness(len(shared) / int(regular.sum()), float((off <= np.log10(RHYTHM)).mean()))


def best_match(known: Sequence[KnownVehicle], store: GraphStore) -> KnownVehicle | None:
    """The vehicle that a stretch of traffic is of, by ids and timing; None if it is of none."""
    found = [(likeness(vehicle.profile, store), vehicle) for vehicle in known]
    same = [(like.ids * like.rhythm, vehicle) for like, vehicle in found if like.same_vehicle]
    return max(same, key=lambda pair: pair[0])[1] if same else None


def learn_vehicles(
    captures: Mapping[str, tuple[str, GraphStore]], window: WindowConfig, prefix: str = ""
) -> tuple[list[KnownVehicle], list[str]]:
    """One profile per vehicle in training captures, and warnings.

    Learnt from the captures without any attacked window; of a vehicle that has none, from the clean
    windows of the attacked ones. What looks attacked in them is left out.

    Args:
        captures: ``split/file`` -> hash of its content, graphs.
        prefix: of the names; vehicles are numbered.
    """
    groups: dict[int, list[str]] = defaultdict(list)
    for key, number in vehicles({k: Traffic.of(s) for k, (_, s) in captures.items()}).items():
        groups[number].append(key)
    known, warnings = [], []
    for number, keys in groups.items():
        free = [key for key in keys if not captures[key][1].y.any()]
        parts: list[GraphStore] = []
        learnt: list[npt.NDArray[np.int64]] = []
        for key in free or keys:
            store, windows, odd = _clean(captures[key][1])
            if odd:
                warnings.append(
                    f"{key}: {odd} windows without an attack look attacked; "
                    "the vehicle's profile was learnt from the others"
                )
            learnt.append(windows + sum(len(part) for part in parts))
            parts.append(store)
        chosen = np.concatenate(learnt)
        if len(chosen):
            known.append(
                KnownVehicle(
                    name=f"{prefix}vehicle-{number}",
                    captures={key: captures[key][0] for key in free or keys},
                    window=repr(window),
                    profile=commission(GraphStore.join(parts), chosen),
                )
            )
    return known, warnings


def save_vehicle(vehicle: KnownVehicle, folder: Path) -> KnownVehicle:
    """Write ``folder/NAME.safetensors``, unless the same is there already.

    Returns:
        The vehicle with its revision and the time at which it was made.

    Raises:
        StorageError: if the operating system refuses.
    """
    path = folder / f"{vehicle.name}.safetensors"
    try:
        before = load_vehicle(path)
    except CheckpointError:
        before = None
    arrays = {n: np.ascontiguousarray(getattr(vehicle.profile, n)) for n in _ARRAYS}
    if before is not None and (
        (before.captures, before.window) == (dict(vehicle.captures), vehicle.window)
        and before.profile.windows == vehicle.profile.windows
        and all(np.array_equal(getattr(before.profile, n), a) for n, a in arrays.items())
    ):
        return before
    about: dict[str, Any] = {
        "version": VERSION,
        "revision": before.revision + 1 if before else 1,
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "captures": dict(vehicle.captures),
        "window": vehicle.window,
        "windows": vehicle.profile.windows,
        "features": [*COMPARED, *WINDOW_FEATURES],
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, {_KEY: json.dumps(about)}))
    return load_vehicle(path)


def load_vehicle(path: Path) -> KnownVehicle:
    """Read a saved vehicle.

    Raises:
        CheckpointError: if the file is missing, damaged, or of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {})[_KEY])
            arrays = {name: file.get_tensor(name) for name in _ARRAYS}
        features = [*COMPARED, *WINDOW_FEATURES]
        if about["version"] != VERSION or about["features"] != features:
            raise CheckpointError(
                f"{path}: a vehicle's profile of another version of this program "
                f"(file version {about['version']}, expected {VERSION} and the same features)"
            )
        _check(arrays)
        return KnownVehicle(
            name=path.stem,
            captures=dict(about["captures"]),
            window=str(about["window"]),
            profile=VehicleProfile(**arrays, windows=int(about["windows"])),
            made=str(about["made"]),
            revision=int(about["revision"]),
        )
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not a vehicle's profile, or a damaged one ({error})"
        ) from error


def saved_vehicles(folder: Path) -> tuple[list[KnownVehicle], list[str]]:
    """All vehicles saved in a folder by name, and what is wrong with files that cannot be read."""
    vehicles, problems = [], []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            vehicles.append(load_vehicle(path))
        except CheckpointError as error:
            problems.append(str(error))
    return vehicles, problems


def _check(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Raises ValueError where arrays do not fit together."""
    rows, edges = len(arrays["ids"]), len(arrays["transitions"])
    expected = {
        "ids": (rows,),
        "count": (rows,),
        "mean": (rows, len(COMPARED)),
        "std": (rows, len(COMPARED)),
        "transitions": (edges,),
        "transition_count": (edges,),
        "window_center": (len(WINDOW_FEATURES),),
        "window_spread": (len(WINDOW_FEATURES),),
    }
    found = {name: array.shape for name, array in arrays.items()}
    if found != expected or not rows or not edges:
        raise ValueError(f"expected arrays of shape {expected}, got {found}")


def _clean(store: GraphStore) -> tuple[GraphStore, npt.NDArray[np.int64], int]:
    """The first windows of a capture, which of them are clean, and how many only look attacked."""
    part = store.windows(0, min(len(store), LEARNT_WINDOWS))
    looks = np.zeros(len(part), bool)
    for first in range(0, len(part), STRETCH_WINDOWS):
        last = min(first + STRETCH_WINDOWS, len(part))
        odd = odd_windows(part.windows(first, last))
        looks[first:last] = odd & is_contaminated(odd)
    clean = part.y == 0
    return part, np.flatnonzero(clean & ~looks), int((clean & looks).sum())
