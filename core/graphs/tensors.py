"""Graphs on the device: batches are gathered by index arithmetic, never graph by graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from scipy.sparse import csr_array
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
            edge_index=torch.cat(
                [torch.from_numpy(np.array(s.edge_index)) for s, _ in parts], dim=1
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
        order, incoming = self._edges_by_target
        nodes = slice(int(self.node_ptr[first]), int(self.node_ptr[last]))
        edges = slice(int(self.edge_ptr[first]), int(self.edge_ptr[last]))
        chosen = order[edges]
        node_ptr, edge_ptr = (
            p[first : last + 1] - p[first] for p in (self.node_ptr, self.edge_ptr)
        )
        shift = torch.repeat_interleave(
            node_ptr[:-1], edge_ptr.diff(), output_size=edges.stop - edges.start
        )
        # Sorting moves an edge within its window only, so the shifts stay where they are.
        source, target = (row.index_select(0, chosen) + shift for row in self.edge_index)
        return SortedWindows(
            x=self.x[nodes],
            edge_attr=self.edge_attr.index_select(0, chosen),
            window_attr=self.window_attr[first:last],
            source=source,
            target=target,
            incoming=incoming[nodes] - edges.start,
            edges=torch.arange(len(chosen)),
            node_ptr=node_ptr,
            edge_ptr=edge_ptr,
        )

    @cached_property
    def _edges_by_target(self) -> tuple[Tensor, Tensor]:
        """``[E]`` edges in order of their target, and ``[N]`` where those of each node begin."""
        shift = torch.repeat_interleave(self.node_ptr[:-1], self.edge_ptr.diff())
        target = (self.edge_index[1] + shift).numpy()
        edges = len(target)
        # A matrix with one entry per edge, stored by rows and then by columns: a counting sort.
        by_edge = csr_array(
            (np.ones(edges, np.int8), target, np.arange(edges + 1)), shape=(edges, len(self.x))
        )
        by_target = by_edge.tocsc()
        return (
            torch.from_numpy(by_target.indices).long(),
            torch.from_numpy(by_target.indptr[:-1]).long(),
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
    """``[N]`` first edge into each node, or that into the next node that has one."""
    edges: Tensor
    """``[E]`` 0, 1, 2, ..."""
    node_ptr: Tensor
    """``[B + 1]`` first node of each window."""
    edge_ptr: Tensor
    """``[B + 1]`` first edge of each window."""


def _ragged_rows(pointer: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Flat indices of the members of ``rows``, and how many each has."""
    count = pointer[rows + 1] - pointer[rows]
    ends = count.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    shift = torch.repeat_interleave(pointer[rows] - (ends - count), count, output_size=total)
    return torch.arange(total, device=rows.device) + shift, count


def _columns(parts: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device | str) -> Tensor:
    joined = np.concatenate([np.concatenate(pair, axis=1) for pair in parts])
    return torch.from_numpy(joined).to(device)


def _pointer(pointers: Sequence[np.ndarray], device: torch.device | str) -> Tensor:
    counts = np.concatenate([np.diff(p) for p in pointers])
    return torch.from_numpy(np.concatenate([[0], np.cumsum(counts)])).to(device)
