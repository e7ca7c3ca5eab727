"""Random captures for the tests of graphs."""

import numpy as np

from core.captures.frame_table import EXTENDED, FrameTable


def random_capture(
    frames: int, ids: int, seed: int, width: int = 8, extended: bool = False
) -> FrameTable:
    """A capture with few distinct ids and byte values, so that repetitions occur."""
    rng = np.random.default_rng(seed)
    length = rng.integers(0, width + 1, frames).astype(np.uint8)
    payload = rng.choice(np.array([0, 1, 3, 255], np.uint8), (frames, width))
    payload[np.arange(width) >= length[:, None]] = 0
    label = (rng.random(frames) < 0.05).astype(np.uint8)
    steps = rng.choice([0.0, 1e-4, 3e-4, 0.02, -1e-3], frames, p=[0.1, 0.5, 0.3, 0.05, 0.05])
    pool = rng.integers(0, 2**29 if extended else 2**11, ids).astype(np.uint32)
    return FrameTable(
        timestamp=1e9 + np.cumsum(steps),
        arbitration_id=rng.choice(pool, frames),
        flags=(rng.random(frames) < 0.5).astype(np.uint8) * EXTENDED * extended,
        length=length,
        payload=payload,
        label=label,
        attack=np.where(label, rng.integers(0, 2, frames), -1).astype(np.int16),
        attack_names=("dos", "replay"),
        labelled=True,
    )
