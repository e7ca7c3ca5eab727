"""``python -m core benchmark``: all methods on data sets, arrangements, protocols and seeds."""

import argparse
import platform
import shlex
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from core.config import DEVICES, PROTOCOLS
from core.errors import ConfigError
from core.files import atomic_path, write_json
from core.progress import StreamReporter
from core.workspace import Workspace

HELP = "measure all methods on data sets, protocols and seeds; writes tables with intervals"
SPLITS = ("given", "leave-one-vehicle-out", "leave-one-attack-out")
LIBRARIES = ("torch", "torch-geometric", "lightning", "numpy", "scikit-learn")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "datasets",
        nargs="+",
        metavar="DATASET_DIR",
        help="folder of split folders, or a data set's name",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="RESULTS.md",
        help="file for the tables; figures go beside it, with the ending .json",
    )
    parser.add_argument("--protocol", choices=("both", *PROTOCOLS), default="both")
    parser.add_argument(
        "--seeds",
        default="0,1,2",
        metavar="N,N",
        help="default %(default)s",
    )
    parser.add_argument(
        "--splits",
        default=",".join(SPLITS),
        metavar="NAME,NAME",
        help="which captures are tested on, default %(default)s",
    )
    parser.add_argument(
        "--in-sample",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also show what in-sample scores would have taught the agent",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="where to compute")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs made at the same time"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command. Finished runs are kept in the workspace, and found there by the next call.

    Raises:
        InputError: on what the user can mend.
    """
    seeds, splits = _seeds(args.seeds), _splits(args.splits)
    if args.jobs < 1:
        raise ConfigError(f"--jobs: expected at least 1, got {args.jobs}")
    if args.out.suffix in ("", ".json"):
        raise ConfigError(f"--out: expected a file name such as RESULTS.md, got {args.out}")
    # Here and not above: torch is loaded, and ``--help`` need not wait for that.
    from core.evaluation.benchmark import benchmark, sources_version
    from core.evaluation.report import in_sample_rows, markdown, rows

    found = benchmark(
        args.datasets,
        Workspace(Workspace.default().root / "benchmark"),
        arrangements=splits,
        protocols=PROTOCOLS if args.protocol == "both" else (args.protocol,),
        seeds=seeds,
        device=args.device,
        jobs=args.jobs,
        in_sample=args.in_sample,
        reporter=StreamReporter(),
    )
    versions = {"Python": platform.python_version()} | {name: version(name) for name in LIBRARIES}
    about = {
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
        "settings": "all at their defaults (`core/config.py`)",
        "code": f"version {sources_version()[:12]} of everything between capture and result",
    }
    text = markdown(found, _command(args), about)
    figures = {
        "command": _command(args),
        "versions": versions,
        "notes": found["notes"],
        "rows": rows(found["runs"]),
        "in_sample": in_sample_rows(found["runs"]),
    }
    write_json(args.out.with_suffix(".json"), _rounded(figures))
    with atomic_path(args.out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def _command(args: argparse.Namespace) -> str:
    words = ["python", "-m", "core", "benchmark", *args.datasets, "--out", str(args.out)]
    words += ["--protocol", args.protocol, "--seeds", args.seeds, "--splits", args.splits]
    words += ["--device", args.device] + ([] if args.in_sample else ["--no-in-sample"])
    return shlex.join(words)


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        raise ConfigError(f"--seeds: expected numbers such as 0,1,2, got {text!r}") from None


def _splits(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in SPLITS]:
        raise ConfigError(f"--splits: expected some of {', '.join(SPLITS)}, got {unknown[0]!r}")
    return names


def _rounded(value: Any) -> Any:
    """Six digits are more than any of the figures is sure of."""
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(part) for part in value]
    return round(value, 6) if isinstance(value, float) else value
