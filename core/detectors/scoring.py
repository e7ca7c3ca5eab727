"""From graphs to what the two networks say: whole batches, no loop over windows.

What scores are made of that is in :mod:`core.detectors.calibration`.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import joblib
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch_geometric.data import Batch

from core.detectors import inference
from core.detectors.gat import GAT
from core.detectors.vgae import COMPONENTS, VGAE
from core.graphs.tensors import GraphTensors, SortedWindows
from core.undisturbed import undisturbed

BATCH = 512
"""Windows scored at once on a GPU."""
BATCH_EDGES = 8192
"""Edges scored at once by each core: what fits in its cache, and some more."""


def error_components(model: VGAE, graphs: GraphTensors) -> npt.NDArray[np.float64]:
    """``[G, len(COMPONENTS)]`` log reconstruction errors of every window."""
    if not len(graphs):
        return np.empty((0, len(COMPONENTS)))
    return _scores(model.components, partial(inference.error_components, model), graphs)


def attack_log_odds(model: GAT, graphs: GraphTensors) -> npt.NDArray[np.float64]:
    """``[G]`` log-odds that a window holds an attack."""
    if not len(graphs):
        return np.empty(0)
    return _scores(model, partial(inference.log_odds, model), graphs)


@torch.inference_mode()
def _scores(
    on_device: Callable[[Batch], Tensor],
    on_cpu: Callable[[SortedWindows], Tensor],
    graphs: GraphTensors,
) -> npt.NDArray[np.float64]:
    """``[G, ...]`` scores of all windows; on a CPU by as many threads as there are cores."""
    if graphs.y.device.type != "cpu":
        index = torch.arange(len(graphs), device=graphs.y.device)
        parts = [on_device(graphs.gather(i)) for i in index.split(BATCH)]
    else:
        # Whole batches side by side: the tensors of one are too small to be shared out.
        with undisturbed(), ThreadPoolExecutor(joblib.cpu_count()) as pool:
            bounds = graphs.stretches(BATCH_EDGES)
            parts = list(pool.map(lambda pair: on_cpu(graphs.sorted_windows(*pair)), bounds))
    return torch.cat(parts).double().cpu().numpy()
