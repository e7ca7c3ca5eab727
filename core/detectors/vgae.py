"""Variational graph autoencoder over windows of CAN traffic."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import GINEConv
from torch_geometric.utils import scatter

from core.config import VGAEConfig
from core.detectors.graph_model import GraphModel
from core.graphs.store import NODE_FEATURES
from core.graphs.tensors import EDGE_CHANNELS, NODE_CHANNELS, WINDOW_CHANNELS

EXPERIENCE = (0, 5, 10, 20, 50, 100, 200)
"""Lower ends of the stages of experience: windows that a window's reference was learnt from.

The less is known of a vehicle, the more a clean window seems to depart from its habit."""

COMPONENTS = (
    "node_mean",
    "node_max",
    "frame_mean",
    "edge_mean",
    "edge_max",
    "link",
    "window",
    "kl",
)
"""Ways in which a window can be badly reconstructed; ``frame_mean`` is the mean over its frames of
the error of the id that sent each, in which an id that floods the bus counts for what it sends."""


FRAME_SHARE = NODE_FEATURES.index("frame_share")
"""Column of a node's features: its share of the window's frames."""


@dataclass(frozen=True)
class Reconstruction:
    """Errors of one batch with ``N`` nodes, ``E`` edges and ``B`` windows; all non-negative."""

    node: Tensor
    """``[N]`` mean squared error of a node's features."""
    edge: Tensor
    """``[E]`` mean squared error of an edge's features."""
    link: Tensor
    """``[E]`` negative log-likelihood of the edge being there."""
    window: Tensor
    """``[B]`` mean squared error of the window's features."""
    kl: Tensor
    """``[N]`` Kullback-Leibler divergence of a node's code from the standard normal."""
    latent: Tensor
    """``[N, latent_channels]``"""


class VGAE(GraphModel):
    r"""Encodes every node of a window, decodes node, edge, link and window features.

    The encoder's two graph convolutions (GINE, https://arxiv.org/abs/1905.12265) give mean and
    log-variance of :math:`q(z_i | X, A)`; the decoders reconstruct from :math:`z` the node
    features, the neighbourhood (link probability :math:`\sigma(z_i^\top W z_j)` and edge features)
    and the window's features. After Kipf and Welling, https://arxiv.org/abs/1611.07308.
    """

    component_center: Tensor
    component_spread: Tensor
    component_usual: Tensor
    thresholds: Tensor

    def __init__(
        self,
        config: VGAEConfig,
        in_channels: int = NODE_CHANNELS,
        edge_dim: int = EDGE_CHANNELS,
        window_dim: int = WINDOW_CHANNELS,
    ) -> None:
        super().__init__(in_channels, edge_dim, window_dim)
        self.config = config
        hidden, latent = config.hidden_channels, config.latent_channels
        # Calibration, set after training (cf. core.detectors.calibration): where clean windows of
        # the training captures lie, and how far others depart from those of their own vehicle.
        self.register_buffer("component_center", torch.zeros(len(COMPONENTS)))
        self.register_buffer("component_spread", torch.ones(len(COMPONENTS)))
        self.register_buffer("component_usual", torch.ones(len(COMPONENTS)))
        self.register_buffer("thresholds", torch.ones(len(EXPERIENCE)))
        self.embed = nn.Linear(in_channels, hidden)
        self.convs = nn.ModuleList(
            GINEConv(_mlp(hidden, hidden, hidden), edge_dim=edge_dim) for _ in range(2)
        )
        self.to_mean = nn.Linear(hidden, latent)
        self.to_log_variance = nn.Linear(hidden, latent)
        self.node_decoder = _mlp(latent, hidden, in_channels)
        self.edge_decoder = _mlp(2 * latent, hidden, edge_dim)
        self.link_decoder = nn.Bilinear(latent, latent, 1)
        self.window_decoder = _mlp(2 * latent, hidden, window_dim)

    def encode(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance ``[N, latent_channels]`` of every node's code."""
        h = self.embed(x).relu()
        for conv in self.convs:
            h = h + conv(h, edge_index, edge_attr).relu() / 4
        return self.to_mean(h), self.to_log_variance(h).clamp(-10, 10)

    def forward(self, batch: Batch, noise: Tensor | None = None) -> Reconstruction:
        """Reconstruct a batch from the codes' means, or from ``mean + std * noise``."""
        x, edge_attr, window_attr = self.standardise(batch)
        mean, log_variance = self.encode(x, batch.edge_index, edge_attr)
        z = mean if noise is None else mean + (0.5 * log_variance).exp() * noise
        source, target = batch.edge_index
        ends = torch.cat([z[source], z[target]], dim=1)
        windows = len(window_attr)
        pooled = torch.cat(
            [
                scatter(z, batch.batch, dim_size=windows, reduce="mean"),
                scatter(z, batch.batch, dim_size=windows, reduce="max"),
            ],
            dim=1,
        )
        return Reconstruction(
            node=(self.node_decoder(z) - x).square().mean(1),
            edge=(self.edge_decoder(ends) - edge_attr).square().mean(1),
            link=nn.functional.softplus(-self.link_logit(z, source, target)),
            window=(self.window_decoder(pooled) - window_attr).square().mean(1),
            kl=0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(1),
            latent=z,
        )

    def link_logit(self, z: Tensor, source: Tensor, target: Tensor) -> Tensor:
        """``[E]`` log-odds of a transition from ``source`` to ``target``."""
        return self.link_decoder(z[source], z[target]).squeeze(1)

    def loss(self, batch: Batch, generator: torch.Generator) -> Tensor:
        """Negative evidence lower bound of a batch, with as many absent links as present ones."""
        noise_shape = (len(batch.x), self.config.latent_channels)
        noise = torch.randn(noise_shape, generator=generator, device=batch.x.device)
        out = self(batch, noise)
        absent = _random_pairs(batch, generator)
        unlinked = nn.functional.softplus(self.link_logit(out.latent, *absent))
        edges = out.edge.mean() + 0.5 * (out.link.mean() + unlinked.mean())
        return (
            out.node.mean()
            + out.window.mean()
            + self.config.edge_weight * edges
            + self.config.kl_weight * out.kl.mean()
        )

    def components(self, batch: Batch) -> Tensor:
        """``[B, len(COMPONENTS)]`` log reconstruction errors of every window."""
        out: Reconstruction = self(batch)
        windows = len(batch.window_attr)
        edge_batch = batch.batch[batch.edge_index[0]]

        def pool(value: Tensor, index: Tensor, reduce: str) -> Tensor:
            return scatter(value, index, dim_size=windows, reduce=reduce)

        columns = [
            pool(out.node, batch.batch, "mean"),
            pool(out.node, batch.batch, "max"),
            pool(out.node * batch.x[:, FRAME_SHARE], batch.batch, "sum"),
            pool(out.edge, edge_batch, "mean"),
            pool(out.edge, edge_batch, "max"),
            pool(out.link, edge_batch, "mean"),
            out.window,
            pool(out.kl, batch.batch, "mean"),
        ]
        return torch.stack(columns, dim=1).clamp_min(1e-8).log()


def _mlp(in_channels: int, hidden: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_channels, hidden), nn.ReLU(), nn.Linear(hidden, out_channels))


def _random_pairs(batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """For every edge a random pair of nodes of the same window (rarely a present edge)."""
    window = batch.batch[batch.edge_index[0]]
    start = batch.ptr[window]
    size = (batch.ptr[window + 1] - start).float()

    def draw() -> Tensor:
        uniform = torch.rand(len(window), generator=generator, device=window.device)
        return start + (uniform * size).long().clamp_max(size.long() - 1)

    return draw(), draw()
