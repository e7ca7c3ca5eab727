"""What fusion training is promised to do: gradient steps, the map, and what the cache is worth."""

import time
from typing import Any

import numpy as np
import torch

from core.bench.gpu import utilisation
from core.bench.plain_dqn import train_eagerly
from core.cache.predictions import FusionPredictionCache
from core.captures.frame_table import FrameTable
from core.config import (
    FusionConfig,
    GATConfig,
    VGAEConfig,
    WindowConfig,
    create_fusion_config,
    override,
)
from core.detectors.gat import GAT
from core.detectors.vgae import VGAE
from core.fusion.dqn import Batch, learn
from core.fusion.fit import make_learner
from core.fusion.policy import policy_map
from core.fusion.q_network import QNetwork, features
from core.fusion.reward import alpha_values, reward_matrix
from core.fusion.training import train_agent
from core.graphs.build import build_graphs
from core.graphs.reference import relate_to_past
from core.graphs.tensors import GraphTensors

WINDOWS = 20_000
EPOCHS, UPDATES = 6, 400
"""Of the Lightning module; the bare loop makes as many updates in one go."""
IN_THE_LOOP = 3
"""Updates whose windows both detectors score anew."""
REPEATS = 3


def scored_windows() -> FusionPredictionCache:
    """Scores of two middling detectors."""
    rng = np.random.default_rng(0)
    label = rng.random(WINDOWS) < 0.3
    anomaly, gat_prob = (
        np.clip(rng.normal(0.3 + 0.4 * label, 0.2), 0, 1).astype(np.float32) for _ in range(2)
    )
    return FusionPredictionCache.from_arrays(anomaly, gat_prob, label.astype(np.uint8))


def fusion_speed(table: FrameTable, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures at batch 256 on a network of 2-64-64-21, all-actions updates without discount.

    Returns:
        ``updates_per_s_256`` through the Lightning module, everything around it included, and in
        a bare loop of eager torch (under ``plain``); ``share_of_bare``, the first by the second,
        each the best of three taken in turns; ``policy_201_ms``, a map of 201 x 201;
        ``cache_speedup``, how many times longer an update takes whose windows both detectors score
        in the loop. On a GPU also ``updates_per_s_256_cuda_graphs``, with recorded gradient steps,
        and ``gpu_utilisation_percent`` meanwhile (None where the driver cannot be asked).
    """
    config = create_fusion_config(
        agent={"batch_size": 256},
        training={
            "max_epochs": EPOCHS,
            "updates_per_epoch": UPDATES,
            "patience": 1000,
            "device": device.type,
        },
    )
    train, validation = scored_windows().train_validation_split(0.25, 0)
    trained = train_agent(train, validation, config)  # Also loads what Lightning needs.
    lightning, bare = [], []
    for _ in range(REPEATS):
        lightning.append(_seconds(lambda: train_agent(train, validation, config)))
        bare.append(_seconds(lambda: bare_loop(train, config, EPOCHS * UPDATES)))
    updates = EPOCHS * UPDATES
    maps = [_seconds(lambda: policy_map(trained.agent, 201)) for _ in range(REPEATS)]
    cached = min(lightning) / updates
    on_gpu: dict[str, float | None] = {}
    if device.type == "cuda":
        recorded = override(config, {"training.cuda_graphs": True})
        seconds = [
            _seconds(lambda: train_agent(train, validation, recorded)) for _ in range(REPEATS)
        ]
        on_gpu = {
            "updates_per_s_256_cuda_graphs": updates / min(seconds),
            "gpu_utilisation_percent": utilisation(
                lambda: train_agent(train, validation, recorded)
            ),
        }
    return {
        "updates_per_s_256": updates / min(lightning),
        "share_of_bare": min(bare) / min(lightning),
        "policy_201_ms": 1e3 * min(maps),
        "cache_speedup": in_the_loop(table, device, config) / cached,
        **on_gpu,
    }, {"updates_per_s_256": updates / min(bare)}


def bare_loop(train: FusionPredictionCache, config: FusionConfig, updates: int) -> None:
    """The same updates in a loop of eager torch."""
    states, alphas = train.states, alpha_values(config.agent.alpha_steps)
    rewards = reward_matrix(
        states[:, 0],
        states[:, 1],
        torch.tensor(train.label),
        alphas,
        config.agent,
        config.evaluation.threshold,
    )
    generator = torch.Generator().manual_seed(0)
    network = QNetwork(2, config.agent.alpha_steps, config.agent.hidden_dims, generator)
    train_eagerly(network, config.agent, states, rewards, updates)


def in_the_loop(table: FrameTable, device: torch.device, config: FusionConfig) -> float:
    """Seconds of an update whose batch of windows both detectors score first."""
    store = build_graphs(table, WindowConfig())
    graphs = GraphTensors.join([(store, relate_to_past(store))], device)
    vgae, gat = VGAE(VGAEConfig()).to(device).eval(), GAT(GATConfig()).to(device).eval()
    generator = torch.Generator().manual_seed(0)
    network = QNetwork(2, config.agent.alpha_steps, config.agent.hidden_dims, generator)
    learner = make_learner(network.to(device), config.agent)
    alphas = alpha_values(config.agent.alpha_steps).to(device)

    def update() -> torch.Tensor:
        rows = torch.randint(len(store), (config.agent.batch_size,), generator=generator)
        batch = graphs.gather(rows.to(device))
        with torch.inference_mode():
            anomaly = torch.sigmoid(vgae.components(batch).mean(dim=1))
            gat_prob = torch.sigmoid(gat(batch).reshape(-1))
        states = torch.stack([anomaly, gat_prob], dim=1).clone()
        label = graphs.y[rows.to(device)]
        rewards = reward_matrix(
            states[:, 0], states[:, 1], label, alphas, config.agent, config.evaluation.threshold
        )
        return learn(learner, Batch(features(states), rewards))[0]

    def updates(count: int) -> None:
        for _ in range(count):
            update()

    update()
    return _seconds(lambda: updates(IN_THE_LOOP)) / IN_THE_LOOP


def _seconds(work: Any) -> float:
    """CPU time, which a busy machine disturbs less; on a GPU the wall clock."""
    on_gpu = torch.cuda.is_available()
    clock = time.perf_counter if on_gpu else time.process_time
    start = clock()
    work()
    if on_gpu:
        torch.cuda.synchronize()
    return clock() - start
