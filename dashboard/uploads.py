"""Capture files from a browser: nothing about them is trusted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from core.captures.readers import read_capture
from core.errors import CaptureError, DatasetError
from core.files import atomic_path
from core.workspace import Workspace, valid_name
from dashboard.datasets import DEMO
from dashboard.formatting import size

SPLITS = (
    "train_01_attack_free",
    "train_02_with_attacks",
    "test_01_known_vehicle_known_attack",
    "test_02_unknown_vehicle_known_attack",
    "test_03_known_vehicle_unknown_attack",
    "test_04_unknown_vehicle_unknown_attack",
)
"""Split folders that are offered; any name that begins with train_ or test_ is taken."""


class Upload(Protocol):
    """What Streamlit hands over."""

    name: str
    size: int

    def getbuffer(self) -> memoryview: ...


def save_upload(
    upload: Upload, dataset: str, split: str, workspace: Workspace, limit_bytes: int
) -> str:
    """Check one file by size, name and content, and add it to a data set; returns what it holds.

    Raises:
        CaptureError: if it is too large, empty or no capture.
        DatasetError: if a name is not allowed, or taken already.
        StorageError: if it cannot be written.
    """
    if valid_name(dataset) == DEMO:
        raise DatasetError("the demo data set is made by the simulator: choose another name")
    if not valid_name(split, "split").startswith(("train_", "test_")):
        raise DatasetError(f"a split begins with train_ or test_, got {split!r}")
    # Some browsers send the whole path; none of it but the last part may count.
    name = valid_name(Path(upload.name.replace("\\", "/")).name, "capture")
    if not 0 < upload.size <= limit_bytes:
        raise CaptureError(
            f"{name}: expected 1 byte to {size(limit_bytes)}, got {size(upload.size)}"
        )
    target = workspace.datasets / dataset / split / name
    if target.exists():
        raise DatasetError(f"{split}/{name} is already part of {dataset}")
    with atomic_path(target) as temporary:
        temporary.write_bytes(upload.getbuffer())
        try:
            frames = read_capture(temporary)
        except CaptureError as error:
            raise CaptureError(str(error).replace(str(temporary), name)) from error
    attacked = int(frames.label.sum())
    return f"{name}: {len(frames):,} frames, {attacked:,} of them attacked"


def save_uploads(
    uploads: Sequence[Upload], dataset: str, split: str, workspace: Workspace, limit_bytes: int
) -> tuple[list[str], list[str]]:
    """:func:`save_upload` for several files: what was added, and what was refused and why."""
    added: list[str] = []
    refused: list[str] = []
    for upload in uploads:
        try:
            added.append(save_upload(upload, dataset, split, workspace, limit_bytes))
        except (CaptureError, DatasetError) as error:
            refused.append(str(error))
    return added, refused
