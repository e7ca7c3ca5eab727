"""A data set of a few seconds of simulated traffic, and settings that train on it in seconds."""

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.captures.formats import can_train_and_test_csv
from core.captures.frame_table import FrameTable
from core.captures.simulator import AttackSpec, simulate_recording, simulate_vehicle
from core.config import FusionConfig, create_fusion_config, override
from core.progress import SilentReporter
from core.workspace import Workspace

CLEAN, ATTACKED = "train_01_attack_free", "train_02_with_attacks"
TEST_1, TEST_2 = "test_01_known", "test_02_clean"


class Recorder(SilentReporter):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.curves: list[str] = []
        self.messages: list[str] = []

    def progress(self, step: str, fraction: float, message: str = "") -> None:
        assert 0 <= fraction <= 1
        if step not in self.steps:
            self.steps.append(step)

    def metrics(self, step: str, values: object) -> None:
        if step not in self.curves:
            self.curves.append(step)

    def log(self, message: str) -> None:
        self.messages.append(message)

    @property
    def trained_detectors(self) -> bool:
        return any(curve.startswith(("vgae", "gat")) for curve in self.curves)


@functools.cache
def recording(
    vehicle: int,
    duration_s: float = 3.0,
    attack: str = "",
    burst: tuple[float, float] = (0.5, 0.8),
    seed: int = 0,
) -> FrameTable:
    """About 1500 to 2200 frames a second; attacked between two shares of the duration."""
    bursts = ((burst[0] * duration_s, burst[1] * duration_s),)
    spec = AttackSpec(attack, bursts) if attack else None
    return simulate_recording(simulate_vehicle(vehicle), duration_s, spec, seed)


def write(root: Path, key: str, frames: FrameTable) -> Path:
    """Write a capture to ``root/split/file``."""
    can_train_and_test_csv.write(frames, root / key)
    return root / key


def write_dataset(root: Path) -> Path:
    """Two vehicles; two clean and two attacked captures to train on, two test folders."""
    write(root, f"{CLEAN}/clean-a.csv", recording(0, seed=1))
    write(root, f"{CLEAN}/clean-b.csv", recording(1, seed=2))
    write(root, f"{ATTACKED}/DoS-a.csv", recording(0, attack="DoS", seed=3))
    write(root, f"{ATTACKED}/fuzzing-b.csv", recording(1, attack="fuzzing", seed=4))
    write(root, f"{TEST_1}/DoS-b.csv", recording(1, attack="DoS", seed=5))
    write(root, f"{TEST_1}/fuzzing-a.csv", recording(0, attack="fuzzing", seed=6))
    write(root, f"{TEST_2}/clean-c.csv", recording(2, 1.0, seed=7))
    return root


def small_config(dataset: Path, **changes: Any) -> FusionConfig:
    """Tiny networks, few epochs; ``changes`` by dotted name with ``__`` for the dots."""
    config = create_fusion_config(
        str(dataset),
        agent={"hidden_dims": (8,), "batch_size": 64},
        data={
            "detector": {
                "vgae": {"hidden_channels": 4, "latent_channels": 2, "epochs": 1},
                "gat": {"hidden_channels": 4, "heads": 1, "layers": 1, "epochs": 1},
                "profile_windows": 10,
                "folds": 2,
                "device": "cpu",
            }
        },
        training={"max_epochs": 2, "updates_per_epoch": 10, "device": "cpu"},
        evaluation={"policy_grid": 8},
    )
    return override(config, {name.replace("__", "."): value for name, value in changes.items()})


@dataclass(frozen=True)
class SmallRun:
    """The whole way, gone once on the small data set; shared, so not to be changed."""

    dataset: Path
    workspace: Workspace
    run_dir: Path
    config: FusionConfig
    results: dict[str, Any]
    recorder: Recorder

    def copy(self, folder: Path) -> "SmallRun":
        """The same in a folder where it may be changed."""
        shutil.copytree(self.dataset, folder / self.dataset.name)
        shutil.copytree(self.workspace.root, folder / "workspace")
        dataset = folder / self.dataset.name
        # The copy of the data set takes the original's place.
        Workspace(folder / "workspace").outside.unlink()
        config = override(self.config, {"data.dataset": str(dataset)})
        return SmallRun(
            dataset, Workspace(folder / "workspace"), self.run_dir, config, self.results,
            self.recorder,
        )  # fmt: skip
