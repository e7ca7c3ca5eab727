"""Graphs of attacks rehearsed on the clean traffic of training captures.

Knows nothing of torch, like :mod:`core.graphs.cached`.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.cache.fingerprint import code_version
from core.captures.dataset import Capture
from core.captures.frame_table import FrameTable, frames_of
from core.captures.readers import read_chunks
from core.captures.rehearsal import KINDS, TAUGHT, clean_run, rehearse
from core.config import WindowConfig
from core.errors import CacheError, ShortCaptureError
from core.graphs.build import build_graphs_on_disk
from core.graphs.store import GraphStore
from core.workspace import Workspace

SPLIT = "train_rehearsed"
"""Split folder that rehearsed captures seem to lie in."""
STRETCH_WINDOWS = 600
"""Windows of traffic that one kind of attack is rehearsed on."""
CLEAR_SHARE = 0.03
"""Of a window's frames: an attack of fewer is no lesson but in false alarms, such as one or two
frames at the edge of a burst."""
FEWEST_WINDOWS = 100
"""A stretch with fewer windows than this is no use."""


@dataclass(frozen=True)
class Rehearsal:
    """One kind of attack acted out on a stretch of a recorded capture."""

    of: str
    """Key of the recorded capture, ``split/file``."""
    kind: str
    half: int
    """Half of the recorded capture that the stretch lies in, 0 or 1: cross-fitting may cut it."""
    number: int
    taught: bool = False
    """Whether the GAT learns from it, and not only the agent."""

    @property
    def key(self) -> str:
        """Key among the captures of the data set."""
        file = self.of.split("/", 1)[1]
        return f"{SPLIT}/{self.number:02d} {self.kind} on {file}"


def plan_rehearsals(
    captures: Sequence[str], count: int, seed: int, for_gat: bool
) -> list[Rehearsal]:
    """``count`` rehearsals, their kinds, captures and halves dealt out evenly.

    Args:
        for_gat: the GAT learns from those that a classifier can be taught.
    """
    rng = np.random.default_rng(seed)
    dealt = np.arange(count)
    which, half = rng.permutation(dealt % max(len(captures), 1)), rng.permutation(dealt % 2)
    if not captures:
        return []
    kinds = [KINDS[i % len(KINDS)] for i in range(count)]
    return [
        Rehearsal(captures[int(which[i])], kind, int(half[i]), i, for_gat and kind in TAUGHT)
        for i, kind in enumerate(kinds)
    ]


def rehearsed_store(
    rehearsal: Rehearsal,
    capture: Capture,
    window: WindowConfig,
    workspace: Workspace,
    seed: int,
) -> GraphStore | None:
    """Graphs of one rehearsal, from disk where they were built before; None if it is too short.

    Of a capture larger than memory the first piece is used.

    Raises:
        CaptureError: if the capture cannot be read.
    """
    played = (rehearsal.of, rehearsal.kind, rehearsal.half, rehearsal.number)
    parts = (capture.content, capture.name, repr((window, played, seed)), code_version())
    folder = workspace.graphs / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    if folder.exists():
        try:
            return GraphStore.load(folder)
        except CacheError:
            pass  # Damaged: it is built anew and takes the damaged one's place.
    table = _stretch(next(iter(read_chunks(capture.path))), rehearsal.half, window, seed)
    if len(table) < FEWEST_WINDOWS * window.size or table.time == "missing":
        return None
    rehearsed = rehearse(table, rehearsal.kind, seed + rehearsal.number)
    try:
        return build_graphs_on_disk(iter([rehearsed]), folder, window)
    except ShortCaptureError:
        return None


def _stretch(table: FrameTable, half: int, window: WindowConfig, seed: int) -> FrameTable:
    """A stretch drawn from one half of the longest clean run."""
    run = clean_run(table)
    middle = (run.start + run.stop) // 2
    low, high = ((run.start, middle), (middle, run.stop))[half]
    frames = min(high - low, STRETCH_WINDOWS * window.size)
    start = low + int(np.random.default_rng(seed).integers(high - low - frames + 1))
    return frames_of(table, slice(start, start + frames))
