"""What is known of one window beyond its scores: its frames, and why it stood out."""

import functools
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.captures.excerpt import read_excerpt
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE, FrameTable
from core.config import FusionConfig
from core.errors import InputError
from core.progress import SilentReporter
from core.workspace import Workspace

REHEARSED = "rehearsed/"
"""Begins the name of a capture on which attacks were acted out; it is no file."""
KINDS = {EXTENDED: "extended", REMOTE: "remote", ERROR: "error", FD: "FD"}
EXPLAINED_IDS = 12


def capture_file(workspace: Workspace, dataset: str, config: FusionConfig, capture: str) -> Path:
    """The file of a capture (``split/file``).

    Raises:
        InputError: if it is on disk no longer, or never was.
    """
    if capture.startswith(REHEARSED):
        raise InputError(
            "this window is of an attack that was acted out on clean traffic while training: "
            "there is no recording of it"
        )
    parts = Path(capture).parts
    roots = [workspace.datasets / dataset]
    if Path(config.data.dataset).is_absolute():
        roots.append(Path(config.data.dataset))
    for root in roots:
        path = root / capture
        if ".." not in parts and len(parts) == 2 and path.is_file():
            return path
    raise InputError(f"the capture {capture} is no longer in the data set {dataset}")


def frames_of_window(path: Path, row: pd.Series, config: FusionConfig) -> FrameTable:
    """The frames of a window; kept, as looking for them takes a while in a long capture.

    Args:
        row: ``first_frame``, ``start_time`` and ``end_time`` (s) of the window.

    Raises:
        InputError: if the capture cannot be read, or is another one than that of the run.
    """
    if "first_frame" not in row:
        raise InputError("this run is of a version that did not keep where its windows lie")
    window = config.data.detector.window
    by_time = bool(window.duration_s)
    frames = excerpt(
        path,
        path.stat().st_mtime_ns,
        int(row["first_frame"]),
        None if by_time else window.size,
        float(row["end_time"]) if by_time else None,
    )
    if abs(float(frames.timestamp[0]) - float(row["start_time"])) > 1e-3:
        raise InputError(
            f"{path.name} has changed since this run: its frame {int(row['first_frame'])} is at "
            f"{frames.timestamp[0]:.3f} s, expected {float(row['start_time']):.3f} s"
        )
    return frames


@st.cache_resource(max_entries=64, show_spinner="Looking for the frames in the capture")
def excerpt(
    path: Path, stamp: int, first: int, frames: int | None, end_time: float | None
) -> FrameTable:
    """:func:`core.captures.excerpt.read_excerpt`, kept until the file changes. Do not change it.

    Args:
        stamp: when the file was changed last.
    """
    return read_excerpt(path, first, frames, end_time)


def id_text(arbitration_id: int, extended: bool) -> str:
    """``0x1F0``, with eight digits if it has 29 bits."""
    return f"0x{arbitration_id:0{8 if extended else 3}X}"


def id_texts(frames: FrameTable) -> list[str]:
    """The id of each frame, as text."""
    extended = (frames.flags & EXTENDED) > 0
    ids = zip(frames.arbitration_id.tolist(), extended.tolist(), strict=True)
    return [id_text(*one) for one in ids]


def frame_rows(frames: FrameTable, first: int) -> pd.DataFrame:
    """One row per frame, times from the window's start."""
    attack = [frames.attack_names[a] if a >= 0 else "" for a in frames.attack.tolist()]
    truth = [
        (name or "attack") if label else ""
        for name, label in zip(attack, frames.label.tolist(), strict=True)
    ]
    kinds = [
        ", ".join(kind for bit, kind in KINDS.items() if flags & bit)
        for flags in frames.flags.tolist()
    ]
    payload = [
        bytes(row[:length]).hex(" ").upper()
        for row, length in zip(frames.payload, frames.length.tolist(), strict=True)
    ]
    return pd.DataFrame(
        {
            "Frame": first + pd.RangeIndex(len(frames)).to_series(),
            "Time (ms)": (frames.timestamp - frames.timestamp[0]) * 1000,
            "ID": id_texts(frames),
            "Length": frames.length,
            "Payload": payload,
            "Kind": kinds,
            "Attack": truth,
        }
    )


def explanation(
    workspace: Workspace, config: FusionConfig, dataset: str, capture: str, window: int
) -> dict[str, Any]:
    """Why a window stood out: as :func:`core.cli.explain.explain_capture` tells of one window.

    Loads both detectors, and torch with them, on first use.

    Raises:
        InputError: if the data set, the capture or the detectors are not there any more.
    """
    protocol = config.data.detector.protocol
    trained = workspace.detectors(dataset, protocol) / "detectors.json"
    stamp = trained.stat().st_mtime_ns if trained.is_file() else 0
    name = dataset if (workspace.datasets / dataset).is_dir() else config.data.dataset
    return _explanation(workspace.root, name, capture, protocol, window, stamp)


@st.cache_resource(max_entries=64, show_spinner="Asking both detectors why")
def _explanation(
    root: Path, dataset: str, capture: str, protocol: str, window: int, stamp: int
) -> dict[str, Any]:
    _one_thread()
    from core.cli.explain import explain_capture

    return explain_capture(
        dataset,
        capture,
        protocol,
        Workspace(root),
        windows=[window],
        ids=EXPLAINED_IDS,
        device="cpu",
        reporter=SilentReporter(),
    )


@functools.cache
def _one_thread() -> None:
    """Leave the other cores to pages and runs, unless a run has set how many threads it uses."""
    import sys

    if "torch" not in sys.modules:
        import torch

        torch.set_num_threads(1)
