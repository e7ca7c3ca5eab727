"""``python -m core bench``: how fast each stage is, against its plain implementation."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from core.config import DEVICES
from core.errors import ConfigError
from core.progress import StreamReporter

HELP = "measure the throughput of each stage on generated traffic"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.add_argument(
        "--frames",
        type=int,
        metavar="N",
        help="frames streamed to a graph store on disk (default 10 million; 100 million need "
        "about 8 GB of disk space and a minute)",
    )
    parser.add_argument(
        "--windows",
        type=int,
        metavar="N",
        help="windows of a cache on disk that an agent is trained on (default 3 million)",
    )
    parser.add_argument(
        "--scores",
        type=Path,
        metavar="FILE",
        help="a prediction cache, or a table of scores, that the attainable reward is measured on "
        "(default: generated scores)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        ConfigError: if CUDA is asked for and absent, or on too few frames.
        ScoresError: if ``--scores`` names no scores.
    """
    from core.bench.fusion_scale import WINDOWS
    from core.bench.run import bench
    from core.bench.scale import FRAMES
    from core.cache.predictions import FusionPredictionCache

    frames = FRAMES if args.frames is None else args.frames
    if frames < 1000:
        raise ConfigError(f"expected --frames of at least 1000, got {frames}")
    windows = WINDOWS if args.windows is None else args.windows
    if windows < 1000:
        raise ConfigError(f"expected --windows of at least 1000, got {windows}")
    scores = FusionPredictionCache.from_scores(args.scores) if args.scores else None
    measured = bench(
        args.device,
        reporter=StreamReporter(),
        scale_frames=frames,
        scale_windows=windows,
        scores=scores,
    )
    text = json.dumps(measured, indent=1) if args.json else _table(measured)
    sys.stdout.write(text + "\n")


def _table(measured: dict[str, Any]) -> str:
    lines = [f"{'':<42}{'here':>14}{'plain':>14}{'ratio':>9}"]
    for name, value in measured.items():
        if name in ("plain", "ratio") or not isinstance(value, dict | float):
            continue
        parts = value.items() if isinstance(value, dict) else [("", value)]
        for part, figure in parts:
            plain, ratio = (
                measured[side].get(name, {}).get(part)
                if isinstance(value, dict)
                else measured[side].get(name)
                for side in ("plain", "ratio")
            )
            cells = f"{_cell(figure, 14)}{_cell(plain, 14)}{_cell(ratio, 9)}"
            lines.append(f"{name + ' ' + part:<42}{cells}")
    about = ("device", "frames", "peak_memory_mb")
    lines.append(", ".join(f"{name} {measured[name]}" for name in about))
    return "\n".join(lines)


def _cell(value: float | None, width: int) -> str:
    if value is None:
        return "-".rjust(width)
    return f"{value:>{width},.{2 if value < 10 else 1}f}"
