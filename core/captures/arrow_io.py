"""Frame tables as Arrow IPC files, without loss: memory-mapped when read."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.captures.frame_table import FrameTable, Skipped
from core.errors import CaptureError
from core.files import atomic_path

NAME = "arrow"
MAGIC = b"ARROW1"
VERSION = 1
_KEY = b"canfusion.frames"
_TYPES = {
    "timestamp": pa.float64(),
    "arbitration_id": pa.uint32(),
    "flags": pa.uint8(),
    "length": pa.uint8(),
    "label": pa.uint8(),
    "attack": pa.int16(),
}


def sniff(head: bytes) -> float:
    """1 for an Arrow IPC file."""
    return float(head.startswith(MAGIC))


def to_arrow(table: FrameTable) -> pa.Table:
    """The frames as an Arrow table; all that is not a column goes into its metadata."""
    width = table.payload.shape[1]
    payload = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width),
        len(table),
        [None, pa.py_buffer(np.ascontiguousarray(table.payload, np.uint8))],
    )
    columns = {name: pa.array(getattr(table, name), kind) for name, kind in _TYPES.items()}
    metadata = {
        "version": VERSION,
        "attack_names": table.attack_names,
        "labelled": table.labelled,
        "format": table.format,
        "time": table.time,
        "skipped": {"counts": table.skipped.counts, "examples": table.skipped.examples},
        "warnings": table.warnings,
    }
    return pa.table({**columns, "payload": payload}).replace_schema_metadata(
        {_KEY: json.dumps(metadata)}
    )


def from_arrow(table: pa.Table) -> FrameTable:
    """The frame table that :func:`to_arrow` was given.

    Raises:
        CaptureError: if this is no such table.
    """
    metadata = _metadata(table)
    columns = {name: _column(table, name, kind) for name, kind in _TYPES.items()}
    kind = table.schema.field("payload").type if "payload" in table.schema.names else None
    if not (isinstance(kind, pa.FixedSizeBinaryType) and kind.byte_width in (8, 64)):
        raise CaptureError(f"column payload is {kind}, expected fixed_size_binary[8 or 64]")
    chunk = _one_chunk(table["payload"])
    raw = np.frombuffer(chunk.buffers()[1] or b"", np.uint8)
    start = chunk.offset * kind.byte_width
    payload = raw[start : start + len(chunk) * kind.byte_width].reshape(-1, kind.byte_width)
    names = metadata["attack_names"]
    attack, length = columns["attack"], columns["length"]
    if len(attack) and not (attack.min() >= -1 and attack.max() < len(names)):
        raise CaptureError(f"attack numbers beyond the {len(names)} attack names")
    if length.max(initial=0) > kind.byte_width:
        raise CaptureError(f"lengths beyond the {kind.byte_width} payload bytes")
    skipped = metadata["skipped"]
    return FrameTable(
        **columns,
        payload=payload,
        attack_names=tuple(names),
        labelled=metadata["labelled"],
        format=metadata["format"],
        time=metadata["time"],
        skipped=Skipped(skipped["counts"], tuple((n, r, t) for n, r, t in skipped["examples"])),
        warnings=tuple(metadata["warnings"]),
    )


def save(table: FrameTable, path: Path) -> None:
    """Write a frame table, atomically.

    Raises:
        StorageError: if it cannot be written.
    """
    frames = to_arrow(table)
    with (
        atomic_path(path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, frames.schema) as writer,
    ):
        writer.write_table(frames)


def load(path: Path) -> FrameTable:
    """Map a frame table that :func:`save` wrote. The columns are read-only.

    Raises:
        CaptureError: if it is missing, truncated, or something else.
    """
    try:
        # The mapping must outlive this function: the columns keep it alive.
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        frames = from_arrow(table)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaptureError(f"{path}: not a readable Arrow file: {reason}") from error
    except CaptureError as error:
        raise CaptureError(f"{path}: not a saved capture: {error}") from error
    if not len(frames):
        raise CaptureError(f"{path}: no frames in it")
    return frames


def _metadata(table: pa.Table) -> dict[str, Any]:
    raw = (table.schema.metadata or {}).get(_KEY)
    if raw is None:
        raise CaptureError(f"expected the metadata {_KEY.decode()}, got none")
    try:
        metadata = json.loads(raw)
        version = metadata["version"]
        complete = {
            "attack_names", "labelled", "format", "time", "skipped", "warnings"
        } <= metadata.keys()  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CaptureError("damaged metadata") from error
    if version != VERSION or not complete:
        raise CaptureError(f"expected version {VERSION}, got {version!r}")
    return dict(metadata)


def _column(table: pa.Table, name: str, kind: pa.DataType) -> npt.NDArray[Any]:
    got = table.schema.field(name).type if name in table.schema.names else "missing"
    if got != kind or table[name].null_count:
        raise CaptureError(f"column {name} is {got}, expected {kind} without nulls")
    return np.asarray(_one_chunk(table[name]).to_numpy(zero_copy_only=True))


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    chunks = column.chunks
    return chunks[0] if len(chunks) == 1 else column.combine_chunks()
