"""From frames to graphs: group-by over the whole capture, no loop over windows or frames."""

import numpy as np
import numpy.typing as npt
from scipy import sparse

from core.captures.frame_table import FrameTable
from core.config import WindowConfig
from core.errors import CaptureError
from core.graphs.behaviour import CHANNELS, FrameBehaviour, frame_behaviour
from core.graphs.store import EDGE_FEATURES, NODE_FEATURES, WINDOW_FEATURES, GraphStore

CHUNK_FRAMES = 100_000
"""Frames worked on at once: large enough to hide call overhead, small enough to stay in cache."""

TIME_FLOOR = 1e-6
"""Seconds below which differences of time stamps are noise."""


def window_starts(frames: int, config: WindowConfig) -> npt.NDArray[np.int64]:
    """Index of the first frame of every whole window; an incomplete last window is left out."""
    return np.arange(0, frames - config.size + 1, config.stride, dtype=np.int64)


def build_graphs(table: FrameTable, config: WindowConfig | None = None) -> GraphStore:
    """Turn every window of a capture into a graph.

    Raises:
        CaptureError: if the capture is shorter than one window.
    """
    config = config or WindowConfig()
    starts = window_starts(len(table), config)
    if not len(starts):
        raise CaptureError(
            f"capture of {len(table)} frames: expected at least one window of {config.size} frames"
        )
    behaviour = frame_behaviour(table)
    step = max(1, CHUNK_FRAMES // config.size)
    chunks = [
        _build_chunk(table, behaviour, starts[i : i + step], config.size)
        for i in range(0, len(starts), step)
    ]
    joined = {name: np.concatenate([c[name] for c in chunks]) for name in chunks[0]}
    attack = _window_attack(table, starts, config.size)
    return GraphStore(
        node_ptr=_pointer(joined["nodes"]),
        edge_ptr=_pointer(joined["edges"]),
        x=joined["x"],
        node_id=behaviour.ids[joined["code"]],
        edge_index=np.ascontiguousarray(joined["edge_index"].T),
        edge_attr=joined["edge_attr"],
        window_attr=joined["window_attr"],
        y=_any_per_window(table.label, starts, config.size),
        attack=attack,
        start_time=table.timestamp[starts],
        end_time=table.timestamp[starts + config.size - 1],
        first_frame=starts,
        attack_names=table.attack_names,
    )


def _build_chunk(
    table: FrameTable, behaviour: FrameBehaviour, starts: npt.NDArray[np.int64], size: int
) -> dict[str, npt.NDArray[np.generic]]:
    """Nodes, edges and window features of a few hundred windows (``W`` rows of ``size`` frames)."""
    windows = len(starts)
    frame = starts[:, None] + np.arange(size)
    bits = int(size - 1).bit_length()
    key_type = _key_type(len(behaviour.ids) << bits)

    # Sorting (id, position) packed in one integer groups each row by id, in order of time.
    packed = (behaviour.code[frame].astype(key_type) << bits) | np.arange(size, dtype=key_type)
    packed.sort(axis=1)
    code, position = packed >> bits, packed & ((1 << bits) - 1)
    opens = _run_starts(code)
    local = np.cumsum(opens, axis=1, dtype=np.int32) - 1
    nodes = local[:, -1].astype(np.int64) + 1
    node_of_frame = np.empty_like(local)
    np.put_along_axis(node_of_frame, position, local, axis=1)
    node_base = np.cumsum(nodes) - nodes

    first = np.flatnonzero(opens)
    count = np.diff(np.append(first, opens.size)).astype(np.float64)
    sorted_frame = (position + starts[:, None]).ravel()
    # A sparse matrix of ones sums each node's frames straight from the per-frame table.
    members = sparse.csr_array(
        (np.ones(opens.size), sorted_frame, np.append(first, opens.size)),
        shape=(len(first), len(table)),
    )
    sums = members @ behaviour.channels
    shortest = np.minimum.reduceat(behaviour.interval[sorted_frame], first)

    # Edges: consecutive frames, grouped by (source, target), again packed with the position.
    shift = int(size).bit_length()
    edge_type = _key_type(1 << (2 * shift + bits))
    local_pair = node_of_frame.astype(edge_type)
    packed = (local_pair[:, :-1] << shift) | local_pair[:, 1:]
    packed = (packed << bits) | np.arange(size - 1, dtype=edge_type)
    packed.sort(axis=1)
    pair, position = packed >> bits, packed & ((1 << bits) - 1)
    opens = _run_starts(pair)
    edges = opens.sum(axis=1, dtype=np.int64)
    edge_first = np.flatnonzero(opens)
    edge_count = np.diff(np.append(edge_first, opens.size)).astype(np.float64)
    delay = np.maximum(np.diff(table.timestamp[frame], axis=1), 0.0)
    delay = np.add.reduceat(np.take_along_axis(delay, position, axis=1).ravel(), edge_first)
    edge_pair = pair.ravel()[edge_first]
    source, target = edge_pair >> shift, edge_pair & ((1 << shift) - 1)

    edge_window = np.repeat(np.arange(windows), edges)
    successors = np.bincount(node_base[edge_window] + source, minlength=len(first))
    predecessors = np.bincount(node_base[edge_window] + target, minlength=len(first))
    x = _node_features(count, sums, shortest, successors, predecessors, size)
    edge_attr = np.empty((len(edge_first), len(EDGE_FEATURES)), np.float32)
    edge_attr[:, 0] = edge_count / (size - 1)
    edge_attr[:, 1] = np.log10(delay / edge_count + TIME_FLOOR)

    share = count / size
    node_starts, edge_starts = node_base, np.cumsum(edges) - edges
    window_attr = np.empty((windows, len(WINDOW_FEATURES)), np.float32)
    window_attr[:, 0] = nodes / size
    window_attr[:, 1] = -np.add.reduceat(share * np.log(share), node_starts)
    duration = table.timestamp[frame[:, -1]] - table.timestamp[frame[:, 0]]
    window_attr[:, 2] = np.log10(np.maximum(duration, 0.0) + TIME_FLOOR)
    window_attr[:, 3] = edges / (size - 1)
    window_attr[:, 4] = np.maximum.reduceat(edge_count, edge_starts) / (size - 1)
    for column, name in ((5, "byte_mean"), (6, "length"), (7, "novel_bytes")):
        total = np.add.reduceat(sums[:, CHANNELS.index(name)], node_starts)
        window_attr[:, column] = total / size
    return {
        "nodes": nodes,
        "edges": edges,
        "x": x,
        "code": code.ravel()[first],
        "edge_index": np.stack([source, target], axis=1).astype(np.int32),
        "edge_attr": edge_attr,
        "window_attr": window_attr,
    }


def _node_features(
    count: npt.NDArray[np.float64],
    sums: npt.NDArray[np.float64],
    shortest: npt.NDArray[np.float64],
    successors: npt.NDArray[np.int64],
    predecessors: npt.NDArray[np.int64],
    size: int,
) -> npt.NDArray[np.float32]:
    """``[N, len(NODE_FEATURES)]`` from the sums over each node's frames."""
    channel = dict(zip(CHANNELS, sums.T, strict=True))
    seen = np.maximum(channel["has_previous"], 1.0)
    interval, gap = channel["interval"] / seen, channel["gap"] / seen
    changed = channel["changed_bits"] / seen
    never = channel["has_previous"] == 0
    columns = {
        "frame_share": count / size,
        "interval_log": np.where(never, 0.0, np.log10(interval + TIME_FLOOR)),
        "interval_variation": _variation(channel["interval_squared"] / seen, interval, TIME_FLOOR),
        "interval_min_log": np.where(
            never, 0.0, np.log10(np.where(never, 1.0, shortest) + TIME_FLOOR)
        ),
        "gap_variation": _variation(channel["gap_squared"] / seen, gap, 1e-9),
        "changed_bits": changed,
        "changed_bits_spread": np.sqrt(
            np.maximum(channel["changed_bits_squared"] / seen - changed**2, 0.0)
        ),
        "all_zero": channel["all_zero"] / count,
        "byte_mean": channel["byte_mean"] / count,
        "length": channel["length"] / count,
        "novel_bytes": channel["novel_bytes"] / count,
        "seen_once": count == 1,
        "first_seen": channel["has_previous"] < count,
        "successors": successors / size,
        "predecessors": predecessors / size,
    }
    return np.stack([columns[name] for name in NODE_FEATURES], axis=1).astype(np.float32)


def _variation(
    mean_square: npt.NDArray[np.float64], mean: npt.NDArray[np.float64], floor: float
) -> npt.NDArray[np.float64]:
    """Coefficient of variation: standard deviation over mean."""
    return np.sqrt(np.maximum(mean_square - mean**2, 0.0)) / (mean + floor)


def _key_type(values: int) -> np.dtype[np.signedinteger]:
    """The smaller of two integer types that can count to ``values``: it sorts faster."""
    return np.dtype(np.int32 if values <= 2**31 else np.int64)


def _run_starts(rows: npt.NDArray[np.signedinteger]) -> npt.NDArray[np.bool_]:
    """True where a sorted row's value differs from the one before it."""
    starts = np.ones(rows.shape, bool)
    np.not_equal(rows[:, 1:], rows[:, :-1], out=starts[:, 1:])
    return starts


def _pointer(counts: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _any_per_window(
    flag: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.uint8]:
    total = np.concatenate([[0], np.cumsum(flag, dtype=np.int64)])
    return (total[starts + size] > total[starts]).astype(np.uint8)


def _window_attack(
    table: FrameTable, starts: npt.NDArray[np.int64], size: int
) -> npt.NDArray[np.int16]:
    """Most frequent attack of each window (the first named wins a tie); -1 where there is none."""
    if not table.attack_names:
        return np.full(len(starts), -1, np.int16)
    counts = np.empty((len(table.attack_names), len(starts)), np.int64)
    for name in range(len(table.attack_names)):
        total = np.concatenate([[0], np.cumsum(table.attack == name, dtype=np.int64)])
        counts[name] = total[starts + size] - total[starts]
    return np.where(counts.max(axis=0) > 0, counts.argmax(axis=0), -1).astype(np.int16)
