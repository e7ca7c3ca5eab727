"""Frame tables as Arrow IPC files, without loss: memory-mapped when read."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.captures.frame_table import FrameTable, Skipped
from core.captures.rows import CHUNK_FRAMES
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


def is_saved(schema: pa.Schema) -> bool:
    """Whether a table of this schema was made by :func:`to_arrow`."""
    return _KEY in (schema.metadata or {})


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
        pa.OSFile(os.fsencode(temporary), "wb") as sink,
        pa.ipc.new_file(sink, frames.schema) as writer,
    ):
        writer.write_table(frames, max_chunksize=CHUNK_FRAMES)


def load(path: Path) -> FrameTable:
    """Map a frame table that :func:`save` wrote. The columns are read-only.

    Of a capture in several chunks they are a copy.

    Raises:
        CaptureError: if it is missing, truncated, or something else.
    """
    with _reading(path):
        # The mapping must outlive this function: the columns keep it alive.
        frames = from_arrow(pa.ipc.open_file(pa.memory_map(os.fsencode(path))).read_all())
    if not len(frames):
        raise CaptureError(f"{path}: no frames in it")
    return frames


def save_chunks(chunks: Iterable[FrameTable], path: Path) -> None:
    """Write a capture larger than memory, chunk by chunk, atomically; :func:`load` reads it too.

    What is not a column (attack names, warnings, ...) is that of the first chunk.

    Raises:
        CaptureError: if there is no chunk, or chunks differ in width or attack names.
        StorageError: if it cannot be written.
    """
    first: FrameTable | None = None
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_path(path))
        sink = stack.enter_context(pa.OSFile(os.fsencode(temporary), "wb"))
        for chunk in chunks:
            table = to_arrow(chunk)
            if first is None:
                first = chunk
                writer = stack.enter_context(pa.ipc.new_file(sink, table.schema))
            elif (
                chunk.attack_names != first.attack_names
                or chunk.payload.shape[1] != first.payload.shape[1]
            ):
                raise CaptureError(f"{path}: chunks of one capture differ in width or attack names")
            writer.write_table(table)
        if first is None:
            raise CaptureError(f"{path}: no frames to write")


def as_in(chunk: FrameTable, last: FrameTable, width: int) -> FrameTable:
    """A chunk with payloads of ``width`` bytes and what the last chunk says of the capture.

    :func:`save_chunks` writes such chunks as :func:`save` writes the capture at once.
    """
    columns = ("timestamp", "arbitration_id", "flags", "length", "label", "attack")
    payload = np.pad(chunk.payload, ((0, 0), (0, width - chunk.payload.shape[1])))
    return replace(last, payload=payload, **{name: getattr(chunk, name) for name in columns})


def load_chunks(path: Path) -> Iterator[FrameTable]:
    """The chunks that :func:`save_chunks` wrote, each read when it is asked for.

    Raises:
        CaptureError: as :func:`load`.
    """
    with _reading(path), pa.OSFile(os.fsencode(path)) as source:
        reader = pa.ipc.open_file(source)
        frames = 0
        for number in range(reader.num_record_batches):
            chunk = from_arrow(pa.Table.from_batches([reader.get_batch(number)]))
            frames += len(chunk)
            yield chunk
    if not frames:
        raise CaptureError(f"{path}: no frames in it")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Says of which file it is that something is wrong."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CaptureError(f"{path}: not a readable Arrow file: {reason}") from error
    except CaptureError as error:
        raise CaptureError(f"{path}: not a saved capture: {error}") from error


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
