"""The fast forward passes, against the networks' own."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from core.config import GATConfig, VGAEConfig
from core.detectors.gat import GAT
from core.detectors.graph_model import GraphModel
from core.detectors.inference import FastGAT, FastVGAE
from core.detectors.scoring import attack_log_odds, error_components
from core.detectors.vgae import VGAE
from core.graphs.tensors import GraphTensors
from tests.core.detectors.toy import GAT_CONFIG, VGAE_CONFIG, random_graphs


def moved(model: GraphModel, seed: int) -> None:
    """Leave no weight, bias or scale at the zeros and ones that it starts from."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        for name in ("x", "edge", "window"):
            mean, std = getattr(model, f"{name}_mean"), getattr(model, f"{name}_std")
            mean.copy_(torch.randn(mean.shape, generator=generator))
            std.copy_(0.5 + torch.rand(std.shape, generator=generator))


def models(vgae: VGAEConfig, gat: GATConfig, seed: int = 0) -> tuple[VGAE, GAT]:
    torch.manual_seed(seed)
    made = VGAE(vgae).eval(), GAT(gat).eval()
    for model in made:
        moved(model, seed)
    return made


@torch.inference_mode()
def assert_equal_to_the_networks(vgae: VGAE, gat: GAT, graphs: GraphTensors) -> None:
    batch = graphs.gather(torch.arange(len(graphs)))
    windows = graphs.sorted_windows(0, len(graphs))
    components, odds = vgae.components(batch), gat(batch)
    assert components.std(0).min() > 1e-3
    assert odds.std() > 1e-3
    torch.testing.assert_close(FastVGAE(vgae)(windows), components, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(FastGAT(gat)(windows), odds, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("vgae", "gat"),
    [
        (VGAE_CONFIG, GAT_CONFIG),
        (VGAEConfig(), GATConfig()),
        (VGAEConfig(hidden_channels=5, latent_channels=1), GATConfig(5, heads=1, layers=1)),
    ],
)
def test_scores_equal_those_of_the_networks(vgae: VGAEConfig, gat: GATConfig) -> None:
    for seed in (0, 1):
        assert_equal_to_the_networks(*models(vgae, gat, seed), random_graphs(seed=seed))


def test_large_attention_scores_do_not_overflow() -> None:
    vgae, gat = models(VGAE_CONFIG, GAT_CONFIG)
    with torch.no_grad():
        for conv in gat.convs:
            conv.att.mul_(200)  # type: ignore[operator, union-attr]
    assert_equal_to_the_networks(vgae, gat, random_graphs())


def without_edges(graphs: GraphTensors, empty: Tensor) -> GraphTensors:
    """The same windows, those in ``empty`` without an edge."""
    count = graphs.edge_ptr.diff()
    kept = torch.repeat_interleave(~empty, count)
    ends = torch.where(empty, 0, count).cumsum(0)
    return dataclasses.replace(
        graphs,
        edge_index=graphs.edge_index[:, kept],
        edge_attr=graphs.edge_attr[kept],
        edge_ptr=torch.cat([ends.new_zeros(1), ends]),
    )


def test_windows_without_an_edge() -> None:
    graphs = random_graphs()
    vgae, gat = models(VGAE_CONFIG, GAT_CONFIG)
    chosen = torch.zeros(len(graphs), dtype=torch.bool)
    for index in ([0], [3, 4], [len(graphs) - 1], range(len(graphs))):
        chosen[list(index)] = True
        some = without_edges(graphs, chosen)
        batch = some.gather(torch.arange(len(some)))
        with torch.inference_mode():
            components, odds = vgae.components(batch), gat(batch)
        np.testing.assert_allclose(error_components(vgae, some), components, atol=1e-5)
        np.testing.assert_allclose(attack_log_odds(gat, some), odds, atol=1e-5)


def test_sorted_windows_are_the_gathered_ones_by_target() -> None:
    graphs = random_graphs()
    batch = graphs.gather(torch.arange(5, 20))
    windows = graphs.sorted_windows(5, 20)
    order = batch.edge_index[1].argsort(stable=True)
    for found, expected in (
        (windows.x, batch.x),
        (windows.window_attr, batch.window_attr),
        (windows.edge_attr, batch.edge_attr[order]),
        (windows.source, batch.edge_index[0, order]),
        (windows.target, batch.edge_index[1, order]),
        (windows.node_ptr, batch.ptr),
        (windows.incoming, torch.searchsorted(windows.target, torch.arange(len(batch.x) + 1))),
        (windows.edge_ptr.diff(), batch.batch[batch.edge_index[0]].bincount()),
    ):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("edges", [1, 37, 10**6])
def test_every_window_is_in_one_batch_in_order(edges: int) -> None:
    graphs = random_graphs()
    batches = [graphs.sorted_windows(*pair) for pair in graphs.stretches(edges)]
    assert torch.equal(torch.cat([b.window_attr for b in batches]), graphs.window_attr)
    assert torch.equal(torch.cat([b.x for b in batches]), graphs.x)
    largest = int(graphs.edge_ptr.diff().max())
    assert all(len(b.source) < edges + largest for b in batches)
    total = int(graphs.edge_ptr[-1])
    assert min(len(graphs), total // (edges + largest)) <= len(batches) <= 1 + total // edges
