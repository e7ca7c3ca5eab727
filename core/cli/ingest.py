"""``python -m core ingest FILE``: read a capture, say what is in it, write it in another format."""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from core.captures import arrow_io
from core.captures.export import export
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.captures.readers import READERS, read_capture, read_chunks
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
    report = Report()
    streams = args.out is None or args.out.suffix.lower() == ".arrow"
    chunks = read_chunks if streams else _at_once
    for chunk in chunks(args.file, args.format):
        report.add(chunk)
    if args.out is not None:
        if report.chunks > 1:
            # Only its last chunk tells all that stands at the start of the new file.
            again = (
                arrow_io.as_in(chunk, report.last, report.width)
                for chunk in read_chunks(args.file, args.format)
            )
            arrow_io.save_chunks(again, args.out)
        else:
            for lost in export(report.last, args.out):
                sys.stderr.write(f"warning: {args.out}: {lost}\n")
    if args.report is not None:
        write_json(args.report, report.content())
    else:
        print(json.dumps(report.content(), indent=1))


def _at_once(path: Path, format: str | None) -> Iterator[FrameTable]:
    yield read_capture(path, format)


class Report:
    """What a capture holds that comes in chunks."""

    last: FrameTable

    def __init__(self) -> None:
        self.chunks = self.frames = 0
        self.width = 8
        """Bytes of its widest payloads."""
        self._ids: set[int] = set()
        self._kinds = dict.fromkeys((EXTENDED, REMOTE, ERROR, FD), 0)
        self._attacked = 0
        self._first, self._last = math.inf, -math.inf

    def add(self, table: FrameTable) -> None:
        """Take in the next chunk."""
        self.last = table
        self.chunks += 1
        self.frames += len(table)
        self.width = max(self.width, table.payload.shape[1])
        error = table.flags & ERROR != 0
        extended = (table.flags & EXTENDED).astype(np.uint64) << np.uint64(32)
        self._ids.update(np.unique((table.arbitration_id | extended)[~error]).tolist())
        for kind in self._kinds:
            self._kinds[kind] += int(np.count_nonzero(table.flags & kind))
        self._attacked += int(np.count_nonzero(table.label))
        self._first = float(table.timestamp.min(initial=self._first))
        self._last = float(table.timestamp.max(initial=self._last))

    def content(self) -> dict[str, Any]:
        """The report, fit for JSON.

        ``skipped`` counts lines by reason, ``skipped_examples`` are the first few of each reason.
        ``ids`` counts identifiers, standard and extended ones apart; error frames carry none.
        ``duration_s`` is the time from the earliest to the latest frame.
        """
        last = self.last
        return {
            "format": last.format,
            "frames": self.frames,
            "skipped": last.skipped.counts,
            "skipped_examples": [
                {"line": line, "reason": reason, "text": text}
                for line, reason, text in last.skipped.examples
            ],
            "ids": len(self._ids),
            "extended_frames": self._kinds[EXTENDED],
            "remote_frames": self._kinds[REMOTE],
            "error_frames": self._kinds[ERROR],
            "fd_frames": self._kinds[FD],
            "labelled": last.labelled,
            "attack_frames": self._attacked,
            "time": last.time,
            "duration_s": self._last - self._first if last.time != "missing" else 0.0,
            "warnings": list(last.warnings),
        }
