"""Features relative to what is normal on this vehicle.

What transfers between vehicles is not how a window looks but how it departs from the vehicle's own
habit. The habit is either a :class:`VehicleProfile` learnt from a stretch of commissioning traffic,
or, where no profile may be used, everything that came before the window in the same capture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from core.graphs.store import NODE_FEATURES, WINDOW_FEATURES, GraphStore

COMPARED = {
    "frame_share": 0.01,
    "interval_log": 0.05,
    "interval_min_log": 0.1,
    "gap_variation": 0.1,
    "changed_bits": 0.01,
    "changed_bits_spread": 0.01,
    "byte_mean": 0.01,
    "novel_bytes": 0.02,
}
"""Node features compared with the id's habit, and the spread of each that counts as noise."""

RELATIVE_NODE_FEATURES = ("unseen", "presence", "experience", *(f"{n}_shift" for n in COMPARED))
RELATIVE_EDGE_FEATURES = ("unseen", "presence")
WINDOW_SPREAD = 0.02
"""Spread of a window feature below which a difference counts as noise."""
RELATIVE_WINDOW_FEATURES = (
    *(f"{n}_shift" for n in WINDOW_FEATURES),
    "unseen_frames",
    "unseen_ids",
    "unseen_transitions",
)

_COLUMNS = [NODE_FEATURES.index(name) for name in COMPARED]
_FLOOR = np.array(list(COMPARED.values()))


@dataclass(frozen=True)
class Relative:
    """Features of a :class:`GraphStore` relative to a reference; rows as in the store."""

    x: npt.NDArray[np.float32]
    """``[N, len(RELATIVE_NODE_FEATURES)]``"""
    edge_attr: npt.NDArray[np.float32]
    """``[E, len(RELATIVE_EDGE_FEATURES)]``"""
    window_attr: npt.NDArray[np.float32]
    """``[G, len(RELATIVE_WINDOW_FEATURES)]``"""


@dataclass(frozen=True)
class VehicleProfile:
    """What is normal on one vehicle: ``K`` ids and ``T`` transitions seen while commissioning."""

    ids: npt.NDArray[np.int64]
    """``[K]`` ascending"""
    count: npt.NDArray[np.float64]
    """``[K]`` windows in which the id was seen."""
    mean: npt.NDArray[np.float64]
    """``[K, len(COMPARED)]``"""
    std: npt.NDArray[np.float64]
    """``[K, len(COMPARED)]``"""
    transitions: npt.NDArray[np.int64]
    """``[T]`` ascending keys of (source id, target id)."""
    transition_count: npt.NDArray[np.float64]
    """``[T]`` windows in which the transition was seen."""
    window_center: npt.NDArray[np.float64]
    """``[len(WINDOW_FEATURES)]`` median"""
    window_spread: npt.NDArray[np.float64]
    windows: int
    """Number of windows it was learnt from."""

    def scaled(self, windows: int) -> "VehicleProfile":
        """The same habits as if learnt from so many windows, where it was more.

        Detectors know profiles of a certain experience.
        """
        share = min(1.0, windows / self.windows)
        return replace(
            self,
            count=self.count * share,
            transition_count=self.transition_count * share,
            windows=round(self.windows * share),
        )


def commission(store: GraphStore, windows: npt.NDArray[np.int64]) -> VehicleProfile:
    """Learn a profile from the given windows of a capture, which should be free of attacks."""
    # A store may be larger than memory: nothing after the last of them is read.
    store = store.windows(0, int(windows.max()) + 1)
    chosen = np.zeros(len(store), bool)
    chosen[windows] = True
    node = chosen[_row_of(store.node_ptr)]
    ids, code = np.unique(store.node_id[node], return_inverse=True)
    value = store.x[node][:, _COLUMNS].astype(np.float64)
    count = np.bincount(code, minlength=len(ids)).astype(np.float64)
    total = np.stack([np.bincount(code, v, len(ids)) for v in value.T], axis=1)
    square = np.stack([np.bincount(code, v, len(ids)) for v in value.T**2], axis=1)
    mean = total / count[:, None]
    edge = chosen[_row_of(store.edge_ptr)]
    transitions, seen = np.unique(transition_keys(store)[edge], return_counts=True)
    attr = store.window_attr[windows].astype(np.float64)
    center = np.median(attr, axis=0)
    return VehicleProfile(
        ids=ids,
        count=count,
        mean=mean,
        std=np.sqrt(np.maximum(square / count[:, None] - mean**2, 0.0)),
        transitions=transitions,
        transition_count=seen.astype(np.float64),
        window_center=center,
        window_spread=1.4826 * np.median(np.abs(attr - center), axis=0),
        windows=len(windows),
    )


def relate_to_profile(store: GraphStore, profile: VehicleProfile) -> Relative:
    """Express every window of ``store`` relative to a profile."""
    slot, known = _look_up(profile.ids, store.node_id)
    count = np.where(known, profile.count[slot], 0.0)
    edge_slot, edge_known = _look_up(profile.transitions, transition_keys(store))
    edge_count = np.where(edge_known, profile.transition_count[edge_slot], 0.0)
    return _relate(
        store,
        node_count=count,
        node_windows=np.full(len(count), float(profile.windows)),
        mean=profile.mean[slot],
        std=profile.std[slot],
        edge_count=edge_count,
        edge_windows=np.full(len(edge_count), float(profile.windows)),
        center=profile.window_center,
        spread=profile.window_spread,
    )


def relate_to_past(store: GraphStore) -> Relative:
    """Express every window relative to all windows before it, clean or not.

    The reference of ids and transitions is a running mean, that of window features a running
    median, which stands as long as less than half of the past was under attack.
    """
    ((_, relative),) = relate_to_past_in_parts(store, len(store))
    return relative


def relate_to_past_in_parts(
    store: GraphStore, windows: int
) -> Iterator[tuple[GraphStore, Relative]]:
    """:func:`relate_to_past` for a store larger than memory: so many windows at a time, in order.

    What is held of the windows before are sums per id and per transition, and the window features.
    """
    attr = pd.DataFrame(store.window_attr.astype(np.float64))
    # Shifted by one window: a window is never its own reference. The first has only itself.
    center = attr.expanding().median().shift(1).fillna(attr).to_numpy()
    low = attr.expanding().quantile(0.25).shift(1).fillna(attr).to_numpy()
    ids, transitions = _Tally(len(_COLUMNS)), _Tally(0)
    for first in range(0, len(store), windows):
        part = store.windows(first, min(first + windows, len(store)))
        rows = slice(first, first + len(part))
        value = part.x[:, _COLUMNS].astype(np.float64)
        count, total, square = ids.before(part.node_id, value)
        past = np.maximum(count, 1.0)[:, None]
        mean = total / past
        edges = len(part.edge_attr)
        edge_count, _, _ = transitions.before(transition_keys(part), np.empty((edges, 0)))
        yield (
            part,
            _relate(
                part,
                node_count=count,
                node_windows=first + _row_of(part.node_ptr).astype(np.float64),
                mean=mean,
                std=np.sqrt(np.maximum(square / past - mean**2, 0.0)),
                edge_count=edge_count,
                edge_windows=first + _row_of(part.edge_ptr).astype(np.float64),
                center=center[rows],
                spread=1.4826 * (center[rows] - low[rows]),
            ),
        )


def transition_keys(store: GraphStore) -> npt.NDArray[np.int64]:
    """``[E]`` one integer per (source id, target id)."""
    base = np.repeat(store.node_ptr[:-1], np.diff(store.edge_ptr))
    source, target = store.node_id[base + store.edge_index]
    # Ids have 30 bits at most (29, and bit 31 for the long form, moved down here).
    return (_compact(source) << 30) | _compact(target)


def _compact(identifier: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (identifier & 0x1FFFFFFF) | ((identifier >> 31) << 29)


def _relate(
    store: GraphStore,
    *,
    node_count: npt.NDArray[np.float64],
    node_windows: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    std: npt.NDArray[np.float64],
    edge_count: npt.NDArray[np.float64],
    edge_windows: npt.NDArray[np.float64],
    center: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
) -> Relative:
    """Assemble the features from counts, means and spreads, per node, per edge and per window."""
    value = store.x[:, _COLUMNS]
    # Little experience with an id makes its habit unsure: differences count for less.
    trust = (node_count / (node_count + 3.0))[:, None]
    shift = np.arcsinh(trust * (value - mean) / (std + _FLOOR))
    x = np.empty((len(value), len(RELATIVE_NODE_FEATURES)), np.float32)
    x[:, 0] = node_count == 0
    x[:, 1] = node_count / np.maximum(node_windows, 1.0)
    x[:, 2] = np.log1p(node_count) / 5.0
    x[:, 3:] = shift

    edge_attr = np.empty((len(edge_count), len(RELATIVE_EDGE_FEATURES)), np.float32)
    edge_attr[:, 0] = edge_count == 0
    edge_attr[:, 1] = edge_count / np.maximum(edge_windows, 1.0)

    window_attr = np.empty((len(store), len(RELATIVE_WINDOW_FEATURES)), np.float32)
    features = len(WINDOW_FEATURES)
    window_attr[:, :features] = np.arcsinh((store.window_attr - center) / (spread + WINDOW_SPREAD))
    starts, edge_starts = store.node_ptr[:-1], store.edge_ptr[:-1]
    share = store.x[:, NODE_FEATURES.index("frame_share")]
    window_attr[:, features] = np.add.reduceat(x[:, 0] * share, starts)
    window_attr[:, features + 1] = np.add.reduceat(x[:, 0], starts) / np.diff(store.node_ptr)
    window_attr[:, features + 2] = np.add.reduceat(
        edge_attr[:, 0] * store.edge_attr[:, 0], edge_starts
    )
    return Relative(x, edge_attr, window_attr)


class _Tally:
    """Counts and sums of rows by key, as the rows come in."""

    def __init__(self, columns: int) -> None:
        self.keys = np.empty(0, np.int64)
        self.sums = np.empty((0, 1 + 2 * columns))
        """Per key: rows, sum of each column, sum of its squares."""

    def before(
        self, key: npt.NDArray[np.int64], value: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Count ``[N]``, sum and sum of squares ``[N, C]`` of all earlier rows with the same key.

        Earlier ones of these rows and all rows of the calls before.
        """
        keys, code = np.unique(key, return_inverse=True)
        if not np.array_equal(keys, self.keys):
            merged = np.union1d(self.keys, keys)
            sums = np.zeros((len(merged), self.sums.shape[1]))
            sums[np.searchsorted(merged, self.keys)] = self.sums
            self.keys, self.sums = merged, sums
        slot = np.searchsorted(self.keys, keys)
        carried = self.sums[slot]
        columns = value.shape[1]
        order = np.argsort(code, kind="stable")
        first = np.searchsorted(code[order], np.arange(len(keys)))
        size = np.diff(np.append(first, len(code)))
        rows = np.hstack([np.ones((len(code), 1)), value, value**2])[order]
        running = np.vstack([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
        earlier = np.empty_like(rows)
        earlier[order] = running[:-1] - np.repeat(running[first] - carried, size, axis=0)
        self.sums[slot] = carried + running[first + size] - running[first]
        return earlier[:, 0], earlier[:, 1 : 1 + columns], earlier[:, 1 + columns :]


def _look_up(
    table: npt.NDArray[np.int64], key: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Index of each key in an ascending table, and whether it is there at all."""
    slot = np.minimum(np.searchsorted(table, key), len(table) - 1)
    return slot, table[slot] == key


def _row_of(pointer: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.repeat(np.arange(len(pointer) - 1), np.diff(pointer))
