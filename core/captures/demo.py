"""The demo data set: simulated recordings of four vehicles in the usual split folders."""

import zlib
from dataclasses import dataclass
from pathlib import Path

from core.captures.formats import can_train_and_test_csv, can_train_and_test_parquet
from core.captures.simulator import AttackSpec, VehicleModel, simulate_recording, simulate_vehicle
from core.files import write_json
from core.progress import Reporter, SilentReporter

NAME = "demo"
MARKER = "SIMULATED.json"
"""File in the root of a data set that says that it is simulated, and from what."""
VERSION = 1
"""Goes up when the same seed gives other recordings: a demo of another version is made anew."""

VEHICLES = ("hatchback", "sedan", "van", "truck")
CLEAN_WINDOWS, WINDOW_FRAMES = 260, 100
"""Attacks begin after this many windows, so that a profile of the vehicle may be taken before."""
BURST_S, PAUSE_S, BURSTS = 2.2, 1.7, 3
ATTACK_FREE_S = 30.0


@dataclass(frozen=True)
class Recording:
    """One file of the demo."""

    split: str
    attack: str
    vehicle: str

    @property
    def stem(self) -> str:
        """File name without ending, as in the can-train-and-test collection."""
        return f"{self.attack or 'attack-free'}-{self.vehicle}"


_KNOWN, _UNKNOWN = VEHICLES[:2], VEHICLES[2:]
RECORDINGS = (
    Recording("train_01_attack_free", "", _KNOWN[0]),
    Recording("train_01_attack_free", "", _KNOWN[1]),
    Recording("train_02_with_attacks", "DoS", _KNOWN[0]),
    Recording("train_02_with_attacks", "fuzzing", _KNOWN[1]),
    Recording("train_02_with_attacks", "spoofing", _KNOWN[0]),
    Recording("train_02_with_attacks", "spoofing", _KNOWN[1]),
    Recording("test_01_known_vehicle_known_attack", "DoS", _KNOWN[1]),
    Recording("test_01_known_vehicle_known_attack", "fuzzing", _KNOWN[0]),
    Recording("test_01_known_vehicle_known_attack", "spoofing", _KNOWN[0]),
    Recording("test_02_unknown_vehicle_known_attack", "DoS", _UNKNOWN[0]),
    Recording("test_02_unknown_vehicle_known_attack", "fuzzing", _UNKNOWN[1]),
    Recording("test_02_unknown_vehicle_known_attack", "spoofing", _UNKNOWN[0]),
    Recording("test_03_known_vehicle_unknown_attack", "replay", _KNOWN[0]),
    Recording("test_03_known_vehicle_unknown_attack", "malfunction", _KNOWN[1]),
    Recording("test_04_unknown_vehicle_unknown_attack", "replay", _UNKNOWN[1]),
    Recording("test_04_unknown_vehicle_unknown_attack", "malfunction", _UNKNOWN[0]),
)


def write_demo(root: Path, seed: int = 0, reporter: Reporter | None = None) -> None:
    """Write the demo data set into the folder ``root``; the same seed gives the same bytes.

    Every other recording is CSV, the others parquet.

    Raises:
        StorageError: if it cannot be written.
        JobStopped: if the reporter says so.
    """
    reporter = reporter or SilentReporter()
    vehicles = {name: vehicle(name, seed) for name in VEHICLES}
    for number, recording in enumerate(RECORDINGS):
        reporter.check()
        reporter.progress("demo data", number / len(RECORDINGS), recording.stem)
        model = vehicles[recording.vehicle]
        attack = attack_spec(model, recording.attack) if recording.attack else None
        duration_s = attack.bursts[-1][1] + PAUSE_S if attack else ATTACK_FREE_S
        frames = simulate_recording(model, duration_s, attack, seed * len(RECORDINGS) + number)
        if number % 2:
            path = root / recording.split / f"{recording.stem}.parquet"
            can_train_and_test_parquet.write(frames, path)
        else:
            path = root / recording.split / f"{recording.stem}.csv"
            can_train_and_test_csv.write(frames, path)
    write_json(root / MARKER, {"simulated": True, "seed": seed, "version": VERSION})
    reporter.progress("demo data", 1.0, f"{len(RECORDINGS)} recordings")


def vehicle(name: str, seed: int = 0) -> VehicleModel:
    """One of the demo's vehicles."""
    return simulate_vehicle(zlib.crc32(f"{name} {seed}".encode()))


def attack_spec(model: VehicleModel, kind: str) -> AttackSpec:
    """The demo's bursts of an attack, after ``CLEAN_WINDOWS`` windows of clean traffic."""
    clean_s = CLEAN_WINDOWS * WINDOW_FRAMES / model.frames_per_s
    starts = [clean_s + i * (BURST_S + PAUSE_S) for i in range(BURSTS)]
    return AttackSpec(kind, tuple((start, start + BURST_S) for start in starts))
