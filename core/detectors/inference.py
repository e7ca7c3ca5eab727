"""Both detectors' forward passes on a CPU without gradients, in less than half the time.

The same weights and formulas as ``GAT.forward`` and ``VGAE.components``, which the tests hold these
against. Edges lie sorted by their target, so that every sum over a node's incoming edges, and every
mean over a window's nodes, is a sum over neighbouring rows (``embedding_bag``); what is linear in
the two ends of an edge is computed once per node. The tensors of a batch are small, so that the
number of operations counts as much as what they do: weights are laid out beforehand.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear, softplus
from torch_geometric.nn import GATv2Conv, GINEConv

from core.detectors.gat import GAT
from core.detectors.graph_model import CLIP, GraphModel
from core.detectors.vgae import FRAME_SHARE, VGAE
from core.graphs.tensors import SortedWindows

LOG2_E = 1 / math.log(2)
"""``exp(x) = exp2(LOG2_E * x)``, and torch's ``exp2`` takes half the time of its ``exp``."""
LARGEST_RANGE = 80.0
"""Powers of two that a softmax may span without a peak of its own for every node."""
WIDE = 16
"""Columns from which on ``scatter_reduce`` is faster than ``segment_reduce``."""


class FastGAT:
    """A GAT's weights, laid out for scoring; later changes of the GAT are not seen."""

    @torch.no_grad()
    def __init__(self, gat: GAT) -> None:
        self.standardise = _Standardise(gat)
        self.heads = gat.config.heads
        self.embed = _Linear.of(gat.embed)
        self.layers = [_Attention.of(conv) for conv in gat.convs]
        self.classifier = gat.classifier

    @torch.inference_mode()
    def __call__(self, windows: SortedWindows) -> Tensor:
        """``[B]`` log-odds that a window holds an attack."""
        x, edge_attr, window_attr = self.standardise(windows)
        h = self.embed(x).relu_()
        width = h.shape[1]
        joined = h.new_empty(len(h), width * len(self.layers))
        by_head = _edges_by_head(windows, self.heads)
        for number, layer in enumerate(self.layers):
            into = joined[:, number * width : (number + 1) * width]
            h = _elu(_attend(layer, h, edge_attr, windows, by_head), into)
        pooled = [_mean(joined, windows.node_ptr), _maximum(joined, windows), window_attr]
        return self.classifier(torch.cat(pooled, dim=1)).squeeze(1)


class FastVGAE:
    """A VGAE's weights, laid out for scoring; later changes of the VGAE are not seen."""

    @torch.no_grad()
    def __init__(self, vgae: VGAE) -> None:
        self.standardise = _Standardise(vgae)
        self.embed = _Linear.of(vgae.embed)
        self.layers = [_Convolution.of(conv) for conv in vgae.convs]
        self.encode = _Linear.of(vgae.to_mean, vgae.to_log_variance)
        first, *rest = vgae.edge_decoder
        assert isinstance(first, nn.Linear)
        ends = torch.cat(first.weight.chunk(2, dim=1))
        self.edge_ends = _Linear(ends, torch.cat([first.bias, torch.zeros_like(first.bias)]))
        self.edge_decoder = nn.Sequential(*rest[1:])
        self.link, self.link_bias = vgae.link_decoder.weight[0].detach(), vgae.link_decoder.bias
        self.node_decoder, self.window_decoder = vgae.node_decoder, vgae.window_decoder

    @torch.inference_mode()
    def __call__(self, windows: SortedWindows) -> Tensor:
        """``[B, len(COMPONENTS)]`` log reconstruction errors of every window."""
        x, edge_attr, window_attr = self.standardise(windows)
        h = self.embed(x).relu_()
        with_one = torch.cat([edge_attr, edge_attr.new_ones(len(edge_attr), 1)], dim=1)
        for layer in self.layers:
            h.add_(_aggregate(layer, h, with_one, windows).relu_(), alpha=0.25)
        mean, log_variance = self.encode(h).chunk(2, dim=1)
        z, log_variance = mean.contiguous(), log_variance.clamp(-10, 10)
        pooled = torch.cat([_mean(z, windows.node_ptr), _maximum(z, windows)], dim=1)

        edge_code = _both_ends(self.edge_ends(z), windows).relu_()
        edge = _row_mean(self.edge_decoder(edge_code).sub_(edge_attr).square_())
        ahead = (z @ self.link).index_select(0, windows.source)
        affinity = _row_mean(ahead.mul_(z.index_select(0, windows.target))).mul_(z.shape[1])
        link = softplus(affinity.add_(self.link_bias).neg_())
        node = _row_mean(self.node_decoder(z).sub_(x).square_())
        kl = _row_mean(z.square().add_(log_variance.exp()).sub_(log_variance).sub_(1)).mul_(0.5)

        of_frames = node * windows.x[:, FRAME_SHARE]
        per_node = torch.stack([node, kl, of_frames], dim=1)
        node_mean, kl_mean, frame_mean = _mean(per_node, windows.node_ptr).unbind(1)
        edge_mean, link_mean = _mean(torch.stack([edge, link], dim=1), windows.edge_ptr).unbind(1)
        columns = [
            node_mean,
            _largest(node, windows.node_ptr),
            frame_mean * windows.node_ptr.diff(),
            edge_mean,
            _largest(edge, windows.edge_ptr),
            link_mean,
            self.window_decoder(pooled).sub_(window_attr).square_().mean(1),
            kl_mean,
        ]
        return torch.stack(columns, dim=1).clamp_min_(1e-8).log_()


class _Standardise:
    """``GraphModel.standardise`` as one multiplication and addition."""

    def __init__(self, model: GraphModel) -> None:
        pairs = [
            (model.x_mean, model.x_std),
            (model.edge_mean, model.edge_std),
            (model.window_mean, model.window_std),
        ]
        self.affine = [(-mean / std, 1 / std) for mean, std in pairs]

    def __call__(self, windows: SortedWindows) -> list[Tensor]:
        values = (windows.x, windows.edge_attr, windows.window_attr)
        return [
            torch.addcmul(shift, value, factor).clamp_(-CLIP, CLIP)
            for value, (shift, factor) in zip(values, self.affine, strict=True)
        ]


class _Linear(NamedTuple):
    weight: Tensor
    bias: Tensor

    @classmethod
    def of(cls, *layers: nn.Linear) -> "_Linear":
        """One layer whose outputs are those of several, side by side."""
        return cls(torch.cat([m.weight for m in layers]), torch.cat([m.bias for m in layers]))

    def __call__(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class _Attention(NamedTuple):
    """A GATv2 convolution."""

    ends: _Linear
    """What a node is as source of an edge, and as target."""
    edge: Tensor
    """``[EDGE_CHANNELS, heads * channels]``"""
    negative_slope: float
    log2_weight: Tensor
    """``[heads * channels, heads]`` weights of the attention, for powers of two."""
    residual: Tensor
    """``[heads * channels, heads * channels]``"""
    bias: Tensor
    channels: int

    @classmethod
    def of(cls, conv: GATv2Conv) -> "_Attention":
        weights = torch.block_diag(*conv.att[0].unsqueeze(1)) * LOG2_E
        return cls(
            _Linear.of(conv.lin_l, conv.lin_r),
            conv.lin_edge.weight.T.contiguous(),
            conv.negative_slope,
            # Transposed and not contiguous: with so few columns that takes a third of the time.
            weights.T,
            conv.res.weight.detach().T,
            conv.bias.detach(),
            conv.out_channels,
        )


class _Convolution(NamedTuple):
    """A GINE convolution."""

    edge: Tensor
    """``[EDGE_CHANNELS + 1, hidden]``, the last row a bias."""
    own: float
    """Weight of what a node is itself."""
    update: nn.Module

    @classmethod
    def of(cls, conv: GINEConv) -> "_Convolution":
        edge = torch.cat([conv.lin.weight.T, conv.lin.bias[None]])
        return cls(edge, 1 + float(conv.eps), conv.nn)


class _EdgesByHead(NamedTuple):
    """Pairs of edge and head in order of target, head and edge."""

    order: Tensor
    """``[E * heads]`` index into values ``[E, heads]``."""
    begin: Tensor
    """``[N * heads]`` where those of each node and head begin."""
    source: Tensor
    """``[E * heads]`` index into values ``[N, 2, heads]``, of the source's first row."""


def _edges_by_head(windows: SortedWindows, heads: int) -> _EdgesByHead:
    incoming = windows.incoming[:-1, None]
    head = torch.arange(heads)
    within = head * windows.incoming.diff()[:, None]
    begin = within + heads * incoming
    place = (begin - incoming).index_select(0, windows.target).add_(windows.edges[:, None]).view(-1)
    order = torch.empty_like(place).scatter_(0, place, torch.arange(len(place)))
    source = (2 * heads * windows.source[:, None] + head).view(-1)
    return _EdgesByHead(order, begin.view(-1), source.index_select(0, order))


def _attend(
    layer: _Attention,
    h: Tensor,
    edge_attr: Tensor,
    windows: SortedWindows,
    by_head: _EdgesByHead,
) -> Tensor:
    """A GATv2 convolution: ``[N, heads * channels]``."""
    ends = layer.ends(h)
    joint = _both_ends(ends, windows).addmm_(edge_attr, layer.edge)
    share = _shares(
        leaky_relu(joint, layer.negative_slope, inplace=True) @ layer.log2_weight, windows
    )
    weights = share.view(-1).index_select(0, by_head.order)
    message = _sums(ends.view(-1, layer.channels), by_head.begin, by_head.source, weights)
    return message.view(len(h), -1).addmm_(h, layer.residual).add_(layer.bias)


def _shares(log2_odds: Tensor, windows: SortedWindows) -> Tensor:
    """``[E, heads]`` softmax over each node's incoming edges."""
    low, high = torch.aminmax(log2_odds) if len(log2_odds) else (0.0, 0.0)
    if float(high - low) < LARGEST_RANGE:
        log2_odds.sub_(high)
    else:
        begin = windows.incoming[:-1]
        peak = torch.embedding_bag(log2_odds, windows.edges, begin, mode=2)[0]
        log2_odds.sub_(peak.index_select(0, windows.target))
    odds = log2_odds.exp2_()
    total = _sums(odds, windows.incoming[:-1], windows.edges)
    return odds.div_(total.index_select(0, windows.target))


def _aggregate(layer: _Convolution, h: Tensor, edge_attr: Tensor, windows: SortedWindows) -> Tensor:
    """A GINE convolution: ``[N, hidden]``."""
    message = h.index_select(0, windows.source).addmm_(edge_attr, layer.edge).relu_()
    total = _sums(message, windows.incoming[:-1], windows.edges)
    return layer.update(total.add_(h, alpha=layer.own))


def _both_ends(ends: Tensor, windows: SortedWindows) -> Tensor:
    """``[E, C]`` sum of the first half of the source's and the second of the target's ``2 C``
    columns."""
    return _sums(ends.view(2 * len(ends), -1), 2 * windows.edges, windows.ends)


def _sums(rows: Tensor, begin: Tensor, index: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sums over the rows ``index`` from one beginning to the next, the last up to the end."""
    return torch.embedding_bag(rows, index, begin, mode=0, per_sample_weights=weights)[0]


def _mean(rows: Tensor, pointer: Tensor) -> Tensor:
    """``[B, C]`` mean of the rows from one pointer to the next."""
    return torch.embedding_bag(
        rows, torch.arange(len(rows)), pointer, mode=1, include_last_offset=True
    )[0]


def _maximum(rows: Tensor, windows: SortedWindows) -> Tensor:
    """``[B, C]`` largest of the rows of each window's nodes."""
    if rows.shape[1] < WIDE:
        return _largest(rows, windows.node_ptr)
    count = windows.node_ptr.diff()
    owner = torch.repeat_interleave(count, output_size=len(rows))[:, None].expand_as(rows)
    largest = rows.new_empty(len(count), rows.shape[1])
    return largest.scatter_reduce_(0, owner, rows, "amax", include_self=False)


def _largest(rows: Tensor, pointer: Tensor) -> Tensor:
    """``[B, ...]`` largest of the rows from one pointer to the next, -inf where there is none."""
    return torch.segment_reduce(rows, "max", lengths=pointer.diff(), unsafe=True)


def _row_mean(values: Tensor) -> Tensor:
    """``[E]`` mean of ``[E, C]`` over few columns, as a product with a vector: faster."""
    return values @ values.new_full((values.shape[1],), 1 / values.shape[1])


def _elu(x: Tensor, out: Tensor) -> Tensor:
    """``elu`` in half the time of torch's own, which is not vectorised."""
    return torch.maximum(x, x.clamp(max=0).mul_(LOG2_E).exp2_().sub_(1), out=out)
