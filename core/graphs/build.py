"""From frames to graphs: group-by over thousands of frames at once, no loop over windows or frames.

A capture passes through in chunks, so that it need not fit into memory: what a chunk owes to those
before it (the last frame of every id, frames of an unfinished window) is carried over, and the
result does not depend on where the chunks end.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.captures.frame_table import FrameTable, frames_of
from core.config import WindowConfig
from core.errors import CaptureError, ShortCaptureError
from core.graphs.behaviour import FrameBehaviour, FrameComparer, distinct, identifiers
from core.graphs.store import (
    EDGE_FEATURES,
    NODE_FEATURES,
    WINDOW_FEATURES,
    GraphStore,
    write_graph_store,
)
from core.graphs.windows import windows_of
from core.progress import Reporter, SilentReporter

CHUNK_FRAMES = 20_000
"""Frames worked on at once: large enough to hide call overhead, small enough to stay in cache."""

TIME_FLOOR = 1e-6
"""Seconds below which differences of time stamps are noise."""


def build_graphs(table: FrameTable, config: WindowConfig | None = None) -> GraphStore:
    """Turn every window of a capture into a graph.

    Windows of fewer than two frames, which have no transition, are left out.

    Raises:
        ShortCaptureError: if the capture holds no window.
        CaptureError: if windows by time are asked of a capture without times.
    """
    config = config or WindowConfig()
    parts = list(_parts([table], config, None, SilentReporter()))
    if not parts:
        raise ShortCaptureError(_too_short(len(table), config))
    return replace(GraphStore.join(parts), warnings=table.warnings)


def build_graphs_on_disk(
    chunks: Iterable[FrameTable],
    folder: Path,
    config: WindowConfig | None = None,
    *,
    width: int | None = None,
    reporter: Reporter | None = None,
) -> GraphStore:
    """:func:`build_graphs` for a capture that comes in chunks, written to ``folder`` as it grows.

    Memory is needed for one chunk, one window and what is remembered of each id, not for the
    capture. The result equals that of all frames at once.

    Args:
        chunks: the capture's frames, in order; of any number each.
        width: bytes of the capture's widest payloads, 8 or (CAN FD) 64, where that is more than
            those of the first chunk.

    Returns:
        The store, mapped into memory.

    Raises:
        ShortCaptureError: if the capture holds no window; nothing is written then.
        CaptureError: if a chunk's payloads are wider than ``width``, or windows by time are asked
            of a capture without times.
        JobStopped: if the reporter says so; nothing is written then.
    """
    config = config or WindowConfig()
    with write_graph_store(folder) as writer:
        frames = 0

        def counted() -> Iterator[FrameTable]:
            nonlocal frames
            for table in chunks:
                frames += len(table)
                writer.warnings = table.warnings  # The last chunk's tell of all.
                yield table

        for part in _parts(counted(), config, width, reporter or SilentReporter()):
            writer.append(part)
        if not writer.windows:
            raise ShortCaptureError(_too_short(frames, config))
    return GraphStore.load(folder)


def _too_short(frames: int, config: WindowConfig) -> str:
    return f"capture of {frames} frames: expected at least one window of {config.length}"


def _parts(
    chunks: Iterable[FrameTable], config: WindowConfig, width: int | None, reporter: Reporter
) -> Iterator[GraphStore]:
    builder: GraphBuilder | None = None
    # Where windows lie side by side, a multiple of their length leaves no frames to carry over.
    step = max(1, CHUNK_FRAMES // config.stride) * config.stride
    step = min(step, max(CHUNK_FRAMES, config.size))
    for table in chunks:
        if config.duration_s and table.time == "missing":
            raise CaptureError(
                "windows by time need times, and this capture has none; expected duration_s=0, "
                f"windows by number of frames, got {config.duration_s:g} s"
            )
        builder = builder or GraphBuilder(config, width or table.payload.shape[1])
        for start in range(0, len(table), step):
            reporter.check()
            part = builder.add(frames_of(table, slice(start, start + step)))
            if part is not None:
                yield part
    part = builder.finish() if builder else None
    if part is not None:
        yield part


class GraphBuilder:
    """Takes the frames of a capture as they come, gives the graphs of the windows they finish."""

    def __init__(self, config: WindowConfig, width: int = 8) -> None:
        self.config = config
        self._windows = windows_of(config)
        self._comparer = FrameComparer(width)
        self._attack_names: tuple[str, ...] = ()
        self._kept: _Frames | None = None
        """Frames from :attr:`Windows.needed` on."""

    def add(self, table: FrameTable) -> GraphStore | None:
        """Take the next frames; graphs of the windows that are whole now, None if there are none.

        Raises:
            CaptureError: if the payloads are wider than was said.
        """
        if not len(table):
            return None
        first = self._comparer.frames
        identifier = identifiers(table)
        ids, code = distinct(identifier, int(identifier.max()) + 1)
        frames = _Frames(
            first=first,
            identifier=identifier,
            timestamp=table.timestamp,
            length=table.length,
            label=table.label,
            attack=self._attack(table),
            behaviour=self._comparer.compare(table, ids, code),
        )
        if self._kept is not None:
            frames = self._kept.join(frames)
            ids, code = distinct(frames.identifier, int(frames.identifier.max()) + 1)
        begin, end = self._windows.extend(table.timestamp)
        part = self._build(frames, ids, code, begin, end)
        last = self._comparer.frames
        needed = self._windows.needed
        self._kept = None if needed >= last else frames.take(slice(needed - frames.first, None))
        return part

    def finish(self) -> GraphStore | None:
        """After the last frames: the graph of an incomplete window, where it is to be kept."""
        begin, end = self._windows.rest()
        frames = self._kept
        if frames is None or not len(begin):
            return None
        ids, code = distinct(frames.identifier, int(frames.identifier.max()) + 1)
        return self._build(frames, ids, code, begin, end)

    def _build(
        self,
        frames: "_Frames",
        ids: npt.NDArray[np.int64],
        code: npt.NDArray[np.int64],
        begin: npt.NDArray[np.int64],
        end: npt.NDArray[np.int64],
    ) -> GraphStore | None:
        if not len(begin):
            return None
        first, size = begin - frames.first, end - begin
        rows: slice | npt.NDArray[np.int64]
        if (begin[1:] == end[:-1]).all():  # Side by side: no frame needs to be copied.
            rows = slice(int(first[0]), int(first[0] + size.sum()))
        else:
            rows = np.arange(size.sum()) + np.repeat(first - (np.cumsum(size) - size), size)
        return _graphs(
            frames.take(rows), ids, code[rows], size, begin, self._attack_names, self.config
        )

    def _attack(self, table: FrameTable) -> npt.NDArray[np.int16]:
        """Attacks of a chunk by their place among all names so far."""
        names = self._attack_names
        if table.attack_names == names:
            return table.attack
        self._attack_names = (*names, *(n for n in table.attack_names if n not in names))
        # The last entry is for -1, frames that are no attack.
        place = [self._attack_names.index(name) for name in table.attack_names]
        return np.array([*place, -1], np.int16)[table.attack]


class _Frames:
    """What the graphs need to know of some frames in a row."""

    def __init__(
        self,
        *,
        first: int,
        identifier: npt.NDArray[np.int64],
        timestamp: npt.NDArray[np.float64],
        length: npt.NDArray[np.uint8],
        label: npt.NDArray[np.uint8],
        attack: npt.NDArray[np.int16],
        behaviour: FrameBehaviour,
    ) -> None:
        self.first = first
        """Index of the first of them in the capture."""
        self.identifier = identifier
        self.timestamp = timestamp
        self.length = length
        self.label = label
        self.attack = attack
        self.behaviour = behaviour

    def join(self, other: "_Frames") -> "_Frames":
        return _Frames(
            first=self.first,
            identifier=np.concatenate([self.identifier, other.identifier]),
            timestamp=np.concatenate([self.timestamp, other.timestamp]),
            length=np.concatenate([self.length, other.length]),
            label=np.concatenate([self.label, other.label]),
            attack=np.concatenate([self.attack, other.attack]),
            behaviour=self.behaviour.join(other.behaviour),
        )

    def take(self, rows: slice | npt.NDArray[np.int64]) -> "_Frames":
        """Some of the frames; ``first`` is meant for a slice."""
        return _Frames(
            first=self.first + (rows.start if isinstance(rows, slice) else 0),
            identifier=self.identifier[rows],
            timestamp=self.timestamp[rows],
            length=self.length[rows],
            label=self.label[rows],
            attack=self.attack[rows],
            behaviour=self.behaviour.take(rows),
        )


def _graphs(
    frames: _Frames,
    ids: npt.NDArray[np.int64],
    code: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
    first_frame: npt.NDArray[np.int64],
    attack_names: tuple[str, ...],
    config: WindowConfig,
) -> GraphStore:
    """Graphs of ``W`` windows whose frames lie one after another, ``size [W]`` of each."""
    windows, last = len(size), np.cumsum(size) - 1
    first = last - size + 1
    window = np.repeat(np.arange(windows), size)
    # In ascending order, windows one after another and ids within each.
    node_key, node = distinct(window * len(ids) + code, windows * len(ids))
    node_window, node_code = np.divmod(node_key, len(ids))
    node_ptr = np.searchsorted(node_window, np.arange(windows + 1))
    nodes = np.diff(node_ptr)

    # Edges: consecutive frames, grouped by (source, target). The last frame of a window has no
    # successor there: such pairs go to a value above all others.
    most = int(nodes.max())
    local = node - node_ptr[window]
    pair = node[:-1] * most
    pair += local[1:]
    nothing = len(node_key) * most
    pair[last[:-1]] = nothing
    edge_key, edge = distinct(pair, nothing + 1)
    edges = len(edge_key) - (windows > 1)
    edge_source = edge_key[:edges] // most  # Several times faster than divmod.
    target = edge_key[:edges] - edge_source * most
    edge_window = node_window[edge_source]
    edge_ptr = np.searchsorted(edge_window, np.arange(windows + 1))
    edge_size = (size - 1)[edge_window]
    edge_count = np.bincount(edge)[:edges].astype(np.float64)
    delay = np.maximum(np.diff(frames.timestamp), 0.0)
    delay = np.bincount(edge, delay)[:edges]
    base = node_ptr[edge_window]
    edge_index = np.empty((2, edges), np.int32)
    edge_index[0], edge_index[1] = edge_source - base, target
    edge_attr = np.empty((edges, len(EDGE_FEATURES)), np.float32)
    edge_attr[:, 0] = edge_count / edge_size
    edge_attr[:, 1] = np.log10(delay / edge_count + TIME_FLOOR)

    node_size = size[node_window]
    x, count, sums = _node_features(frames, node, node_size)
    x[:, NODE_FEATURES.index("successors")] = np.bincount(edge_source, minlength=len(x)) / node_size
    x[:, NODE_FEATURES.index("predecessors")] = (
        np.bincount(base + target, minlength=len(x)) / node_size
    )

    share = count / node_size
    starts = node_ptr[:-1]
    window_attr = np.empty((windows, len(WINDOW_FEATURES)), np.float32)
    window_attr[:, 0] = nodes / size
    window_attr[:, 1] = -np.add.reduceat(share * np.log(share), starts)
    duration = frames.timestamp[last] - frames.timestamp[first]
    window_attr[:, 2] = np.log10(np.maximum(duration, 0.0) + TIME_FLOOR)
    window_attr[:, 3] = np.diff(edge_ptr) / (size - 1)
    window_attr[:, 4] = np.maximum.reduceat(edge_count, edge_ptr[:-1]) / (size - 1)
    for column, name in ((5, "byte_mean"), (6, "length"), (7, "novel_bytes")):
        window_attr[:, column] = np.add.reduceat(sums[name], starts) / size

    attacked_share = np.bincount(window[frames.label != 0], minlength=windows) / size
    y = (attacked_share > 0) & (attacked_share >= config.attacked_share)
    return GraphStore(
        node_ptr=node_ptr,
        edge_ptr=edge_ptr,
        x=x,
        node_id=ids[node_code],
        edge_index=edge_index,
        edge_attr=edge_attr,
        window_attr=window_attr,
        y=y.astype(np.uint8),
        attacked_share=attacked_share.astype(np.float32),
        attack=_attack(frames.attack, window, y, len(attack_names)),
        start_time=frames.timestamp[first],
        end_time=frames.timestamp[last],
        first_frame=first_frame,
        attack_names=attack_names,
    )


def _node_features(
    frames: _Frames, node: npt.NDArray[np.int64], node_size: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64], dict[str, npt.NDArray[np.float64]]]:
    """``[N, len(NODE_FEATURES)]`` from sums over each node's frames, all but those of edges.

    Returns:
        The features, each node's number of frames, and the sums that windows are made of too.
    """
    behaviour = frames.behaviour
    total = len(node_size)

    def summed(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.bincount(node, values, total)

    count = np.bincount(node, minlength=total).astype(np.float64)
    new = np.flatnonzero(np.isinf(behaviour.interval))
    known = count - np.bincount(node[new], minlength=total)
    seen = np.maximum(known, 1.0)
    never = known == 0
    shortest = np.full(total, np.inf)
    np.minimum.at(shortest, node, behaviour.interval)
    finite = behaviour.interval
    if len(new):
        finite = finite.copy()
        finite[new] = 0.0
    interval = summed(finite) / seen
    gap = summed(behaviour.gap) / seen
    changed = summed(behaviour.changed) / (64.0 * seen)
    changed_square = summed(behaviour.changed * behaviour.changed) / (4096.0 * seen)
    sums = {
        "byte_mean": summed(behaviour.byte_mean),
        "length": summed(frames.length) / 8.0,
        "novel_bytes": summed(behaviour.novel),
    }
    columns = {
        "frame_share": count / node_size,
        "interval_log": np.where(never, 0.0, np.log10(interval + TIME_FLOOR)),
        "interval_variation": _variation(summed(finite * finite) / seen, interval, TIME_FLOOR),
        "interval_min_log": np.where(
            never, 0.0, np.log10(np.where(never, 1.0, shortest) + TIME_FLOOR)
        ),
        "gap_variation": _variation(summed(behaviour.gap * behaviour.gap) / seen, gap, 1e-9),
        "changed_bits": changed,
        "changed_bits_spread": np.sqrt(np.maximum(changed_square - changed**2, 0.0)),
        "all_zero": summed(behaviour.all_zero) / count,
        **{name: value / count for name, value in sums.items()},
        "seen_once": count == 1,
        "first_seen": known < count,
    }
    x = np.empty((total, len(NODE_FEATURES)), np.float32)
    for name, value in columns.items():
        x[:, NODE_FEATURES.index(name)] = value
    return x, count, sums


def _variation(
    mean_square: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], floor: float
) -> npt.NDArray[np.float64]:
    """Coefficient of variation: standard deviation over mean."""
    return np.sqrt(np.maximum(mean_square - mean**2, 0.0)) / (mean + floor)


def _attack(
    attack: npt.NDArray[np.int16],
    window: npt.NDArray[np.int64],
    attacked: npt.NDArray[np.bool_],
    names: int,
) -> npt.NDArray[np.int16]:
    """Most frequent attack of each attacked window (the first named wins a tie); otherwise -1."""
    named = np.flatnonzero(attack >= 0)
    if not len(named):
        return np.full(len(attacked), -1, np.int16)
    place = window[named] * names + attack[named]
    counts = np.bincount(place, minlength=len(attacked) * names).reshape(-1, names)
    found = attacked & counts.any(axis=1)
    return np.where(found, counts.argmax(axis=1), -1).astype(np.int16)
