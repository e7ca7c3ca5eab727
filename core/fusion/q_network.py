"""The value of every alpha in a state: a multi-layer perceptron."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

LOGIT_LIMIT = 1e-4
"""Scores nearer to 0 or 1 than this are not told apart by their logit."""


class QNetwork(nn.Module):
    """State ``[B, state_dim]`` in [0, 1] to values ``[B, actions]``.

    Args:
        dueling: value of the state and advantages of the actions come from streams of their own.
        generator: draws the first weights (He initialisation); the global generator of torch stays
            untouched, so that a training in a background thread can be repeated exactly.
    """

    def __init__(
        self,
        state_dim: int,
        actions: int,
        hidden_dims: Sequence[int],
        generator: torch.Generator | None = None,
        *,
        dueling: bool = False,
    ) -> None:
        super().__init__()
        self.state_dim = state_dim
        self.actions = actions
        self.hidden_dims = tuple(hidden_dims)
        self.dueling = dueling
        widths = (2 * state_dim, *self.hidden_dims)
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [_linear(width, following, generator), nn.ReLU()]
        layers.append(_linear(widths[-1], actions + dueling, generator))
        if dueling:
            layers.append(Duel())
        self.layers = nn.Sequential(*layers)
        self.linear = [layer for layer in layers if isinstance(layer, nn.Linear)]

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.layers(features(states))

    def passed(self, inputs: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """What :func:`features` ``[B, 2 * D]`` become: the inputs of each linear layer, and the
        values ``[B, actions]``."""
        *inner, last = self.linear
        hidden = [inputs]
        for layer in inner:
            hidden.append(nn.functional.linear(hidden[-1], layer.weight, layer.bias).relu_())
        values = nn.functional.linear(hidden[-1], last.weight, last.bias)
        return hidden, self.layers[-1](values) if self.dueling else values

    def gradient(self, hidden: Sequence[torch.Tensor], slope: torch.Tensor) -> torch.Tensor:
        """Gradient of all parameters, as one vector in their order.

        By hand: on layers this small, recording operations to differentiate takes autograd as long
        as the operations themselves.

        Args:
            hidden: from :meth:`passed`.
            slope: ``[B, actions]`` of the loss by the values.
        """
        if self.dueling:
            rest = slope - slope.mean(dim=1, keepdim=True)
            slope = torch.cat([slope.sum(dim=1, keepdim=True), rest], dim=1)
        parts: list[torch.Tensor] = []
        for number in reversed(range(len(self.linear))):
            inputs, layer = hidden[number], self.linear[number]
            # The narrower matrix first: a third of the time where one is very narrow.
            narrow = inputs.shape[1] < slope.shape[1]
            weight = (inputs.T @ slope).T if narrow else slope.T @ inputs
            parts += [slope.sum(dim=0), weight.reshape(-1)]
            if number:
                slope = (slope @ layer.weight).mul_(inputs.sign())
        return torch.cat(parts[::-1])


class Duel(nn.Module):
    """Value of the state and advantages of the actions to the actions' values.

    ``Q(s, a) = V(s) + A(s, a) - mean over a of A(s, a)``, Wang et al. 2016,
    https://arxiv.org/abs/1511.06581, equation 9. Both streams share all layers but the last.

    Shapes: ``[..., 1 + A]`` (value first) to ``[..., A]``.
    """

    def forward(self, streams: torch.Tensor) -> torch.Tensor:
        advantage = streams[..., 1:]
        return streams[..., :1] + advantage - advantage.mean(dim=-1, keepdim=True)


def features(states: torch.Tensor) -> torch.Tensor:
    """Fixed first layer: scores scaled to [-1, 1], and their logits scaled alike.

    Scores crowd near 0 and 1, where a logit still tells .99 from .999; near the threshold the
    plain score is the clearer of the two.

    Shapes: ``[..., D]`` to ``[..., 2 * D]``.
    """
    logits = torch.logit(states, eps=LOGIT_LIMIT)
    largest = math.log((1 - LOGIT_LIMIT) / LOGIT_LIMIT)
    return torch.cat([2 * states - 1, logits / largest], dim=-1)


def flatten_parameters(module: nn.Module) -> nn.Parameter:
    """Lay all parameters of ``module`` into one vector.

    The module's parameters become views of it. Optimiser, gradient norm and target copy then are a
    few operations on one vector instead of a few for each layer, which for networks this small is
    a third of the time of a gradient step.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    offset = 0
    for p in parameters:
        end = offset + p.numel()
        p.data = flat.data[offset:end].view_as(p)
        offset = end
    return flat


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
