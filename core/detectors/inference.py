"""Both detectors' forward passes on a CPU without gradients, in half the time.

The same weights and formulas as ``GAT.forward`` and ``VGAE.components``, which the tests hold these
against. Edges lie sorted by their target, so that every sum over a node's incoming edges, and every
mean over a window's nodes, is a sum over neighbouring rows (``embedding_bag``); what is linear in
the two ends of an edge is computed once per node.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, leaky_relu, relu, softplus
from torch_geometric.nn import GATv2Conv, GINEConv

from core.detectors.gat import GAT
from core.detectors.vgae import FRAME_SHARE, VGAE
from core.graphs.tensors import SortedWindows


@torch.inference_mode()
def log_odds(gat: GAT, windows: SortedWindows) -> Tensor:
    """``[B]`` log-odds that a window holds an attack."""
    x, edge_attr, window_attr = gat.standardise(windows)
    h = relu(gat.embed(x), inplace=True)
    edge_attr = torch.cat([edge_attr, edge_attr.new_ones(len(edge_attr), 1)], dim=1)
    by_head = _edges_by_head(windows, gat.config.heads)
    means, maxima = [], []
    for conv in gat.convs:
        h = _elu(_attend(conv, h, edge_attr, windows, by_head))
        means.append(_mean(h, windows.node_ptr))
        maxima.append(_maximum(h, windows.node_ptr))
    return gat.classifier(torch.cat([*means, *maxima, window_attr], dim=1)).squeeze(1)


@torch.inference_mode()
def error_components(vgae: VGAE, windows: SortedWindows) -> Tensor:
    """``[B, len(COMPONENTS)]`` log reconstruction errors of every window."""
    x, edge_attr, window_attr = vgae.standardise(windows)
    h = relu(vgae.embed(x), inplace=True)
    for conv in vgae.convs:
        h.add_(relu(_aggregate(conv, h, edge_attr, windows), inplace=True), alpha=0.25)
    z = vgae.to_mean(h)
    log_variance = vgae.to_log_variance(h).clamp_(-10, 10)
    pooled = torch.cat([_mean(z, windows.node_ptr), _maximum(z, windows.node_ptr)], dim=1)

    first, *rest = vgae.edge_decoder
    assert isinstance(first, nn.Linear)
    by_end = z @ torch.cat(first.weight.chunk(2, dim=1)).T
    edge_code = _both_ends(by_end.view(2 * len(z), -1), 2, windows).add_(first.bias)
    edge = (nn.Sequential(*rest)(edge_code) - edge_attr).square_().mean(1)
    ahead = z @ vgae.link_decoder.weight[0]
    affinity = ahead.index_select(0, windows.source).mul_(z.index_select(0, windows.target))
    link = softplus(-(affinity.sum(1) + vgae.link_decoder.bias))
    node = (vgae.node_decoder(z) - x).square_().mean(1)
    kl = 0.5 * (z.square() + log_variance.exp() - 1 - log_variance).mean(1)

    node_mean, kl_mean = _mean(torch.stack([node, kl], dim=1), windows.node_ptr).unbind(1)
    frame_mean = _sum((node * windows.x[:, FRAME_SHARE])[:, None], windows.node_ptr)[:, 0]
    edge_mean, link_mean = _mean(torch.stack([edge, link], dim=1), windows.edge_ptr).unbind(1)
    columns = [
        node_mean,
        _maximum(node[:, None], windows.node_ptr)[:, 0],
        frame_mean,
        edge_mean,
        _maximum(edge[:, None], windows.edge_ptr)[:, 0],
        link_mean,
        (vgae.window_decoder(pooled) - window_attr).square_().mean(1),
        kl_mean,
    ]
    return torch.stack(columns, dim=1).clamp_min(1e-8).log()


class _EdgesByHead(NamedTuple):
    """Pairs of edge and head in order of target, head and edge."""

    order: Tensor
    """``[E * heads]`` index into values ``[E, heads]``."""
    begin: Tensor
    """``[N * heads]`` where those of each node and head begin."""
    source: Tensor
    """``[E * heads]`` index into values ``[N, 3, heads]``, of the source's first row."""
    reached: Tensor
    """``[N, 2]`` 1 where a node has an incoming edge (else 0), and 1."""


def _edges_by_head(windows: SortedWindows, heads: int) -> _EdgesByHead:
    edges, incoming, target = windows.edges, windows.incoming, windows.target
    degree = incoming.diff(append=incoming.new_tensor([len(edges)]))
    head = torch.arange(heads)
    begin = heads * incoming[:, None] + head * degree[:, None]
    place = (begin - incoming[:, None]).index_select(0, target) + edges[:, None]
    order = torch.empty(place.numel(), dtype=torch.long)
    order[place.view(-1)] = torch.arange(place.numel())
    source = (3 * heads * windows.source[:, None] + head).view(-1)
    reached = torch.stack([degree > 0, torch.ones_like(degree, dtype=torch.bool)], dim=1)
    return _EdgesByHead(order, begin.view(-1), source.index_select(0, order), reached.float())


def _attend(
    conv: GATv2Conv,
    h: Tensor,
    edge_attr: Tensor,
    windows: SortedWindows,
    by_head: "_EdgesByHead",
) -> Tensor:
    """A GATv2 convolution: ``[N, heads * channels]``."""
    heads, channels, nodes = conv.heads, conv.out_channels, len(h)
    # Three rows per node: as source, as target, and what it keeps of itself. Adding the biases
    # where less is left to add them to saves a pass over these, the largest of all tensors.
    weight = torch.cat([conv.lin_l.weight, conv.lin_r.weight, conv.res.weight])
    rows = (h @ weight.T).view(3 * nodes, heads * channels)
    bias = conv.lin_l.bias + conv.lin_r.bias
    joint = _both_ends(rows, 3, windows)
    joint.addmm_(edge_attr, torch.cat([conv.lin_edge.weight.T, bias[None]]))
    joint = leaky_relu(joint, conv.negative_slope, inplace=True)
    logit = joint @ torch.block_diag(*conv.att[0].unsqueeze(2))
    # Softmax over a node's incoming edges.
    peak = embedding_bag(windows.edges, logit, windows.incoming, mode="max")
    share = logit.sub_(peak.index_select(0, windows.target)).exp_()
    total = embedding_bag(windows.edges, share, windows.incoming, mode="sum").add_(1e-16)
    share.div_(total.index_select(0, windows.target))
    message = embedding_bag(
        by_head.source,
        rows.view(-1, channels),
        by_head.begin,
        mode="sum",
        per_sample_weights=share.view(-1).index_select(0, by_head.order),
    ).view(nodes, -1)
    # A node's shares add up to one, if it has any.
    message.addmm_(by_head.reached, torch.stack([conv.lin_l.bias, conv.bias]))
    return message.add_(rows.view(nodes, 3, -1)[:, 2])


def _aggregate(conv: GINEConv, h: Tensor, edge_attr: Tensor, windows: SortedWindows) -> Tensor:
    """A GINE convolution: ``[N, hidden]``."""
    message = h.index_select(0, windows.source).addmm_(edge_attr, conv.lin.weight.T)
    message = relu(message.add_(conv.lin.bias), inplace=True)
    total = embedding_bag(windows.edges, message, windows.incoming, mode="sum")
    return conv.nn(total.add_((1 + conv.eps) * h))


def _both_ends(rows: Tensor, per_node: int, windows: SortedWindows) -> Tensor:
    """``[E, C]`` sum of the source's first and the target's second row of ``per_node`` each."""
    ends = torch.stack([per_node * windows.source, per_node * windows.target + 1], dim=1)
    return embedding_bag(ends, rows, mode="sum")


def _mean(rows: Tensor, pointer: Tensor) -> Tensor:
    """``[B, C]`` mean of the rows from one pointer to the next."""
    return embedding_bag(torch.arange(len(rows)), rows, pointer[:-1], mode="mean")


def _sum(rows: Tensor, pointer: Tensor) -> Tensor:
    """``[B, C]`` sum of the rows from one pointer to the next."""
    return embedding_bag(torch.arange(len(rows)), rows, pointer[:-1], mode="sum")


def _maximum(rows: Tensor, pointer: Tensor) -> Tensor:
    """``[B, C]`` largest of the rows from one pointer to the next, 0 where there is none."""
    owner = torch.repeat_interleave(pointer.diff(), output_size=len(rows))
    return rows.new_zeros(len(pointer) - 1, rows.shape[1]).scatter_reduce_(
        0, owner[:, None].expand_as(rows), rows, "amax", include_self=False
    )


def _elu(x: Tensor) -> Tensor:
    """``elu`` in half the time of torch's own, which is not vectorised."""
    return torch.maximum(x, x.clamp(max=0).exp_().sub_(1))
