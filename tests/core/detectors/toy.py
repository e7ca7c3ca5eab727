"""Small detectors on random captures, without training where none is needed."""

import numpy as np
import torch

from core.captures.frame_table import FrameTable
from core.config import DetectorConfig, GATConfig, VGAEConfig, WindowConfig, override
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture, prepare_capture
from core.detectors.vgae import VGAE
from core.graphs.build import build_graphs
from core.graphs.tensors import GraphTensors
from core.progress import SilentReporter
from tests.core.graphs.captures import random_capture

VGAE_CONFIG = VGAEConfig(hidden_channels=6, latent_channels=3, epochs=2)
GAT_CONFIG = GATConfig(hidden_channels=4, heads=2, layers=2, epochs=2)
CPU = torch.device("cpu")


class Recorder(SilentReporter):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.points: list[tuple[str, dict[str, float]]] = []
        self.messages: list[str] = []

    def metrics(self, step: str, values: object) -> None:
        self.points.append((step, dict(values)))  # type: ignore[call-overload]

    def log(self, message: str) -> None:
        self.messages.append(message)


def config(**changes: object) -> DetectorConfig:
    """Tiny detectors over windows of 20 frames."""
    small = DetectorConfig(
        window=WindowConfig(20, 20),
        vgae=VGAE_CONFIG,
        gat=GAT_CONFIG,
        profile_windows=10,
        folds=3,
        batch_size=32,
        device="cpu",
    )
    return override(small, changes)


def untrained_vgae(seed: int = 0) -> VGAE:
    torch.manual_seed(seed)
    return VGAE(VGAE_CONFIG).eval()


def untrained_gat(seed: int = 0) -> GAT:
    torch.manual_seed(seed)
    return GAT(GAT_CONFIG).eval()


def attacked_capture(
    windows: int, attacked: slice | None, seed: int, first_id: int = 0x100
) -> FrameTable:
    """Six ids in regular turn, 20 frames a window; in attacked windows two in three are unseen."""
    frames = 20 * windows
    rng = np.random.default_rng(seed)
    ids = first_id + 8 * (np.arange(frames) % 6)
    under_attack = np.zeros(windows, bool)
    if attacked is not None:
        under_attack[attacked] = True
    label = under_attack.repeat(20) & (rng.random(frames) < 0.66)
    ids = np.where(label, rng.integers(0x600, 0x7FF, frames), ids)
    payload = rng.integers(0, 4, (frames, 8)).astype(np.uint8)
    return FrameTable(
        timestamp=np.arange(frames) * 1e-3 + rng.uniform(0, 1e-4, frames),
        arbitration_id=ids.astype(np.uint32),
        flags=np.zeros(frames, np.uint8),
        length=np.full(frames, 8, np.uint8),
        payload=payload,
        label=label.astype(np.uint8),
        attack=np.where(label, 0, -1).astype(np.int16),
        attack_names=("fuzzing",),
        labelled=True,
    )


def prepared(
    key: str,
    windows: int = 60,
    attacked: slice | None = None,
    seed: int = 0,
    settings: DetectorConfig | None = None,
    first_id: int = 0x100,
) -> PreparedCapture:
    settings = settings or config()
    store = build_graphs(attacked_capture(windows, attacked, seed, first_id), settings.window)
    return prepare_capture(key, store, settings)


def random_graphs(frames: int = 900, ids: int = 9, seed: int = 0) -> GraphTensors:
    """Windows with many repeated edges, self-loops and ids."""
    settings = config(protocol="zero-shot")
    store = build_graphs(random_capture(frames, ids, seed), settings.window)
    capture = prepare_capture("train_/x", store, settings)
    return GraphTensors.join([(capture.store, capture.relative)])
