"""Whether an agent trains on a cache that is larger than memory.

Runs in processes of its own, so that the peak of memory is that of the training alone::

    python -m core.bench.fusion_scale make|train WINDOWS FOLDER
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

import core
from core.bench.scale import peak_memory_mb
from core.cache.builder import VERSION
from core.cache.predictions import SCHEMA, FusionPredictionCache, write_predictions
from core.config import create_fusion_config
from core.detectors.vgae import COMPONENTS
from core.fusion.training import train_agent

WINDOWS = 3_000_000
CAPTURE_WINDOWS = 50_000
EPOCHS, UPDATES = 2, 64


def measure_fusion_scale(windows: int = WINDOWS) -> dict[str, float]:
    """An agent trained for some epochs on a cache on disk.

    Making the cache is not timed, and done in another process than the training.

    Returns:
        ``windows``, ``seconds`` (of the wall clock: opening, splitting, training),
        ``peak_memory_mb`` (of the process, imports and the pages of the file that it read
        included), ``base_memory_mb`` (imports alone) and ``file_mb``.
    """
    with tempfile.TemporaryDirectory() as folder:
        for task in ("make", "train"):
            command = [sys.executable, "-m", "core.bench.fusion_scale", task, str(windows), folder]
            root = Path(core.__file__).parents[1]
            done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def make_cache(path: Path, windows: int) -> None:
    """Write a cache of two middling detectors' scores."""
    rng = np.random.default_rng(0)
    label = (rng.random(windows) < 0.3).astype(np.uint8)
    row = np.arange(windows)
    columns: dict[str, pa.Array] = {
        name: pa.array(np.clip(rng.normal(0.3 + 0.4 * label, 0.2), 0, 1).astype(np.float32))
        for name in ("anomaly_score", "gat_prob", *(f"vgae_{name}" for name in COMPONENTS))
    }
    codes = pa.array((row // CAPTURE_WINDOWS).astype(np.int32))
    names = pa.array([f"train_01/{n}.log" for n in range(-(-windows // CAPTURE_WINDOWS))])
    columns |= {
        "label": pa.array(label),
        "capture": pa.DictionaryArray.from_arrays(codes, names),
        "split": pa.array(np.zeros(windows, np.int32)).cast(pa.string()).dictionary_encode(),
        "attack": pa.DictionaryArray.from_arrays(
            pa.array(label.astype(np.int32)), pa.array(["", "DoS"])
        ),
        "window": pa.array(row % CAPTURE_WINDOWS, pa.int32()),
        "start_time": pa.array(row * 0.05),
        "end_time": pa.array((row + 1) * 0.05),
        "first_frame": pa.array(row % CAPTURE_WINDOWS * 100),
        "fold": pa.array(np.zeros(windows, np.int16)),
    }
    order = [*SCHEMA.names, *(name for name in columns if name.startswith("vgae_"))]
    about = {"version": VERSION, "dataset": "scale", "overlap": 0}
    write_predictions(path, pa.table({name: columns[name] for name in order}), about)


def _train(path: Path) -> dict[str, float]:
    config = create_fusion_config(
        training={"max_epochs": EPOCHS, "updates_per_epoch": UPDATES, "device": "cpu"}
    )
    base = peak_memory_mb()
    start = time.perf_counter()
    cache = FusionPredictionCache.load(path)
    train, validation = cache.training().train_validation_split(config.data.val_fraction, 0)
    train_agent(train, validation, config)
    return {
        "windows": len(cache),
        "seconds": time.perf_counter() - start,
        "peak_memory_mb": round(peak_memory_mb()),
        "base_memory_mb": round(base),
        "file_mb": round(path.stat().st_size / 2**20),
    }


if __name__ == "__main__":
    task, windows, folder = sys.argv[1:]
    cache = Path(folder) / "predictions.arrow"
    if task == "make":
        make_cache(cache, int(windows))
    else:
        sys.stdout.write(json.dumps(_train(cache)))
