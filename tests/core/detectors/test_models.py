"""Both networks, against what a loop over single graphs gives."""

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Batch

from core.detectors.graph_model import CLIP
from core.detectors.vgae import COMPONENTS, FRAME_SHARE
from core.graphs.tensors import EDGE_CHANNELS, NODE_CHANNELS, WINDOW_CHANNELS
from tests.core.detectors.toy import (
    GAT_CONFIG,
    VGAE_CONFIG,
    random_graphs,
    untrained_gat,
    untrained_vgae,
)


def whole_batch() -> Batch:
    graphs = random_graphs()
    return graphs.gather(torch.arange(len(graphs)))


def slices(batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """Nodes and edges of each graph, by a mask."""
    owner = batch.batch[batch.edge_index[0]]
    return [
        ((batch.batch == g).nonzero()[:, 0], (owner == g).nonzero()[:, 0])
        for g in range(len(batch.y))
    ]


def single(batch: Batch, g: int, nodes: Tensor, edges: Tensor) -> Batch:
    """Graph ``g`` alone."""
    return Batch(
        x=batch.x[nodes],
        edge_index=batch.edge_index[:, edges] - nodes[0],
        edge_attr=batch.edge_attr[edges],
        window_attr=batch.window_attr[g : g + 1],
        batch=torch.zeros(len(nodes), dtype=torch.long),
        ptr=torch.tensor([0, len(nodes)]),
        y=batch.y[g : g + 1],
    )


@torch.inference_mode()
def test_reconstruction_has_the_shapes_it_promises() -> None:
    batch, vgae = whole_batch(), untrained_vgae()
    nodes, edges, windows = len(batch.x), batch.edge_index.shape[1], len(batch.y)
    out = vgae(batch)
    assert out.node.shape == out.kl.shape == (nodes,)
    assert out.edge.shape == out.link.shape == (edges,)
    assert out.window.shape == (windows,)
    assert out.latent.shape == (nodes, VGAE_CONFIG.latent_channels)
    for name in ("node", "edge", "link", "window", "kl"):
        assert (getattr(out, name) >= 0).all(), name
    mean, log_variance = vgae.encode(
        torch.randn(nodes, NODE_CHANNELS), batch.edge_index, torch.randn(edges, EDGE_CHANNELS)
    )
    assert mean.shape == log_variance.shape == (nodes, VGAE_CONFIG.latent_channels)


@torch.inference_mode()
def test_components_equal_a_loop_over_graphs() -> None:
    batch, vgae = whole_batch(), untrained_vgae()
    out = vgae(batch)
    expected = []
    for g, (nodes, edges) in enumerate(slices(batch)):
        errors = {
            "node_mean": out.node[nodes].mean(),
            "node_max": out.node[nodes].max(),
            "frame_mean": sum(
                share * error
                for share, error in zip(batch.x[nodes, FRAME_SHARE], out.node[nodes], strict=True)
            ),
            "edge_mean": out.edge[edges].mean(),
            "edge_max": out.edge[edges].max(),
            "link": out.link[edges].mean(),
            "window": out.window[g],
            "kl": out.kl[nodes].mean(),
        }
        expected.append([np.log(max(float(errors[name]), 1e-8)) for name in COMPONENTS])
    found = vgae.components(batch)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)


@torch.inference_mode()
def test_reconstruction_errors_by_their_formulas() -> None:
    batch, vgae = whole_batch(), untrained_vgae()
    vgae.x_mean.uniform_(-1, 1)
    vgae.x_std.uniform_(0.5, 2)
    x, edge_attr, window_attr = vgae.standardise(batch)
    np.testing.assert_allclose(
        x.numpy(), np.clip(((batch.x - vgae.x_mean) / vgae.x_std).numpy(), -CLIP, CLIP), rtol=1e-5
    )
    mean, log_variance = vgae.encode(x, batch.edge_index, edge_attr)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    for z, out in (
        (mean, vgae(batch)),
        (mean + torch.exp(log_variance / 2) * noise, vgae(batch, noise)),
    ):
        torch.testing.assert_close(out.latent, z)
        row = 5
        decoded = vgae.node_decoder(z[row])
        torch.testing.assert_close(out.node[row], ((decoded - x[row]) ** 2).mean())
        source, target = batch.edge_index[:, row]
        pair = torch.cat([z[source], z[target]])
        decoded = vgae.edge_decoder(pair)
        torch.testing.assert_close(out.edge[row], ((decoded - edge_attr[row]) ** 2).mean())
        weight, bias = vgae.link_decoder.weight[0], vgae.link_decoder.bias
        logit = z[source] @ weight @ z[target] + bias
        torch.testing.assert_close(out.link[row], -torch.log(torch.sigmoid(logit))[0])
        nodes = batch.batch == 3
        pooled = torch.cat([z[nodes].mean(0), z[nodes].max(0).values])
        decoded = vgae.window_decoder(pooled)
        torch.testing.assert_close(out.window[3], ((decoded - window_attr[3]) ** 2).mean())
    standard = torch.distributions.Normal(0.0, 1.0)
    code = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    kl = torch.distributions.kl_divergence(code, standard).mean(1)
    torch.testing.assert_close(vgae(batch).kl, kl, atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_a_graph_gives_the_same_alone_and_in_a_batch() -> None:
    batch, vgae, gat = whole_batch(), untrained_vgae(), untrained_gat()
    together, odds = vgae.components(batch), gat(batch)
    assert odds.shape == (len(batch.y),)
    for g, (nodes, edges) in enumerate(slices(batch)):
        alone = single(batch, g, nodes, edges)
        torch.testing.assert_close(vgae.components(alone)[0], together[g], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(gat(alone)[0], odds[g], atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_gat_uses_nodes_edges_and_window() -> None:
    batch, gat = whole_batch(), untrained_gat()
    before = gat(batch)
    for name in ("x", "edge_attr", "window_attr"):
        changed = batch.clone()
        changed[name] = changed[name] + torch.rand_like(changed[name])
        assert not torch.allclose(gat(changed), before, atol=1e-4), name
    width = GAT_CONFIG.hidden_channels * GAT_CONFIG.heads
    # Jumping knowledge: mean and maximum of every layer's output, and the window's features.
    assert gat.classifier[0].in_features == 2 * width * GAT_CONFIG.layers + WINDOW_CHANNELS


def test_gradient_steps_lower_the_loss() -> None:
    batch, vgae = whole_batch(), untrained_vgae()
    generator = torch.Generator().manual_seed(0)
    before = vgae.loss(batch, generator)
    before.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vgae.parameters())
    optimizer = torch.optim.Adam(vgae.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss = vgae.loss(batch, generator)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.9 * float(before.detach())
