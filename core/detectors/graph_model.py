"""What both detectors share: bounded, standardised features."""

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from core.graphs.tensors import EDGE_CHANNELS, NODE_CHANNELS, WINDOW_CHANNELS

CLIP = 8.0
"""Standardised features are bounded: one wild value must not drown all others."""
STD_FLOOR = 0.01
"""Keeps a feature that never moves in training from dividing by zero."""


class GraphModel(nn.Module):
    """A model of windows that knows mean and spread of its training data's features."""

    x_mean: Tensor
    x_std: Tensor
    edge_mean: Tensor
    edge_std: Tensor
    window_mean: Tensor
    window_std: Tensor

    def __init__(
        self,
        in_channels: int = NODE_CHANNELS,
        edge_dim: int = EDGE_CHANNELS,
        window_dim: int = WINDOW_CHANNELS,
    ) -> None:
        super().__init__()
        for name, size in (("x", in_channels), ("edge", edge_dim), ("window", window_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def learn_scale(self, batch: Batch) -> None:
        """Take mean and spread of the features from a batch of training windows."""
        for name, value in (
            ("x", batch.x),
            ("edge", batch.edge_attr),
            ("window", batch.window_attr),
        ):
            getattr(self, f"{name}_mean").copy_(value.mean(0))
            getattr(self, f"{name}_std").copy_(value.std(0, correction=0) + STD_FLOOR)

    def standardise(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Node, edge and window features with the training data's mean 0 and spread 1."""
        return (
            ((batch.x - self.x_mean) / self.x_std).clamp(-CLIP, CLIP),
            ((batch.edge_attr - self.edge_mean) / self.edge_std).clamp(-CLIP, CLIP),
            ((batch.window_attr - self.window_mean) / self.window_std).clamp(-CLIP, CLIP),
        )
