"""ASAM MDF 4 with CAN bus logging, read with asammdf.

The frames lie in groups with the channels ``CAN_DataFrame``, ``CAN_RemoteFrame`` and
``CAN_ErrorFrame`` and their parts (``.ID``, ``.IDE``, ``.DataLength``, ``.DataBytes``, ...); the
groups are joined in the order of time. Files with decoded signals only have no frames to read.

The library works in a process of its own (:mod:`core.captures.formats.mf4_process` says why).
"""

import atexit
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy.typing as npt

import core
from core.captures.formats.mf4_process import COLUMNS
from core.captures.formats.pieces import read_pieces
from core.captures.frame_table import FrameTable
from core.captures.rows import Buses, Columns, Quarantine, TableBuilder, concatenate
from core.captures.text import unpacked_limit
from core.errors import CaptureError

NAME = "mf4"
MAGIC = (b"MDF     ", b"UnFinMF ")
PROCESS = "core.captures.formats.mf4_process"


def sniff(head: bytes) -> float:
    """1 for an MDF file."""
    return float(head.startswith(MAGIC))


def read(path: Path) -> FrameTable:
    """Read the CAN frames of an MDF 4 file; it has no labels.

    Raises:
        CaptureError: if the file cannot be read, is damaged, holds no CAN frames, or unpacks to
            more than a share of the memory (:func:`read_chunks` has no such limit).
    """
    reader = _Reader(path)
    return reader.table(list(reader.parts(unpacked_limit())))


def read_chunks(path: Path) -> Iterator[FrameTable]:
    """:func:`read` in pieces of about a million frames.

    Raises:
        CaptureError: as :func:`read`.
    """
    yield from read_pieces(_Reader(path))


class _Reader:
    """What is found on the way through one file."""

    def __init__(self, path: Path) -> None:
        self.path, self.builder = path, TableBuilder(path, NAME)
        self.buses = Buses()
        self.quarantine = Quarantine()

    def table(self, parts: Sequence[Columns]) -> FrameTable:
        """The next frames as a table; what there is to tell is known with the last ones."""
        frames = concatenate(parts)
        return self.builder.add(frames, self.quarantine, "attack", self.buses.warnings())

    def parts(self, limit: int | None = None) -> Iterator[Columns]:
        """The frames of all groups in the order of time; ``limit`` is what all may unpack to."""
        try:
            self.path.open("rb").close()
            with tempfile.TemporaryDirectory(prefix="mf4-") as folder:
                request = {"path": str(self.path.absolute()), "folder": folder, "limit": limit}
                with _PROCESS.ask(request) as answer:
                    yield from self._answered(answer, Path(folder, "log"))
        except OSError as error:
            raise CaptureError(f"{self.path}: cannot be read: {error.strerror or error}") from error

    def _answered(self, answer: BufferedReader, log: Path) -> Iterator[Columns]:
        frames = 0
        while True:
            line = answer.readline()
            said = json.loads(line) if line.endswith(b"\n") else {}
            if "frames" not in said:
                break
            part = Columns.empty(said["frames"], said["width"])
            columns: list[npt.NDArray[Any]] = [getattr(part, name) for name in COLUMNS]
            if not all(answer.readinto(column.data) == column.nbytes for column in columns):
                said = {}
                break
            frames += len(part.timestamp)
            yield part
        if "error" in said:
            raise CaptureError(said["error"])
        if "skipped" not in said:
            raise CaptureError(f"{self.path}: damaged MDF file: {_reason(log)}")
        for bus in said["buses"]:
            self.buses.see(bus)
        examples = [(number, reason, text) for number, reason, text in said["skipped"]["examples"]]
        self.quarantine = Quarantine(said["skipped"]["counts"], examples)
        if not frames and not self.quarantine.counts:
            raise CaptureError(
                f"{self.path}: no CAN frames in it; expected bus logging (CAN_DataFrame), not "
                "signals"
            )


def _reason(log: Path) -> str:
    """What the library said last."""
    text = log.read_text("utf-8", "replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "asammdf crashed, or found no end"


class _Process:
    """The process that reads, started when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def ask(self, request: dict[str, Any]) -> Iterator[BufferedReader]:
        """Where the answer can be read.

        Raises:
            OSError: if the process cannot be started.
        """
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as answer:
            try:
                self._send(json.dumps(request).encode(), writing)
            finally:
                os.close(writing)
            yield answer

    def _send(self, request: bytes, file: int) -> None:
        with self._lock:
            if self._process and self._process.poll() is not None:
                self.close()
            link = self._link or self._start()
            socket.send_fds(link, [request], [file])

    def _start(self) -> socket.socket:
        link, other = socket.socketpair()
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", PROCESS, str(other.fileno())],
                cwd=Path(core.__file__).parents[1],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[other.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._link = link
        return link

    def close(self) -> None:
        """End the process, which the next question starts again."""
        if self._link and self._process:
            self._link.close()
            self._process.wait()
        self._link = self._process = None


_PROCESS = _Process()
atexit.register(_PROCESS.close)
