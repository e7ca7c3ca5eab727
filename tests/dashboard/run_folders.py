"""Run folders with the documented files, made without training anything."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.config import create_fusion_config
from core.evaluation.metrics import window_metrics
from core.jobs.events import EventLog
from core.jobs.run import DONE, Run, save_manifest
from core.workspace import Workspace

RUN_ID = "20260101-120000-beef"
SCORES = {
    "vgae": "anomaly_score",
    "gat": "gat_prob",
    "fixed_alpha": "fixed_alpha",
    "stacking": "stacking",
    "fusion": "fused",
    "oracle": "oracle",
}
FRAMES = 100
"""Per window, half a millisecond apart."""
SPLITS = ("validation", "test_01_known_vehicle_known_attack", "test_02_without_attacks")


def write_run(
    workspace: Workspace,
    run_id: str = RUN_ID,
    *,
    state: str = DONE,
    kind: str = "fusion",
    error: str = "",
    results: bool = True,
    seed: int = 0,
    windows: int = 300,
) -> Path:
    """A run with manifest and events and, if asked for, everything that a finished one leaves."""
    folder = workspace.runs / run_id
    folder.mkdir(parents=True)
    now = time.time()
    params = {"dataset": "demo", "protocol": "commissioned"}
    run = Run(run_id, kind, "Fusion training", params, "cpu", state, now - 60, now - 60, now, error)
    save_manifest(folder, run)
    write_events(folder)
    if results:
        write_results(folder, seed, windows)
    return folder


def write_events(folder: Path) -> None:
    """Two fits of each detector, and a fusion training."""
    log = EventLog(folder / "events.jsonl")
    log.append("state", state="running")
    for epoch in (1, 2, 3, 1, 2, 3):
        loss = {"epoch": epoch, "train_loss": 1 / epoch, "val_loss": 1.2 / epoch}
        log.append("metrics", step="vgae", values=loss)
        log.append("metrics", step="gat", values={**loss, "val_f1": 1 - 0.1 / epoch})
    for epoch in range(1, 11):
        values = {
            "epoch": epoch,
            "updates": 100 * epoch,
            "train_loss": 0.5 / epoch,
            "train_reward": 0.9,
            "val_reward": 1 - 0.3 / epoch,
            "val_accuracy": 1 - 0.2 / epoch,
            "val_f1": 1 - 0.25 / epoch,
            "epsilon": 0.9**epoch,
            "alpha_mean": 0.5,
            "alpha_std": 0.1,
            "q_spread": 0.2,
            "gap_closed": None if epoch < 3 else 0.8,
        }
        log.append("metrics", step="fusion", values=values)
    log.append("log", message="agent saved")
    log.append("state", state="done")


def write_results(folder: Path, seed: int = 0, windows: int = 300, grid: int = 20) -> None:
    """results.json, predictions.arrow, policy_map.arrow, policy.npy and config.json."""
    rng = np.random.default_rng(seed)
    tables, scenarios = [], {}
    for split in SPLITS:
        table = _predictions(split, rng, windows)
        tables.append(table)
        captures = {
            name.removeprefix(f"{split}/"): _measured(
                table.filter(pa.compute.equal(table["capture"].cast(pa.string()), name))
            )
            for name in table["capture"].unique().to_pylist()
        }
        scenarios[split] = {**_measured(table), "commissioning_windows": 20, "captures": captures}
    _write_arrow(folder / "predictions.arrow", pa.concat_tables(tables).unify_dictionaries())
    results: dict[str, Any] = {
        "protocol": "commissioned",
        "seed": seed,
        "device": "cpu",
        "seconds": {"fusion": 1.0},
        "dataset": "demo",
        "simulated": True,
        "warnings": ["test_02_without_attacks: no attacked window"],
        "validation": scenarios.pop("validation"),
        "scenarios": scenarios,
    }
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "config.json").write_text(json.dumps(create_fusion_config().to_dict()))
    axis = np.linspace(0, 1, grid)
    anomaly, gat_prob = (a.ravel() for a in np.meshgrid(axis, axis, indexing="ij"))
    alpha = np.round(20 / (1 + np.exp(-8 * (gat_prob - anomaly)))) / 20
    seen = np.where(np.abs(anomaly - gat_prob) < 0.35, rng.integers(0, 90, grid**2), 0)
    _write_arrow(
        folder / "policy_map.arrow",
        pa.table(
            {
                "anomaly_score": anomaly,
                "gat_prob": gat_prob,
                "alpha": alpha,
                "q_spread": alpha * 0.1,
                "windows": seen,
                "attacks": np.where(anomaly + gat_prob > 1, seen, 0),
            }
        ),
    )
    np.save(folder / "policy.npy", alpha.reshape(grid, grid))


def write_epochs(folder: Path, epochs: int = 6) -> None:
    """policy_epochs.arrow: alpha 0 everywhere at first, the final policy after the last epoch."""
    final = np.load(folder / "policy.npy").astype(np.float32)
    kind = pa.list_(pa.float32(), final.size)
    schema = pa.schema([("epoch", pa.int32()), ("alpha", kind)])
    rows = [(final * share).ravel().tolist() for share in np.linspace(0, 1, epochs)]
    table = pa.table({"epoch": range(1, epochs + 1), "alpha": pa.array(rows, kind)}, schema)
    with (
        pa.OSFile(str(folder / "policy_epochs.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_table(table, max_chunksize=1)


def write_capture(
    workspace: Workspace, capture: str, windows: int, attacked: range = range(0)
) -> Path:
    """The recording behind ``split/file`` of a run: five ids in turn; frames may be attacked."""
    path = workspace.datasets / "demo" / capture
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "timestamp,arbitration_id,data_field,attack\n"
        + "".join(
            f"{i * 0.0005:.4f},{0x100 + i % 5:03X},{i % 65536:016X},{int(i in attacked)}\n"
            for i in range(windows * FRAMES)
        )
    )
    return path


def _predictions(split: str, rng: np.random.Generator, windows: int) -> pa.Table:
    label = np.zeros(windows, np.uint8)
    if split != "test_02_without_attacks":
        label[windows // 3 : windows // 2] = 1
        label[-windows // 5 :] = 1
    anomaly = np.clip(0.15 + 0.6 * label + rng.normal(0, 0.13, windows), 0, 1).astype(np.float32)
    gat_prob = np.clip(0.1 + 0.75 * label + rng.normal(0, 0.2, windows), 0, 1).astype(np.float32)
    alpha = np.round(20 / (1 + np.exp(-8 * (gat_prob - anomaly)))) / 20
    fixed = 0.5 * anomaly + 0.5 * gat_prob
    half = windows // 2
    window = np.concatenate([np.arange(half), np.arange(windows - half)])
    names = [f"{split}/DoS-1.csv"] * half + [f"{split}/fuzzing-2.csv"] * (windows - half)
    start = window * 0.05
    attack = np.where(label == 1, np.repeat(["DoS", "fuzzing"], [half, windows - half]), "")
    return pa.table(
        {
            "split": pa.array([split] * windows).dictionary_encode(),
            "capture": pa.array(names).dictionary_encode(),
            "window": pa.array(window, pa.int32()),
            "start_time": start,
            "end_time": start + 0.0495,
            "first_frame": pa.array(window * FRAMES, pa.int64()),
            "label": label,
            "attack": pa.array(attack.tolist()).dictionary_encode(),
            "anomaly_score": anomaly,
            "gat_prob": gat_prob,
            "alpha": alpha.astype(np.float32),
            "fused": (1 - alpha) * anomaly + alpha * gat_prob,
            "fixed_alpha": fixed,
            "stacking": np.clip(fixed * 1.1, 0, 1),
            "oracle": np.where((anomaly >= 0.5) | (gat_prob >= 0.5), label, 0.0),
        }
    )


def _measured(table: pa.Table) -> dict[str, Any]:
    label = table["label"].to_numpy()
    return {
        "windows": len(label),
        "attack_windows": int(label.sum()),
        "methods": {
            name: window_metrics(label, table[column].to_numpy()) for name, column in SCORES.items()
        },
    }


def _write_arrow(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
