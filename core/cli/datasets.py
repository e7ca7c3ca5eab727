"""``python -m core datasets [NAME]``: the data sets of the workspace, and what is in one."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.captures.catalogue import (
    Listed,
    build_catalogue,
    describe,
    find_duplicates,
    read_catalogue,
)
from core.captures.dataset import list_datasets
from core.captures.dataset_import import import_dataset
from core.errors import ConfigError
from core.progress import StreamReporter
from core.workspace import Workspace

HELP = "the data sets of the workspace; with a name, what is in each of its captures"
_COLUMNS = "{:<{width}} {:>11} {:>6} {:>10} {:>6} {:>8} {:>8}  {}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="look at this data set's captures")
    parser.add_argument(
        "--import",
        dest="source",
        type=Path,
        metavar="FOLDER",
        help="first copy the split folders in FOLDER into the workspace, as data set NAME",
    )
    parser.add_argument("--json", action="store_true", help="write JSON")
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="captures read at the same time (1)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        DatasetError: if there is no such data set, or it cannot be read.
        ConfigError: on a number of jobs below 1.
        StorageError: if the catalogue cannot be written.
    """
    workspace = Workspace.default()
    if args.source is not None:
        if args.name is None:
            raise ConfigError("expected a NAME for the data set to import")
        import_dataset(args.source, args.name, workspace, StreamReporter())
    if args.name is None:
        names = list_datasets(workspace)
        print(json.dumps(names, ensure_ascii=False) if args.json else "\n".join(names))
        return
    if args.jobs < 1:
        raise ConfigError(f"expected --jobs of at least 1, got {args.jobs}")
    jobs = args.jobs if args.jobs > 1 else None
    build_catalogue(args.name, workspace, StreamReporter(), jobs)
    listed = read_catalogue(args.name, workspace)
    duplicates = find_duplicates(args.name, workspace)
    if args.json:
        print(
            json.dumps(report(listed) | {"duplicates": [asdict(d) for d in duplicates]}, indent=1)
        )
        return
    header = ("capture", "frames", "ids", "seconds", "load", "attacked", "skipped", "format")
    width = max([len(header[0]), *(len(capture.key) for capture in listed)])
    print(_COLUMNS.format(*header, width=width))
    for capture in listed:
        print(_line(capture, width))
    print("load: of the bus, estimated at 500 kbit/s")
    for duplicate in duplicates:
        sys.stderr.write(f"warning: {describe(duplicate, args.name)}\n")


def report(listed: list[Listed]) -> dict[str, Any]:
    """What the catalogue knows of a data set, fit for JSON."""
    return {
        "captures": [
            {
                "capture": capture.key,
                "bytes": capture.bytes,
                "sha256": capture.sha256,
                **(asdict(capture.facts) if capture.facts else {}),
            }
            for capture in listed
        ]
    }


def _line(capture: Listed, width: int) -> str:
    facts = capture.facts
    if facts is None or facts.error:
        return f"{capture.key:<{width}} {facts.error if facts else 'changed meanwhile'}"
    return _COLUMNS.format(
        capture.key,
        f"{facts.frames:,}",
        facts.ids,
        "-" if facts.duration_s is None else f"{facts.duration_s:.1f}",
        "-" if facts.bus_load is None else f"{facts.bus_load:.0%}",
        f"{facts.attack_frames / facts.frames:.2%}" if facts.labelled else "-",
        sum(facts.skipped.values()),
        facts.format,
        width=width,
    )
