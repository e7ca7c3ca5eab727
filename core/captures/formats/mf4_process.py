"""Reads MDF files with asammdf, each in a process of its own, for :mod:`core.captures.formats.mf4`.

asammdf believes what a file says of itself: a damaged one makes it raise anything, print, leave
temporary files behind, run for ever, fill the memory, or crash the interpreter. So this process
loads the library, once, and for each file makes a copy of itself (fork), limited in memory and
processor time, which may fail in any way: its output ends early then, and a log says why.

Started with the number of a socket, on which requests come: a JSON object (``path``; ``folder`` for
temporary files and the log; ``limit`` of bytes or null) along with a file to write to. Written
there are lines of JSON: ``frames`` and ``width``, followed by the columns' bytes; at last ``error``
or ``buses`` and ``skipped``.
"""

import gc
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.formats.pieces import PIECE_FRAMES
from core.captures.frame_table import ERROR, EXTENDED, FD, REMOTE
from core.captures.rows import (
    EXTENDED_MAX,
    STANDARD_MAX,
    Buses,
    Columns,
    Quarantine,
    concatenate,
)
from core.captures.text import unpacked_limit
from core.errors import CaptureError

KINDS = {"CAN_DataFrame": 0, "CAN_RemoteFrame": REMOTE, "CAN_ErrorFrame": ERROR}
COLUMNS = ("timestamp", "arbitration_id", "flags", "length", "payload")
RECORDS = PIECE_FRAMES
"""Records of a group read at a time."""
CPU_S, CPU_S_PER_MB = 10, 10
"""Processor time for a file: far more than a sound one takes, packed as densely as may be."""


def serve(link: socket.socket) -> None:
    """Answer requests for as long as there is someone to ask."""
    import asammdf  # noqa: F401 - so that the copies have it

    logging.disable(logging.CRITICAL)  # asammdf logs the traceback of whatever it raises.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # Nobody waits for the copies.
    gc.freeze()  # So that the copies share what is loaded: the collector would write to all of it.
    while True:
        request, files, _, _ = socket.recv_fds(link, 1 << 16, 1)
        if not request:
            return
        if not os.fork():
            link.close()
            _answer(json.loads(request), files[0])
            os._exit(0)
        os.close(files[0])


def _answer(request: dict[str, Any], file: int) -> None:
    """Read one file, in a process that does nothing else."""
    path, folder = Path(request["path"]), Path(request["folder"])
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, sys.stdout.fileno())
    os.dup2(log, sys.stderr.fileno())
    sys.excepthook = _fail
    _limit_self(path.stat().st_size)
    buses, quarantine = Buses(), Quarantine()
    # Closed by the end of the process, by which time the log has its reason.
    out = os.fdopen(file, "wb")
    last: dict[str, Any]
    try:
        for part in read_parts(path, folder, request["limit"], buses, quarantine):
            first = {"frames": len(part.timestamp), "width": part.payload.shape[1]}
            out.write(json.dumps(first).encode() + b"\n")
            for name in COLUMNS:
                out.write(np.ascontiguousarray(getattr(part, name)).data)
        last = {"buses": list(buses.names), "skipped": vars(quarantine)}
    except CaptureError as error:
        last = {"error": str(error)}
    out.write(json.dumps(last).encode() + b"\n")
    out.flush()


def _fail(kind: type[BaseException], error: BaseException, _: Any) -> None:
    """Say what is wrong and end at once: objects that are half built complain when they go."""
    text = str(error).strip() or kind.__name__
    sys.stderr.write(f"\n{text.splitlines()[0]}\n")
    sys.stderr.flush()
    os._exit(1)


def _limit_self(file_size: int) -> None:
    """Bound the memory and the processor time of this process."""
    used = Path("/proc/self/statm")
    pages = int(used.read_text().split()[0]) if used.exists() else 1 << 20
    memory = pages * resource.getpagesize() + file_size + 2 * unpacked_limit()
    seconds = CPU_S + CPU_S_PER_MB * (file_size >> 20)
    limits = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_CORE: 0,  # Nobody looks at the remains of a crash.
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, hard))


def read_parts(
    path: Path, folder: Path, limit: int | None, buses: Buses, quarantine: Quarantine
) -> Iterator[Columns]:
    """The frames of all groups in the order of time, some at a time.

    Args:
        folder: for temporary files, some of which stay there.
        limit: bytes that all frames may unpack to.

    Raises:
        CaptureError: if they unpack to more. Anything else, if the file is damaged.
    """
    from asammdf import MDF

    # Bus logging is taken apart here, not by the library.
    options: dict[str, Any] = {"temporary_folder": folder, "process_bus_logging": False}
    mdf: Any
    with MDF(path, **options) as mdf:
        found = [
            (index, name)
            for index, group in enumerate(mdf.groups)
            for name in KINDS
            if group.channel_group.cycles_nr
            and name in {channel.name for channel in group.channels}
        ]
        groups = [mdf.groups[index].channel_group for index, _ in found]
        size = sum(group.cycles_nr * group.samples_byte_nr for group in groups)
        if limit is not None and size > max(limit, path.stat().st_size):
            raise CaptureError(
                f"{path}: unpacks to {size >> 20} MiB, more than {limit >> 20}, a quarter of the "
                "memory; split it up"
            )
        start = mdf.header.start_time.timestamp()
        for part in merge([_group(mdf, *group, buses, quarantine) for group in found]):
            part.timestamp = part.timestamp + start
            yield part


def _group(
    mdf: Any, index: int, name: str, buses: Buses, quarantine: Quarantine
) -> Iterator[Columns]:
    """The frames of one channel group, some at a time."""
    group = mdf.groups[index]
    channels = {c.name: c for c in group.channels if c.name.startswith(f"{name}.")}
    in_bytes = all(c.bit_offset == 0 and c.bit_count % 8 == 0 for c in channels.values())
    for first in range(0, group.channel_group.cycles_nr, RECORDS):
        get = partial(mdf.get, group=index, raw=True, record_offset=first, record_count=RECORDS)
        frames = get(name)
        if not len(frames.timestamps):
            return  # The group says that it has more.
        # All parts at once where they are whole bytes, else each by itself.
        there = (in_bytes and frames.samples.dtype.names) or ()
        part = {
            channel.removeprefix(f"{name}."): np.asarray(
                frames.samples[channel] if channel in there else get(channel).samples
            )
            for channel in channels
        }
        for bus in np.unique(part.get("BusChannel", ())).tolist():
            buses.see(str(bus))
        columns, good = _columns(KINDS[name], np.asarray(frames.timestamps, np.float64), part)
        for at in np.flatnonzero(~good).tolist():
            at += first
            quarantine.add(at + 1, "frame contradicts itself", f"{name} {at}")
        yield columns.select(good)


def _columns(
    kind: int, times: npt.NDArray[np.float64], part: dict[str, npt.NDArray[Any]]
) -> tuple[Columns, npt.NDArray[np.bool_]]:
    """Frames of one kind, and which of them agree with themselves ``[F]``."""
    columns = Columns.empty(len(times))
    columns.timestamp = times
    columns.flags[:] = kind
    good = np.isfinite(times)
    if "ID" in part and not kind & ERROR:
        number = part["ID"].astype(np.int64) & 0x7FFF_FFFF
        good &= number <= EXTENDED_MAX
        columns.arbitration_id = np.where(good, number, 0).astype(np.uint32)
        extended = columns.arbitration_id > STANDARD_MAX
        if "IDE" in part:
            extended |= part["IDE"] != 0
        columns.flags[extended] |= EXTENDED
    length = part.get("DataLength")
    if "DLC" in part and (length is None or kind & REMOTE):
        # A remote frame has no data; what it asks for is its DLC.
        length = np.minimum(part["DLC"], 8)
    if length is not None:
        good &= (length >= 0) & (length <= 64)
        columns.length = np.where(good, length, 0).astype(np.uint8)
    if "EDL" in part and not kind:
        columns.flags[part["EDL"] != 0] |= FD
    data = part.get("DataBytes")
    if data is not None and data.ndim == 2 and not kind & REMOTE:
        width = 64 if columns.length.max(initial=0) > 8 else 8
        columns.payload = np.zeros((len(times), width), np.uint8)
        columns.payload[:, : data.shape[1]] = data[:, :width]
        columns.payload[np.arange(width) >= columns.length[:, None]] = 0
    return columns, good


def merge(streams: Sequence[Iterator[Columns]]) -> Iterator[Columns]:
    """Frames of several streams in the order of time, those of each stream in its own order.

    A frame whose time goes back counts as one of the latest time before it. Of equal times, the
    first stream's frames come first. Needs memory for one part of each stream.
    """
    if len(streams) == 1:
        yield from streams[0]
        return
    kept = [Columns.empty(0) for _ in streams]
    times = [np.zeros(0) for _ in streams]
    latest = [-np.inf for _ in streams]
    while min(latest, default=np.inf) < np.inf:
        behind = latest.index(min(latest))
        part = next(streams[behind], None)
        if part is None:
            latest[behind] = np.inf
        elif len(part.timestamp):
            grown = np.maximum.accumulate(np.append(latest[behind], part.timestamp))[1:]
            kept[behind] = concatenate([kept[behind], part])
            times[behind] = np.concatenate([times[behind], grown])
            latest[behind] = grown[-1]
        # Of frames before this time, no stream has any more to come.
        ready = [int(np.searchsorted(time, min(latest))) for time in times]
        if sum(ready):
            whole = concatenate([_rows(c, slice(0, n)) for c, n in zip(kept, ready, strict=True)])
            order = np.concatenate([t[:n] for t, n in zip(times, ready, strict=True)])
            kept = [_rows(c, slice(n, None)) for c, n in zip(kept, ready, strict=True)]
            times = [t[n:] for t, n in zip(times, ready, strict=True)]
            yield whole if max(ready) == sum(ready) else _rows(whole, order.argsort(kind="stable"))


def _rows(columns: Columns, rows: slice | npt.NDArray[np.intp]) -> Columns:
    return Columns(*(getattr(columns, name)[rows] for name in Columns.__dataclass_fields__))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
