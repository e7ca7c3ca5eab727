"""``python -m core ingest FILE``: read a capture, say what is in it, write it in another format."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from core.captures.export import export
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.readers import READERS, read_capture
from core.files import write_json

HELP = "read a capture file and report what is in it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="capture file")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="X.arrow",
        help="write the frames: .arrow and .parquet without loss, .log as candump, .csv as "
        "can-train-and-test",
    )
    parser.add_argument(
        "--report", type=Path, metavar="R.json", help="write the report here, not to the output"
    )
    parser.add_argument(
        "--format",
        metavar="NAME",
        help=f"read as this format, whatever the content looks like: {', '.join(READERS)}",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        CaptureError: if the capture cannot be used.
        StorageError: if an output cannot be written.
    """
    table = read_capture(args.file, args.format)
    if args.out is not None:
        for lost in export(table, args.out):
            sys.stderr.write(f"warning: {args.out}: {lost}\n")
    if args.report is not None:
        write_json(args.report, report(table))
    else:
        print(json.dumps(report(table), indent=1))


def report(table: FrameTable) -> dict[str, Any]:
    """What a capture holds, fit for JSON.

    ``skipped`` counts lines by reason, ``skipped_examples`` are the first few of each reason.
    ``ids`` counts identifiers, standard and extended ones apart; error frames carry none.
    ``duration_s`` is the time from the earliest to the latest frame.
    """
    error = table.flags & ERROR != 0
    extended = (table.flags & EXTENDED).astype(np.uint64) << np.uint64(32)
    ids = np.unique((table.arbitration_id | extended)[~error])
    timed = table.time != "missing" and len(table) > 0
    return {
        "format": table.format,
        "frames": len(table),
        "skipped": table.skipped.counts,
        "skipped_examples": [
            {"line": line, "reason": reason, "text": text}
            for line, reason, text in table.skipped.examples
        ],
        "ids": len(ids),
        "extended_frames": int(np.count_nonzero(table.flags & EXTENDED)),
        "remote_frames": int(np.count_nonzero(table.flags & REMOTE)),
        "error_frames": int(np.count_nonzero(error)),
        "fd_frames": int(np.count_nonzero(table.flags & FD)),
        "labelled": table.labelled,
        "attack_frames": int(np.count_nonzero(table.label)),
        "time": table.time,
        "duration_s": float(np.ptp(table.timestamp)) if timed else 0.0,
        "warnings": list(table.warnings),
    }
