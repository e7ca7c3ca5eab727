"""``python -m core reproduce``: the whole way from capture files to results."""

import argparse
import sys
from pathlib import Path

from core.cli.training import scores_table
from core.config import DEVICES, PROTOCOLS
from core.progress import StreamReporter

HELP = "capture files to compared methods: trains both detectors and the agent, writes results.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "dataset_dir", metavar="DATASET_DIR", help="folder of split folders, or a data set's name"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="OUT", help="folder to write to")
    parser.add_argument("--protocol", choices=PROTOCOLS, default="commissioned")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="captures worked on at the same time"
    )


def run(args: argparse.Namespace) -> None:
    from core.pipeline import reproduce

    results = reproduce(
        args.dataset_dir,
        args.out,
        args.protocol,
        args.device,
        args.seed,
        StreamReporter(),
        args.jobs,
    )
    sys.stdout.write(scores_table(results) + "\n")
