"""Graphs of the captures of a data set, kept on disk by content and made several at a time.

Knows nothing of torch: the processes that build graphs need not load it.
"""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import joblib

from core.cache.fingerprint import code_version
from core.captures.dataset import Capture
from core.captures.frame_table import FrameTable
from core.captures.readers import read_chunks
from core.config import FusionDataConfig, WindowConfig
from core.errors import CacheError, CaptureError, ConfigError, ShortCaptureError
from core.graphs.build import build_graphs_on_disk
from core.graphs.store import GraphStore
from core.progress import Reporter
from core.workspace import Workspace


def graph_store(
    capture: Capture,
    window: WindowConfig,
    workspace: Workspace,
    reporter: Reporter | None = None,
) -> GraphStore | None:
    """Graphs of one capture, from disk where they were built before; None if it is too short.

    Raises:
        CaptureError: if the capture cannot be read.
    """
    # The file's name counts because it may name the attack.
    parts = (capture.content, capture.name, repr(window), code_version())
    folder = workspace.graphs / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    if folder.exists():
        try:
            return GraphStore.load(folder)
        except CacheError:
            pass  # Damaged: it is built anew and takes the damaged one's place.

    def build(width: int | None = None) -> GraphStore:
        chunks = _chunks(capture.path, width)
        return build_graphs_on_disk(chunks, folder, window, width=width, reporter=reporter)

    try:
        try:
            return build()
        except _Wider:
            return build(width=64)
    except ShortCaptureError:
        return None
    except CaptureError as error:
        named = str(error).startswith(str(capture.path))
        raise error if named else CaptureError(f"{capture.path}: {error}") from error


class _Wider(Exception):
    """A capture's first CAN FD frame comes late: all its graphs need the wider payloads."""


def _chunks(path: Path, width: int | None) -> Iterator[FrameTable]:
    for chunk in read_chunks(path):
        width = width or chunk.payload.shape[1]
        if chunk.payload.shape[1] > width:
            raise _Wider
        yield chunk


def build_in_parallel(
    captures: Sequence[Capture], config: FusionDataConfig, workspace: Workspace
) -> Generator[None]:
    """Yields once per capture, in order: when its graphs are on disk, or it is the caller's turn.

    With ``config.jobs`` above 1 so many captures are worked on at a time. Closing the generator
    starts no further one; those being worked on are finished and kept.

    Raises:
        CaptureError: if a capture cannot be read.
        ConfigError: if joblib does not know the back end.
    """
    if config.jobs == 1:
        for _ in captures:
            yield
        return
    closed = False

    def tasks() -> Generator[Any]:
        for capture in captures:
            if closed:
                return
            yield joblib.delayed(_build)(capture, config.detector.window, workspace)

    try:
        parallel = joblib.Parallel(
            n_jobs=config.jobs,
            backend=config.backend,
            return_as="generator",
            batch_size=1,
            pre_dispatch=config.jobs,
        )
    except (ValueError, ImportError) as error:
        raise ConfigError(f"no joblib back end {config.backend!r}: {error}") from error
    finished = parallel(tasks())
    try:
        for _ in finished:
            yield
    finally:
        closed = True
        for _ in finished:
            pass


def _build(capture: Capture, window: WindowConfig, workspace: Workspace) -> None:
    graph_store(capture, window, workspace)  # It stays on disk, nothing is sent back.
