"""Whether a capture larger than memory costs no more per frame than a small one.

Runs in a process of its own, whose peak of memory is that of the stream alone::

    python -m core.bench.scale FRAMES FOLDER [FORMAT]

``FORMAT`` is arrow, candump or can-train-and-test-csv.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import core
from core.captures import arrow_io
from core.captures.formats import can_train_and_test_csv, candump
from core.captures.frame_table import FrameTable
from core.captures.readers import read_chunks
from core.captures.simulator import simulate_recording, simulate_vehicle
from core.graphs.build import build_graphs_on_disk

FRAMES = 10_000_000
SMALL_FRAMES = 1_000_000
PAUSES = 8
"""Times that the small stream is measured."""
FORMATS: dict[str, Callable[[FrameTable, Path], None] | None] = {
    arrow_io.NAME: None,
    candump.NAME: candump.write,
    can_train_and_test_csv.NAME: can_train_and_test_csv.write,
}
"""Formats that the capture may have, and what writes a part of one."""
BLOCK_S = 120.0
"""Seconds of generated traffic that are repeated for as long as it takes."""


def measure_scale(frames: int = FRAMES, format: str = arrow_io.NAME) -> dict[str, float]:
    """Generated traffic from a capture file to a graph store on disk, chunk by chunk.

    In a process of its own. Making the file is not timed.

    Args:
        format: of the capture file, one of ``FORMATS``.

    Returns:
        ``frames``, ``frames_per_s``, ``small_frames_per_s`` (of 1 M frames, mean of several),
        ``growth`` (time per frame over that of the small stream), both of CPU time;
        ``peak_memory_mb`` (of the process, imports included), ``file_mb`` and ``store_mb`` (on
        disk).
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "core.bench.scale", str(frames), folder, format]
        root = Path(core.__file__).parents[1]
        done = subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def stream(block: FrameTable, frames: int) -> Iterator[FrameTable]:
    """``frames`` frames: a block of traffic again and again, as its clock goes on."""
    step = block.timestamp[-1] - block.timestamp[0] + 1e-3
    for number in range(-(-frames // len(block))):
        rows = slice(0, min(len(block), frames - number * len(block)))
        columns: dict[str, Any] = {
            name: getattr(block, name)[rows]
            for name in ("arbitration_id", "flags", "length", "payload", "label", "attack")
        }
        yield replace(block, timestamp=block.timestamp[rows] + number * step, **columns)


def write_capture(chunks: Iterable[FrameTable], path: Path, format: str) -> None:
    """Write a capture file that is larger than memory."""
    write = FORMATS[format]
    if write is None:
        arrow_io.save_chunks(chunks, path)
        return
    with path.open("wb") as file:
        for chunk in chunks:
            part = path.with_name("part")
            write(chunk, part)
            content = part.read_bytes()
            # Of the headings, the first is enough.
            has_heading = format == can_train_and_test_csv.NAME and file.tell()
            file.write(content[content.index(b"\n") + 1 :] if has_heading else content)


def _measure(frames: int, folder: Path, format: str = arrow_io.NAME) -> dict[str, float]:
    block = simulate_recording(simulate_vehicle(0), BLOCK_S, seed=0)
    small_frames = min(SMALL_FRAMES, frames)
    few, many = folder / "few", folder / "many"
    write_capture(stream(block, small_frames), few, format)
    write_capture(stream(block, frames), many, format)
    _seconds(read_chunks(few), folder / "small")  # Warms up and does not count.
    pauses: list[float] = []

    def with_pauses() -> Iterator[FrameTable]:
        # The small stream in between, so that whatever else the machine does disturbs both alike.
        done = 0
        for chunk in read_chunks(many):
            yield chunk
            done += len(chunk)
            if done * PAUSES >= frames * (len(pauses) + 1):
                pauses.append(_seconds(read_chunks(few), folder / "small"))

    seconds = _seconds(with_pauses(), folder / "large") - sum(pauses)
    small = sum(pauses) / len(pauses)
    per_frame = seconds / frames
    return {
        "frames": frames,
        "frames_per_s": 1 / per_frame,
        "small_frames_per_s": small_frames / small,
        "growth": per_frame / (small / small_frames),
        "peak_memory_mb": round(peak_memory_mb()),
        "file_mb": round(many.stat().st_size / 2**20),
        "store_mb": round(sum(f.stat().st_size for f in (folder / "large").iterdir()) / 2**20),
    }


def _seconds(chunks: Iterator[FrameTable], folder: Path) -> float:
    start = time.process_time()
    build_graphs_on_disk(chunks, folder)
    return time.process_time() - start


def peak_memory_mb() -> float:
    """Largest resident memory of this process since it began."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: what getrusage says may be the peak of the parent process.
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_measure(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])))
