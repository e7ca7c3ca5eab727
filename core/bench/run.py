"""Measures each stage on generated traffic, and the plain implementation of it in the same run."""

import gc
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Batch, Data

from core.bench.asc_spellings import ASC_SPELLINGS
from core.bench.fusion import fusion_speed, scored_windows
from core.bench.fusion_goal import measure_fusion_goal
from core.bench.fusion_scale import WINDOWS, measure_fusion_scale
from core.bench.libraries import LIBRARIES
from core.bench.plain_dqn import train_plainly
from core.bench.plain_graphs import build_graphs_plainly
from core.bench.plain_readers import (
    read_can_train_and_test_csv_plainly,
    read_candump_plainly,
)
from core.bench.scale import FRAMES, measure_scale, peak_memory_mb
from core.cache.predictions import FusionPredictionCache
from core.captures.formats import (
    can_train_and_test_csv,
    can_train_and_test_parquet,
    candump,
    mf4,
)
from core.captures.frame_table import FrameTable
from core.captures.readers import read_capture
from core.captures.simulator import simulate_recording, simulate_vehicle
from core.config import GATConfig, VGAEConfig, WindowConfig, create_fusion_config
from core.detectors.gat import GAT
from core.detectors.scoring import outputs
from core.detectors.vgae import VGAE
from core.device import resolve_device
from core.fusion.policy import policy_map
from core.fusion.training import train_agent
from core.graphs.build import build_graphs
from core.graphs.reference import relate_to_past
from core.graphs.store import GraphStore
from core.graphs.tensors import GraphTensors
from core.progress import Reporter

WRITERS: dict[str, tuple[str, Callable[[FrameTable, Path], None]]] = {
    "can-train-and-test-csv": (".csv", can_train_and_test_csv.write),
    "can-train-and-test-parquet": (".parquet", can_train_and_test_parquet.write),
    "candump": (".log", candump.write),
}
PLAIN_READERS = {
    "can-train-and-test-csv": read_can_train_and_test_csv_plainly,
    "candump": read_candump_plainly,
}
GRAPH_FRAMES = 100_000
"""Frames that both ways make graphs of."""
LIBRARY_FRAMES, SPELLING_FRAMES = 200_000, 50_000
PLAIN_UPDATES = 60
FUSION_EPOCHS = 20


def bench(
    device: str = "auto",
    duration_s: float = 240.0,
    reporter: Reporter | None = None,
    scale_frames: int = FRAMES,
    scale_windows: int = WINDOWS,
    scores: FusionPredictionCache | None = None,
) -> Any:
    """Throughput of every stage, of its plain implementation, and the ratio of the two.

    On a CPU torch uses one thread and CPU time counts, which a busy machine disturbs less; on a
    GPU, and where all cores are used, the wall clock. Graphs are built and text is read by the fast
    and the plain implementation in turns, from the same frames, and the best time of each counts;
    so it does with formats that a library reads, where the library alone is the plain
    implementation. Elsewhere the fast one is timed three times, the plain one once, on less data.

    Args:
        duration_s: seconds of generated traffic.
        scale_frames: frames of the stream to a graph store on disk.
        scale_windows: windows of a cache on disk that an agent is trained on.
        scores: what ``fusion_goal`` is measured on; None: generated scores.

    Returns:
        ``frames_per_s`` (captures to graphs), ``parse_frames_per_s`` (per format),
        ``share_of_library_time`` (per format that a library reads, and per spelling of ASC files),
        ``graphs_per_s``
        (both detectors' scores, per second of CPU time), ``graphs_per_s_all_cores`` (by the wall
        clock), ``updates_per_s``, ``transitions_per_s``, ``policy_ms`` (50 x 50 map), the figures
        of :func:`core.bench.fusion.fusion_speed`; the same
        under ``plain`` and ``ratio``; ``scale`` (:func:`core.bench.scale
        .measure_scale`); ``fusion_scale`` (:func:`core.bench.fusion_scale
        .measure_fusion_scale`); ``fusion_goal`` (:func:`core.bench.fusion_goal
        .measure_fusion_goal`); ``device``, ``frames``, ``peak_memory_mb``.
    """
    where = resolve_device(device)
    torch.set_num_threads(1)
    table = simulate_recording(simulate_vehicle(0), duration_s, seed=0)
    fast: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    stages = (_graphs, _parsing, _parsing_with_libraries, _scoring, _fusion, fusion_speed)
    for number, stage in enumerate(stages):
        if reporter:
            reporter.progress("bench", 0.9 * number / len(stages), stage.__name__.removeprefix("_"))
        measured = stage(table, where)
        for figures, more in zip((fast, plain), measured, strict=True):
            for name, value in more.items():
                figures[name] = figures.get(name, {}) | value if isinstance(value, dict) else value
    if reporter:
        reporter.progress("bench", 0.9, f"{scale_frames} frames to disk")
    scale = measure_scale(scale_frames)
    return {
        "device": str(where),
        "frames": len(table),
        **fast,
        "scale": scale,
        "fusion_scale": measure_fusion_scale(scale_windows),
        "fusion_goal": measure_fusion_goal(scores or scored_windows(), where.type),
        "plain": plain,
        "ratio": _ratio(fast, plain),
        "peak_memory_mb": round(peak_memory_mb()),
    }


Measured = tuple[dict[str, Any], dict[str, Any]]


def _graphs(table: FrameTable, device: torch.device) -> Measured:
    few, config = _first(table, GRAPH_FRAMES), WindowConfig()
    fast, plain = _best_in_turns(
        partial(build_graphs, few, config), partial(build_graphs_plainly, few, config), repeats=5
    )
    return {"frames_per_s": len(few) / fast}, {"frames_per_s": len(few) / plain}


def _parsing(table: FrameTable, device: torch.device) -> Measured:
    fast, plain = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, (suffix, write) in WRITERS.items():
            path = Path(folder, f"bench{suffix}")
            write(table, path)
            read = partial(read_capture, path)
            if name not in PLAIN_READERS:
                fast[name] = len(table) / _best_time(read)
                continue
            times = _best_in_turns(read, partial(PLAIN_READERS[name], path))
            fast[name], plain[name] = (len(table) / time for time in times)
    return {"parse_frames_per_s": fast}, {"parse_frames_per_s": plain}


def _parsing_with_libraries(table: FrameTable, device: torch.device) -> Measured:
    fast, plain = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, library in {**LIBRARIES, **ASC_SPELLINGS}.items():
            few = _first(table, SPELLING_FRAMES if name in ASC_SPELLINGS else LIBRARY_FRAMES)
            path = Path(folder, f"bench{library.suffix}")
            library.write(few, path)
            in_turns = _best_in_turns
            if name == mf4.NAME:
                # Read in a process of its own, whose CPU time does not show here.
                in_turns = partial(_best_in_turns, repeats=7, clock=time.perf_counter)
            times = in_turns(partial(read_capture, path), partial(library.read, path))
            fast[name], plain[name] = (len(few) / time for time in times)
    share = {name: plain[name] / fast[name] for name in fast}
    return {"parse_frames_per_s": fast, "share_of_library_time": share}, {
        "parse_frames_per_s": plain
    }


def _scoring(table: FrameTable, device: torch.device) -> Measured:
    store = build_graphs(table, WindowConfig())
    relative = relate_to_past(store)
    vgae, gat = VGAE(VGAEConfig()).to(device).eval(), GAT(GATConfig()).to(device).eval()

    def score() -> None:
        graphs = GraphTensors.join([(store, relative)], device)
        outputs([vgae, gat], graphs)

    @torch.inference_mode()
    def score_plainly(windows: int) -> None:
        for number in range(windows):
            batch = _collated(store, relative.x, relative.edge_attr, relative.window_attr, number)
            batch = batch.to(device)
            vgae.components(batch)
            gat(batch)

    few = min(len(store), 200)
    score_plainly(3)
    return {
        "graphs_per_s": len(store) / _best_time(score),
        "graphs_per_s_all_cores": len(store) / _best_time(score, clock=time.perf_counter),
    }, {
        "graphs_per_s": few / _time(lambda: score_plainly(few)),
        "graphs_per_s_all_cores": few / _time(lambda: score_plainly(few), time.perf_counter),
    }


def _fusion(table: FrameTable, device: torch.device) -> Measured:
    cache = scored_windows()
    config = create_fusion_config(
        training={"max_epochs": FUSION_EPOCHS, "patience": 100, "device": device.type}
    )
    train, validation = cache.train_validation_split(0.25, 0)
    batch = config.agent.batch_size
    trained = train_agent(train, validation, config)
    updates = trained.updates / _time(partial(train_agent, train, validation, config))
    plain_updates = PLAIN_UPDATES / _time(lambda: train_plainly(train, config.agent, PLAIN_UPDATES))
    grid = np.linspace(0, 1, 50, dtype=np.float32)

    def map_plainly() -> None:
        for row in grid:
            for column in grid:
                trained.agent.alpha([row], [column])

    fast = {
        "updates_per_s": updates,
        "transitions_per_s": updates * batch,
        "policy_ms": 1e3 * _best_time(lambda: policy_map(trained.agent, 50)),
    }
    plain = {
        "updates_per_s": plain_updates,
        "transitions_per_s": plain_updates * batch,
        "policy_ms": 1e3 * _time(map_plainly),
    }
    return fast, plain


def _collated(
    store: GraphStore, x: np.ndarray, edge_attr: np.ndarray, window_attr: np.ndarray, number: int
) -> Batch:
    """One window as PyG collates it, graph by graph."""
    nodes = slice(int(store.node_ptr[number]), int(store.node_ptr[number + 1]))
    edges = slice(int(store.edge_ptr[number]), int(store.edge_ptr[number + 1]))
    window = np.hstack([store.window_attr[number], window_attr[number]])
    data = Data(
        x=torch.from_numpy(np.hstack([store.x[nodes], x[nodes]])),
        edge_index=torch.from_numpy(store.edge_index[:, edges]).long(),
        edge_attr=torch.from_numpy(np.hstack([store.edge_attr[edges], edge_attr[edges]])),
        window_attr=torch.from_numpy(window)[None],
    )
    return Batch.from_data_list([data])


def _first(table: FrameTable, frames: int) -> FrameTable:
    columns = ("timestamp", "arbitration_id", "flags", "length", "payload", "label", "attack")
    return FrameTable(
        **{name: getattr(table, name)[:frames] for name in columns},
        attack_names=table.attack_names,
    )


def _ratio(fast: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """How many times faster; of ``_ms`` figures, how many times shorter."""
    ratio: dict[str, Any] = {}
    for name, value in plain.items():
        if isinstance(value, dict):
            ratio[name] = _ratio(fast[name], value)
        else:
            ratio[name] = value / fast[name] if name.endswith("_ms") else fast[name] / value
    return ratio


def _best_time(
    work: Callable[[], Any], repeats: int = 3, clock: Callable[[], float] | None = None
) -> float:
    return min(_time(work, clock) for _ in range(repeats))


def _best_in_turns(
    fast: Callable[[], Any],
    plain: Callable[[], Any],
    repeats: int = 3,
    clock: Callable[[], float] | None = None,
) -> tuple[float, float]:
    """The best time of both; in turns, so that a machine busy for a while disturbs both."""
    gc.collect()
    # What is there already is not to be looked through each time the plain way fills the memory.
    gc.freeze()
    try:
        times = [(_time(fast, clock), _time(plain, clock)) for _ in range(repeats)]
    finally:
        gc.unfreeze()
    return min(time for time, _ in times), min(time for _, time in times)


def _time(work: Callable[[], Any], clock: Callable[[], float] | None = None) -> float:
    clock = clock or (time.perf_counter if torch.cuda.is_available() else time.process_time)
    start = clock()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start
