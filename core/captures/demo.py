"""The demo data set: simulated recordings of four vehicles in the usual split folders.

What attacks whom is chosen so that the two detectors have different things to learn and to miss.
Slow spoofing, one forged frame behind every fifth of one message, hardly shows in a window, but a
classifier can have learnt it. Suppression and masquerade look like no attack of the training folder
and add no frame, but whoever holds one of a vehicle's senders silences or forges many messages at
once, which departs from the vehicle's habit. And every test recording is driven on a motorway,
after a profile taken at a standstill, which is unusual without being an attack.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path

from core.captures.formats import can_train_and_test_csv, can_train_and_test_parquet
from core.captures.simulator import (
    AttackSpec,
    VehicleModel,
    recording_start_s,
    simulate_recording,
    simulate_vehicle,
)
from core.files import write_json
from core.progress import Reporter, SilentReporter

NAME = "demo"
MARKER = "SIMULATED.json"
"""File in the root of a data set that says that it is simulated, and from what."""
VERSION = 3
"""Goes up when the same seed gives other recordings: a demo of another version is made anew."""

VEHICLES = ("hatchback", "sedan", "van", "truck")
CLEAN_WINDOWS, WINDOW_FRAMES = 260, 100
"""Attacks begin after this many windows, so that a profile of the vehicle may be taken before."""
PROFILE_WINDOWS = 210
"""The drive's first phase lasts this long, so that the others are news to such a profile."""
BURST_WINDOWS, PAUSE_WINDOWS, BURSTS = 40, 30, 3
ATTACK_FREE_WINDOWS = 600


@dataclass(frozen=True)
class Recording:
    """One file of the demo."""

    split: str
    attack: str
    vehicle: str
    drive: tuple[str, ...]
    """Its driving phases."""

    @property
    def stem(self) -> str:
        """File name without ending, as in the can-train-and-test collection."""
        return f"{self.attack or 'attack-free'}-{self.vehicle}"


_A, _B, _C, _D = VEHICLES
_TOWN, _TRIP = ("standstill", "city"), ("standstill", "city", "highway")
_MOTORWAY = ("standstill", "highway")
_T1, _T2 = "train_01_attack_free", "train_02_with_attacks"
_E1, _E2 = "test_01_known_vehicle_known_attack", "test_02_unknown_vehicle_known_attack"
_E3, _E4 = "test_03_known_vehicle_unknown_attack", "test_04_unknown_vehicle_unknown_attack"
RECORDINGS = (
    Recording(_T1, "", _A, _TOWN),
    Recording(_T1, "", _B, _TOWN),
    Recording(_T2, "DoS", _A, _TRIP),
    Recording(_T2, "fuzzing", _B, _TRIP),
    Recording(_T2, "slow_spoofing", _A, _TRIP),
    Recording(_T2, "slow_spoofing", _B, _TRIP),
    Recording(_E1, "DoS", _B, _MOTORWAY),
    Recording(_E1, "slow_spoofing", _A, _MOTORWAY),
    Recording(_E1, "slow_spoofing", _B, _MOTORWAY),
    Recording(_E2, "fuzzing", _D, _MOTORWAY),
    Recording(_E2, "slow_spoofing", _C, _MOTORWAY),
    Recording(_E2, "slow_spoofing", _D, _MOTORWAY),
    Recording(_E3, "suppression", _A, _MOTORWAY),
    Recording(_E3, "masquerade", _B, _MOTORWAY),
    Recording(_E3, "replay", _A, _MOTORWAY),
    Recording(_E4, "malfunction", _C, _MOTORWAY),
    Recording(_E4, "masquerade", _C, _MOTORWAY),
    Recording(_E4, "suppression", _D, _MOTORWAY),
)
_TARGETS = {"suppression": 0.4, "masquerade": 0.4}
"""Share of the vehicle's messages that whoever holds one of its senders silences or forges."""


def write_demo(root: Path, seed: int = 0, reporter: Reporter | None = None) -> None:
    """Write the demo data set into the folder ``root``; the same seed gives the same bytes.

    Every other recording is CSV, the others parquet. The marker also says, per recording, which
    vehicle was driven how, and when (by the recording's clock) the attack began and ended.

    Raises:
        StorageError: if it cannot be written.
        JobStopped: if the reporter says so.
    """
    reporter = reporter or SilentReporter()
    vehicles = {name: vehicle(name, seed) for name in VEHICLES}
    contents = {}
    for number, recording in enumerate(RECORDINGS):
        reporter.check()
        reporter.progress("demo data", number / len(RECORDINGS), recording.stem)
        model = vehicles[recording.vehicle]
        attack = attack_spec(model, recording.attack) if recording.attack else None
        windows = ATTACK_FREE_WINDOWS
        if attack:
            windows = CLEAN_WINDOWS + BURSTS * (BURST_WINDOWS + PAUSE_WINDOWS)
        duration_s = seconds(model, windows)
        phases = driving_phases(model, recording.drive, duration_s)
        clock = seed * len(RECORDINGS) + number
        frames = simulate_recording(model, duration_s, attack, clock, phases)
        if number % 2:
            path = root / recording.split / f"{recording.stem}.parquet"
            can_train_and_test_parquet.write(frames, path)
        else:
            path = root / recording.split / f"{recording.stem}.csv"
            can_train_and_test_csv.write(frames, path)
        start_s = recording_start_s(clock)
        contents[f"{recording.split}/{path.name}"] = {
            "vehicle": recording.vehicle,
            "phases": [(name, start_s + s) for name, s in phases],
            "attack": recording.attack,
            "intervals": [(start_s + a, start_s + b) for a, b in attack.bursts] if attack else [],
        }
    write_json(
        root / MARKER,
        {"simulated": True, "seed": seed, "version": VERSION, "recordings": contents},
    )
    reporter.progress("demo data", 1.0, f"{len(RECORDINGS)} recordings")


def vehicle(name: str, seed: int = 0) -> VehicleModel:
    """One of the demo's vehicles."""
    return simulate_vehicle(zlib.crc32(f"{name} {seed}".encode()))


def seconds(model: VehicleModel, windows: int) -> float:
    """How long a vehicle takes for so many windows without attack."""
    return windows * WINDOW_FRAMES / model.frames_per_s


def attack_spec(model: VehicleModel, kind: str) -> AttackSpec:
    """The demo's bursts of an attack, after ``CLEAN_WINDOWS`` windows of clean traffic."""
    clean_s, burst_s = seconds(model, CLEAN_WINDOWS), seconds(model, BURST_WINDOWS)
    pause_s = seconds(model, PAUSE_WINDOWS)
    starts = [clean_s + i * (burst_s + pause_s) for i in range(BURSTS)]
    bursts = tuple((start, start + burst_s) for start in starts)
    targets = max(1, round(_TARGETS.get(kind, 0) * len(model.messages)))
    return AttackSpec(kind, bursts, targets=targets)


def driving_phases(
    model: VehicleModel, drive: tuple[str, ...], duration_s: float
) -> tuple[tuple[str, float], ...]:
    """The first phase lasts ``PROFILE_WINDOWS`` windows, the others share the rest evenly."""
    first_s = seconds(model, PROFILE_WINDOWS)
    share_s = (duration_s - first_s) / max(1, len(drive) - 1)
    starts = [0.0] + [first_s + i * share_s for i in range(len(drive) - 1)]
    return tuple(zip(drive, starts, strict=True))
