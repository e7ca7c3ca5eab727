"""Graphs on the device: batches are gathered by index arithmetic, never graph by graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from core.graphs.reference import (
    RELATIVE_EDGE_FEATURES,
    RELATIVE_NODE_FEATURES,
    RELATIVE_WINDOW_FEATURES,
    Relative,
)
from core.graphs.store import EDGE_FEATURES, NODE_FEATURES, WINDOW_FEATURES, GraphStore

NODE_CHANNELS = len(NODE_FEATURES) + len(RELATIVE_NODE_FEATURES)
EDGE_CHANNELS = len(EDGE_FEATURES) + len(RELATIVE_EDGE_FEATURES)
WINDOW_CHANNELS = len(WINDOW_FEATURES) + len(RELATIVE_WINDOW_FEATURES)


@dataclass(frozen=True)
class GraphTensors:
    """Windows of one or more captures, all on one device.

    Shapes: ``x [N, NODE_CHANNELS]``, ``edge_index [2, E]`` counted from each window's first node,
    ``edge_attr [E, EDGE_CHANNELS]``, ``window_attr [G, WINDOW_CHANNELS]``, ``y [G]`` (float),
    ``node_ptr [G + 1]``, ``edge_ptr [G + 1]``.
    """

    x: Tensor
    edge_index: Tensor
    edge_attr: Tensor
    window_attr: Tensor
    y: Tensor
    node_ptr: Tensor
    edge_ptr: Tensor

    @classmethod
    def join(
        cls,
        parts: Sequence[tuple[GraphStore, Relative]],
        device: torch.device | str = "cpu",
    ) -> "GraphTensors":
        """Lay the windows of several captures one after another and copy them to ``device``."""
        return cls(
            x=_columns([(s.x, r.x) for s, r in parts], device),
            edge_index=torch.from_numpy(
                np.concatenate([s.edge_index for s, _ in parts], axis=1)
            ).to(device),
            edge_attr=_columns([(s.edge_attr, r.edge_attr) for s, r in parts], device),
            window_attr=_columns([(s.window_attr, r.window_attr) for s, r in parts], device),
            y=torch.cat([torch.from_numpy(np.array(s.y)) for s, _ in parts]).float().to(device),
            node_ptr=_pointer([s.node_ptr for s, _ in parts], device),
            edge_ptr=_pointer([s.edge_ptr for s, _ in parts], device),
        )

    def __len__(self) -> int:
        return len(self.y)

    def gather(self, index: Tensor) -> Batch:
        """The windows ``index`` (``[B]``) as one PyG batch, in that order."""
        nodes, node_count = _ragged_rows(self.node_ptr, index)
        edges, edge_count = _ragged_rows(self.edge_ptr, index)
        graph = torch.arange(len(index), device=index.device)
        ptr = torch.cat([node_count.new_zeros(1), node_count.cumsum(0)])
        shift = torch.repeat_interleave(ptr[:-1], edge_count, output_size=len(edges))
        return Batch(
            batch=torch.repeat_interleave(graph, node_count, output_size=len(nodes)),
            ptr=ptr,
            x=self.x[nodes],
            edge_index=self.edge_index[:, edges].long() + shift,
            edge_attr=self.edge_attr[edges],
            window_attr=self.window_attr[index],
            y=self.y[index],
        )

    def stretches(self, edges: int) -> list[tuple[int, int]]:
        """First and last (without it) of neighbouring windows, at least one and as many more as
        reach ``edges`` edges, until all are dealt out."""
        ends = torch.tensor(range(edges, int(self.edge_ptr[-1]), edges), dtype=torch.long)
        bounds = torch.searchsorted(self.edge_ptr, ends).unique().tolist()
        pairs = pairwise([0, *bounds, len(self)])
        return [(first, last) for first, last in pairs if first < last]

    def sorted_windows(self, first: int, last: int) -> "SortedWindows":
        """The windows ``first`` to ``last`` (without it), edges sorted by target; on a CPU only."""
        nodes = slice(int(self.node_ptr[first]), int(self.node_ptr[last]))
        edges = slice(int(self.edge_ptr[first]), int(self.edge_ptr[last]))
        node_ptr, edge_ptr = (
            p[first : last + 1] - p[first] for p in (self.node_ptr, self.edge_ptr)
        )
        shift = torch.repeat_interleave(
            node_ptr[:-1], edge_ptr.diff(), output_size=edges.stop - edges.start
        )
        source, target = self.edge_index[:, edges] + shift
        # numpy sorts numbers of 16 bits by counting.
        narrow = np.uint16 if nodes.stop - nodes.start < 2**16 else np.int64
        order = torch.from_numpy(target.numpy().astype(narrow).argsort(kind="stable"))
        incoming = torch.zeros(nodes.stop - nodes.start + 1, dtype=torch.long)
        torch.cumsum(torch.bincount(target, minlength=len(incoming) - 1), 0, out=incoming[1:])
        return SortedWindows(
            x=self.x[nodes],
            edge_attr=self.edge_attr[edges].index_select(0, order),
            window_attr=self.window_attr[first:last],
            source=source.index_select(0, order),
            target=target.index_select(0, order),
            incoming=incoming,
            edges=torch.arange(len(order)),
            node_ptr=node_ptr,
            edge_ptr=edge_ptr,
        )


@dataclass(frozen=True)
class SortedWindows:
    """``B`` neighbouring windows with ``N`` nodes and ``E`` edges in all, edges by target."""

    x: Tensor
    """``[N, NODE_CHANNELS]``"""
    edge_attr: Tensor
    """``[E, EDGE_CHANNELS]``"""
    window_attr: Tensor
    """``[B, WINDOW_CHANNELS]``"""
    source: Tensor
    """``[E]`` node that each edge comes from."""
    target: Tensor
    """``[E]`` node that each edge goes to; never falling."""
    incoming: Tensor
    """``[N + 1]`` first edge into each node, or that into the next node that has one; ``E``."""
    edges: Tensor
    """``[E]`` 0, 1, 2, ..."""
    node_ptr: Tensor
    """``[B + 1]`` first node of each window."""
    edge_ptr: Tensor
    """``[B + 1]`` first edge of each window."""

    @cached_property
    def ends(self) -> Tensor:
        """``[2 E]`` index of each edge's source and target into rows ``[N, 2]``, of the source's
        first and the target's second."""
        return torch.stack([2 * self.source, 2 * self.target + 1], dim=1).view(-1)


def _ragged_rows(pointer: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Flat indices of the members of ``rows``, and how many each has."""
    count = pointer[rows + 1] - pointer[rows]
    ends = count.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    shift = torch.repeat_interleave(pointer[rows] - (ends - count), count, output_size=total)
    return torch.arange(total, device=rows.device) + shift, count


def _columns(parts: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device | str) -> Tensor:
    """The two arrays of each part side by side, one part after another."""
    (left, right), rows = parts[0], sum(len(some) for some, _ in parts)
    joined = np.empty((rows, left.shape[1] + right.shape[1]), np.float32)
    end = 0
    for left, right in parts:
        start, end = end, end + len(left)
        joined[start:end, : left.shape[1]] = left
        joined[start:end, left.shape[1] :] = right
    return torch.from_numpy(joined).to(device)


def _pointer(pointers: Sequence[np.ndarray], device: torch.device | str) -> Tensor:
    counts = np.concatenate([np.diff(p) for p in pointers])
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device)
