"""``python -m core explain``: which ids of a window were flagged, and what about them."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.config import DEVICES, PROTOCOLS, DetectorConfig, override
from core.errors import CaptureError, CheckpointError, ConfigError, DatasetError
from core.progress import Reporter, StreamReporter
from core.workspace import Workspace

if TYPE_CHECKING:
    from core.captures.dataset import Dataset

HELP = "why windows of a capture were flagged: ids by their share in it, and what about them"
TOP, IDS = 5, 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("dataset", metavar="DATASET", help="in the workspace, or a folder")
    parser.add_argument("capture", metavar="CAPTURE_KEY", help="split/file in the data set")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--window", type=int, nargs="+", metavar="N", help="windows, counted from 0 in the capture"
    )
    which.add_argument(
        "--top",
        type=int,
        default=TOP,
        metavar="K",
        help=f"those with the highest scores ({TOP}): mean of anomaly score and GAT probability",
    )
    parser.add_argument("--ids", type=int, default=IDS, metavar="K", help=f"ids to show ({IDS})")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="commissioned")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.add_argument("--json", action="store_true", help="write JSON")


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        DatasetError: if there is no such data set or capture.
        CaptureError: if the capture cannot be read, or is too short.
        CheckpointError: if no detectors were trained on the data set under this protocol.
        ConfigError: if the capture has no such window, or the number of windows is below 1.
    """
    for name in ("top", "ids"):
        if getattr(args, name) < 1:
            raise ConfigError(f"--{name}: expected at least 1, got {getattr(args, name)}")
    found = explain_capture(
        args.dataset,
        args.capture,
        args.protocol,
        Workspace.default(),
        windows=args.window,
        top=args.top,
        ids=args.ids,
        device=args.device,
        reporter=StreamReporter(),
    )
    for warning in found["warnings"]:
        sys.stderr.write(f"warning: {warning}\n")
    print(json.dumps(found, indent=1) if args.json else _text(found))


def explain_capture(
    dataset: str,
    key: str,
    protocol: str,
    workspace: Workspace,
    *,
    windows: list[int] | None = None,
    top: int = TOP,
    ids: int = IDS,
    device: str = "auto",
    reporter: Reporter,
) -> dict[str, Any]:
    """The given windows of a capture, or those with the ``top`` scores, fit for JSON.

    Under ``windows``, from the highest score down: ``window``, ``first_frame``, ``start_time`` and
    ``end_time`` (seconds), ``anomaly_score`` and ``gat_prob`` (null for windows that the profile
    was learnt from), and under ``ids`` the first ``ids`` by contribution: ``arbitration_id``
    (hexadecimal; eight digits if it has 29 bits), ``present``, ``anomaly_score`` (of the id by
    itself), ``contribution`` (all ids' add up to 1), what of that comes from ``profile``, ``vgae``
    and ``gat``, and ``reasons`` in words.

    Raises:
        DatasetError, CaptureError, CheckpointError, ConfigError: as :func:`run` says.
    """
    # Torch takes seconds to load, which --help need not wait for.
    from core.captures.dataset import open_dataset
    from core.detectors.capture_scores import score_capture
    from core.detectors.explanation import explain
    from core.detectors.prepare import prepare_capture
    from core.detectors.stack import DetectorStack
    from core.device import resolve_device
    from core.graphs.cached import graph_store
    from core.graphs.profiles import saved_vehicles

    opened = open_dataset(dataset, workspace, reporter)
    capture = next((c for c in opened.captures if c.key == key), None)
    if capture is None:
        raise DatasetError(
            f"{opened.root}: no capture {key!r}; it has {', '.join(c.key for c in opened.captures)}"
        )
    config, warnings = _settings(opened, dataset, protocol, workspace)
    detectors = DetectorStack.load(workspace.detectors(opened.name, protocol)).final
    store = graph_store(capture, config.window, workspace, reporter)
    if store is None:
        raise CaptureError(f"{capture.path}: shorter than one window of {config.window.length}")
    known = [
        vehicle
        for vehicle in saved_vehicles(workspace.profiles)[0]
        if vehicle.name.startswith(f"{opened.name}-vehicle-")
        and vehicle.window == repr(config.window)
    ]
    prepared = prepare_capture(key, store, config, known=known)
    warnings += prepared.notes
    if prepared.split.startswith("train_"):
        warnings.append(f"{key}: the detectors were trained on this capture")
    chosen_device = resolve_device(device)
    scores = score_capture(detectors, prepared, chosen_device)
    fused = np.full(len(store), -np.inf)
    fused[scores.windows] = (scores.anomaly_score + scores.gat_prob) / 2
    if windows is None:
        windows = np.argsort(-fused, kind="stable")[: min(top, len(scores.windows))].tolist()
    explanation = explain(detectors, prepared, windows, chosen_device, scores)
    place = {window: row for row, window in enumerate(scores.windows.tolist())}

    def about(window: int, rows: Any) -> dict[str, Any]:
        row = place.get(window)
        return {
            "window": window,
            "first_frame": int(store.first_frame[window]),
            "start_time": float(store.start_time[window]),
            "end_time": float(store.end_time[window]),
            "anomaly_score": None if row is None else float(scores.anomaly_score[row]),
            "gat_prob": None if row is None else float(scores.gat_prob[row]),
            "ids": rows.drop(columns="window").to_dict("records"),
        }

    table = explanation.table(ids)
    table["arbitration_id"] = table["arbitration_id"].map(_hexadecimal)
    parts = dict(iter(table.drop(columns="rank").groupby("window")))
    order = sorted({*windows}, key=lambda window: (-fused[window], window))
    return {
        "dataset": opened.name,
        "capture": key,
        "protocol": protocol,
        "warnings": warnings,
        "windows": [about(window, parts[window]) for window in order],
    }


def _settings(
    dataset: "Dataset", given: str, protocol: str, workspace: Workspace
) -> tuple[DetectorConfig, list[str]]:
    """Settings that a data set's detectors were trained with, and warnings about them.

    Raises:
        CheckpointError: if there are none, or no settings are known of them.
    """
    from core.cache.status import detector_status

    folder = workspace.detectors(dataset.name, protocol)
    try:
        about = json.loads((folder / "detectors.json").read_text(encoding="utf-8"))
        config = override(DetectorConfig(), about["fingerprint"]["settings"])
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: no detectors trained on {dataset.name} ({protocol}); train them with "
            f"python train_fusion_lightning.py --dataset {given} --protocol {protocol}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise CheckpointError(f"{Path(folder, 'detectors.json')}: damaged ({error})") from error
    _, reasons = detector_status(dataset, config, workspace)
    return config, [f"since the detectors were trained: {reason}" for reason in reasons]


def _hexadecimal(arbitration_id: int) -> str:
    return f"0x{arbitration_id & 0x1FFFFFFF:0{8 if arbitration_id >> 31 else 3}X}"


def _text(found: dict[str, Any]) -> str:
    lines = []
    for window in found["windows"]:
        scores = "the profile was learnt from it"
        if window["gat_prob"] is not None:
            scores = (
                f"anomaly score {window['anomaly_score']:.3f}, "
                f"GAT probability {window['gat_prob']:.3f}"
            )
        lines += [
            f"window {window['window']} ({window['start_time']:.3f} s to "
            f"{window['end_time']:.3f} s): {scores}",
            *(
                f"  {row['arbitration_id']:<10} {row['contribution']:>6.1%}  "
                f"anomaly {row['anomaly_score']:.2f}  {row['reasons']}"
                for row in window["ids"]
            ),
        ]
    return "\n".join(lines)
