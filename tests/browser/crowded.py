"""A workspace that has been used for long: many runs, and one with a million windows."""

import json

import numpy as np
import pyarrow as pa

from core.cache.predictions import write_predictions
from core.config import FusionConfig, override
from core.workspace import Workspace
from tests.dashboard.run_folders import SPLITS, write_run

RUNS = 200
WINDOWS = 1_000_000
LARGE = "20250101-000000-b16b"
"""Id of the run with the million windows."""
LONG = "20250101-000001-1009"
"""Id of a run whose settings train for hours, with some epochs a second."""


def crowd(workspace: Workspace, runs: int = RUNS, windows: int = WINDOWS) -> str:
    """Fill a workspace; returns the id of the large run."""
    write_run(workspace, LARGE, windows=windows // len(SPLITS))
    endless = {"max_epochs": 100_000, "patience": 100_000, "updates_per_epoch": 400}
    long = override(FusionConfig(), {"training": endless})
    folder = write_run(workspace, LONG, results=False)
    (folder / "config.json").write_text(json.dumps(long.to_dict()))
    for number in range(runs - 2):
        write_run(workspace, f"20250102-{number:06}-c0de", seed=number, windows=60)
    write_cache(workspace, windows)
    return LARGE


def write_cache(workspace: Workspace, windows: int) -> None:
    """A prediction cache of the demo with so many windows of one capture."""
    rng = np.random.default_rng(0)
    label = (rng.random(windows) < 0.1).astype(np.uint8)
    names = {"split": "train_02_with_attacks", "capture": "train_02_with_attacks/long.csv"}
    columns: dict[str, pa.Array] = {
        name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(windows, np.int32)), [value])
        for name, value in names.items()
    }
    attacks = pa.DictionaryArray.from_arrays(pa.array(label.astype(np.int32)), ["", "flood"])
    table = pa.table(
        {
            **columns,
            "window": np.arange(windows, dtype=np.int32),
            "start_time": np.arange(windows) * 0.05,
            "end_time": np.arange(windows) * 0.05 + 0.0495,
            "first_frame": np.arange(windows, dtype=np.int64) * 100,
            "anomaly_score": np.clip(0.2 + 0.5 * label + rng.normal(0, 0.15, windows), 0, 1).astype(
                np.float32
            ),
            "gat_prob": np.clip(0.1 + 0.7 * label + rng.normal(0, 0.2, windows), 0, 1).astype(
                np.float32
            ),
            "label": label,
            "attack": attacks,
            "fold": np.zeros(windows, np.int16),
        }
    )
    path = workspace.prediction_cache("demo", "commissioned")
    write_predictions(path, table, {"version": 1, "fingerprint": {}, "dataset": "demo"})
