"""From graphs to what the two networks say: whole batches, no loop over windows.

What scores are made of that is in :mod:`core.detectors.calibration`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import joblib
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.detectors.gat import GAT
from core.detectors.inference import FastGAT, FastVGAE
from core.detectors.vgae import COMPONENTS, VGAE
from core.graphs.tensors import GraphTensors
from core.undisturbed import undisturbed

T = TypeVar("T")

BATCH = 512
"""Windows scored at once on a GPU."""
BATCH_EDGES = 8192
"""Edges scored at once by each core: what fits in its cache, and some more."""


def error_components(model: VGAE, graphs: GraphTensors) -> npt.NDArray[np.float64]:
    """``[G, len(COMPONENTS)]`` log reconstruction errors of every window."""
    (components,) = outputs([model], graphs)
    return components


def attack_log_odds(model: GAT, graphs: GraphTensors) -> npt.NDArray[np.float64]:
    """``[G]`` log-odds that a window holds an attack."""
    (log_odds,) = outputs([model], graphs)
    return log_odds


@torch.inference_mode()
def outputs(models: Sequence[VGAE | GAT], graphs: GraphTensors) -> list[npt.NDArray[np.float64]]:
    """Each model's errors ``[G, len(COMPONENTS)]`` or log-odds ``[G]`` of all windows.

    Every batch is gathered once for all models; on a CPU by as many threads as there are cores.
    """
    if not len(graphs):
        return [np.empty((0, len(COMPONENTS)) if isinstance(m, VGAE) else 0) for m in models]
    if graphs.y.device.type != "cpu":
        index = torch.arange(len(graphs), device=graphs.y.device)
        on_device = [m.components if isinstance(m, VGAE) else m for m in models]
        parts = [_all(on_device, graphs.gather(i)) for i in index.split(BATCH)]
    else:
        fast = [FastVGAE(m) if isinstance(m, VGAE) else FastGAT(m) for m in models]
        # Whole batches side by side: the tensors of one are too small to be shared out.
        with undisturbed(), ThreadPoolExecutor(joblib.cpu_count()) as pool:
            bounds = graphs.stretches(BATCH_EDGES)
            parts = list(pool.map(lambda pair: _all(fast, graphs.sorted_windows(*pair)), bounds))
    return [torch.cat(some).double().cpu().numpy() for some in zip(*parts, strict=True)]


def _all(functions: Sequence[Callable[[T], Tensor]], batch: T) -> list[Tensor]:
    return [function(batch) for function in functions]
