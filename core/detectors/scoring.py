"""From graphs to the two scores: reductions over the whole batch, no loop over windows."""

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
from core.detectors.vgae import COMPONENTS, EXPERIENCE, VGAE
from core.graphs.tensors import GraphTensors
from core.undisturbed import undisturbed

T = TypeVar("T")

BATCH = 512
"""Windows scored at once on a GPU."""
BATCH_EDGES = 8192
"""Edges scored at once by each core: what fits in its cache, and some more."""
SPREAD_FLOOR = 0.05
"""Spread of a log error below which a difference counts as noise."""
CLEAN_QUANTILE = 0.99
"""Share of clean windows, not trained on, that should score below 0.5."""
FEW_WINDOWS = 20
"""A stage with fewer clean windows than this has no threshold of its own."""


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


def probability(log_odds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logistic function, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * log_odds))


def center_and_spread(
    components: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Median and scaled median absolute deviation of clean windows' components, per component."""
    center = np.median(components, axis=0)
    spread = 1.4826 * np.median(np.abs(components - center), axis=0)
    return center, spread + SPREAD_FLOOR


def deviation(
    components: npt.NDArray[np.float64],
    center: npt.NDArray[np.float64],
    spread: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """``[G]`` root mean square, over the components, of how far each lies above normal.

    A window reconstructed better than usual is not anomalous: only excess counts.
    """
    excess = np.maximum((components - center) / spread, 0.0)
    return np.sqrt((excess**2).mean(axis=1))


def anomaly_score(
    deviations: npt.NDArray[np.float64], thresholds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Map deviations ``[G]`` to [0, 1], with 0.5 at the threshold: ``d^2 / (d^2 + t^2)``."""
    square = deviations**2
    return square / (square + thresholds**2)


def calibrate(model: VGAE, clean: npt.NDArray[np.float64]) -> None:
    """Set the model's own center and spread from clean windows' components ``[G, C]``."""
    center, spread = center_and_spread(clean)
    model.component_center.copy_(torch.from_numpy(center))
    model.component_spread.copy_(torch.from_numpy(spread))


def stage(experience: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``[G]`` index into :data:`EXPERIENCE` for the number of windows that each one's reference
    was learnt from."""
    return np.searchsorted(EXPERIENCE, experience, side="right") - 1


def clean_thresholds(
    deviations: npt.NDArray[np.float64], experience: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """``[len(EXPERIENCE)]`` deviation that :data:`CLEAN_QUANTILE` of clean, held-out windows of
    each stage stay below; never rising from one stage to the next."""
    stages = stage(experience)
    parts = [deviations[stages == number] for number in range(len(EXPERIENCE))]
    thresholds = np.array(
        [
            np.quantile(part if len(part) >= FEW_WINDOWS else deviations, CLEAN_QUANTILE)
            for part in parts
        ]
    )
    return np.maximum(np.maximum.accumulate(thresholds[::-1])[::-1], 1e-6)
