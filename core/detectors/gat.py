"""Graph attention classifier over windows of CAN traffic."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import GATv2Conv, JumpingKnowledge
from torch_geometric.utils import scatter

from core.config import GATConfig
from core.detectors.vgae import CLIP
from core.graphs.tensors import EDGE_CHANNELS, NODE_CHANNELS, WINDOW_CHANNELS


class GAT(nn.Module):
    """Multi-head attention over the window's ids and transitions, with jumping knowledge.

    ``layers`` GATv2 convolutions (https://arxiv.org/abs/2105.14491) with edge features; the outputs
    of all layers are joined (https://arxiv.org/abs/1806.03536), pooled per window by mean and
    maximum, set beside the window's own features and classified.
    """

    x_mean: Tensor
    x_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor
    window_mean: Tensor
    window_std: Tensor

    def __init__(
        self,
        config: GATConfig,
        in_channels: int = NODE_CHANNELS,
        edge_dim: int = EDGE_CHANNELS,
        window_dim: int = WINDOW_CHANNELS,
    ) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_channels * config.heads
        for name, size in (("x", in_channels), ("edge", edge_dim), ("window", window_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.embed = nn.Linear(in_channels, width)
        self.convs = nn.ModuleList(
            GATv2Conv(
                width,
                config.hidden_channels,
                heads=config.heads,
                edge_dim=edge_dim,
                add_self_loops=False,
                residual=True,
            )
            for _ in range(config.layers)
        )
        self.jump = JumpingKnowledge("cat")
        pooled = 2 * width * config.layers + window_dim
        self.classifier = nn.Sequential(
            nn.Linear(pooled, width), nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(width, 1)
        )

    def forward(self, batch: Batch) -> Tensor:
        """``[B]`` log-odds that a window holds an attack."""
        x = ((batch.x - self.x_mean) / self.x_std).clamp(-CLIP, CLIP)
        edge_attr = ((batch.edge_attr - self.edge_mean) / self.edge_std).clamp(-CLIP, CLIP)
        window_attr = ((batch.window_attr - self.window_mean) / self.window_std).clamp(-CLIP, CLIP)
        h = self.embed(x).relu()
        outputs = []
        for conv in self.convs:
            h = nn.functional.elu(conv(h, batch.edge_index, edge_attr))
            outputs.append(h)
        nodes = self.jump(outputs)
        windows = len(window_attr)
        pooled = [
            scatter(nodes, batch.batch, dim_size=windows, reduce="mean"),
            scatter(nodes, batch.batch, dim_size=windows, reduce="max"),
            window_attr,
        ]
        return self.classifier(torch.cat(pooled, dim=1)).squeeze(1)
