"""Graph attention classifier over windows of CAN traffic."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch
from torch_geometric.nn import GATv2Conv, JumpingKnowledge
from torch_geometric.utils import scatter

from core.config import GATConfig
from core.detectors.graph_model import GraphModel
from core.graphs.tensors import EDGE_CHANNELS, NODE_CHANNELS, WINDOW_CHANNELS


class GAT(GraphModel):
    """Multi-head attention over the window's ids and transitions, with jumping knowledge.

    ``layers`` GATv2 convolutions (https://arxiv.org/abs/2105.14491) with edge features; the outputs
    of all layers are joined (https://arxiv.org/abs/1806.03536), pooled per window by mean and
    maximum, set beside the window's own features and classified.
    """

    odds_center: Tensor
    odds_spread: Tensor
    odds_usual: Tensor
    slope: Tensor
    border: Tensor
    calibrated: Tensor

    def __init__(
        self,
        config: GATConfig,
        in_channels: int = NODE_CHANNELS,
        edge_dim: int = EDGE_CHANNELS,
        window_dim: int = WINDOW_CHANNELS,
    ) -> None:
        super().__init__(in_channels, edge_dim, window_dim)
        self.config = config
        # Calibration, set after training (cf. core.detectors.calibration): where the log-odds of
        # clean windows lie, how far others depart from those of their own vehicle, and which
        # probability a departure means. Without, log-odds are taken at their word.
        for name, value in (
            ("odds_center", 0.0),
            ("odds_spread", 1.0),
            ("odds_usual", 1.0),
            ("slope", 1.0),
            ("border", 0.0),
        ):
            self.register_buffer(name, torch.tensor(value))
        self.register_buffer("calibrated", torch.tensor(False))
        width = config.hidden_channels * config.heads
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
        x, edge_attr, window_attr = self.standardise(batch)
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
