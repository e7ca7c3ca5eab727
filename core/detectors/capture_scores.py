"""From what the two networks say of a capture to its scores, relative to what is normal there."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor

from core.detectors.calibration import (
    Logistic,
    anomaly_score,
    center_and_spread,
    deviation,
    expected_spread,
    passed_center,
    stage,
)
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.scoring import outputs
from core.detectors.stack import Detectors
from core.detectors.vgae import VGAE
from core.graphs.tensors import GraphTensors
from core.undisturbed import undisturbed

UNDECIDED = 0.5
"""Attack probability where no GAT could be trained."""

Normal = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Where clean windows lie, and how far they usually depart from there."""


@dataclass(frozen=True)
class Evidence:
    """What the two networks say of ``G`` windows in a row."""

    components: npt.NDArray[np.float64]
    """``[G, len(COMPONENTS)]`` log reconstruction errors."""
    log_odds: npt.NDArray[np.float64] | None
    """``[G]`` of an attack; None where there is no GAT."""

    def windows(self, rows: slice) -> "Evidence":
        """Some of the windows."""
        odds = None if self.log_odds is None else self.log_odds[rows]
        return Evidence(self.components[rows], odds)


@dataclass(frozen=True)
class Scores:
    """Scores of ``W`` windows of one capture."""

    windows: npt.NDArray[np.int64]
    """``[W]`` index in the capture."""
    anomaly_score: npt.NDArray[np.float64]
    gat_prob: npt.NDArray[np.float64]
    components: npt.NDArray[np.float64]
    """``[W, len(COMPONENTS)]`` log reconstruction errors."""
    deviation: npt.NDArray[np.float64]
    """``[W]`` what the anomaly score is made from, as :func:`deviation_of` gives it."""
    extra: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Further detectors' scores by name, each ``[W]``."""


def score_capture(detectors: Detectors, capture: PreparedCapture, device: torch.device) -> Scores:
    """Score a capture's windows; commissioning windows serve as reference and are left out."""
    vgae = detectors.vgae.to(device)
    gat = detectors.gat.to(device) if detectors.gat is not None else None
    errors, odds = [], []
    with undisturbed():
        for part in capture.parts():
            graphs = GraphTensors.join([part], device)
            error, *found = outputs([vgae] if gat is None else [vgae, gat], graphs)
            errors.append(error)
            odds += found
    evidence = Evidence(np.concatenate(errors), np.concatenate(odds) if odds else None)
    distance = deviation_of(detectors.vgae, capture, evidence)[capture.scored]
    thresholds = vgae.thresholds.double().cpu().numpy()
    gat_prob = np.full(len(capture.scored), UNDECIDED)
    if gat is not None:
        gat_prob = _probability(gat, capture, evidence)[capture.scored]
    return Scores(
        windows=capture.scored,
        anomaly_score=anomaly_score(distance, thresholds[stage(capture.experience)]),
        gat_prob=gat_prob,
        components=evidence.components[capture.scored],
        deviation=distance,
        extra={
            name: further.score(capture, device)[capture.scored]
            for name, further in detectors.extra.items()
        },
    )


def deviation_of(
    vgae: VGAE,
    capture: PreparedCapture,
    evidence: Evidence,
    usual: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """``[G]`` of all windows of a capture, from what is normal in its reference windows.

    Args:
        usual: taken instead of the VGAE's own usual spread.
    """
    center, spread = normal_components(vgae, capture, evidence)
    usual = _numbers(vgae.component_usual) if usual is None else usual
    return deviation(evidence.components, center, expected_spread(spread, usual))


def departure_of(
    gat: GAT,
    capture: PreparedCapture,
    evidence: Evidence,
    usual: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """``[G]`` how far the log-odds of a capture's windows lie above those of its reference.

    Args:
        usual: taken instead of the GAT's own usual spread.
    """
    assert evidence.log_odds is not None
    center, spread = normal_odds(gat, capture, evidence)
    usual = _numbers(gat.odds_usual) if usual is None else usual
    return (evidence.log_odds - center) / expected_spread(spread, usual)


def _probability(gat: GAT, capture: PreparedCapture, evidence: Evidence) -> npt.NDArray[np.float64]:
    """``[G]`` attack probability of all windows of a capture."""
    assert evidence.log_odds is not None
    if not gat.calibrated:
        return expit(evidence.log_odds)
    mapping = Logistic(float(gat.slope), float(gat.border))
    return mapping.probability(departure_of(gat, capture, evidence))


def normal_components(vgae: VGAE, capture: PreparedCapture, evidence: Evidence) -> Normal:
    """Center (``[C]``, or ``[G, C]`` of each window) and spread of clean windows' errors."""
    own = _numbers(vgae.component_center), _numbers(vgae.component_spread)
    return _normal(evidence.components, capture, own)


def normal_odds(gat: GAT, capture: PreparedCapture, evidence: Evidence) -> Normal:
    """Center (one, or ``[G]`` of each window) and spread of clean windows' log-odds."""
    assert evidence.log_odds is not None
    own = _numbers(gat.odds_center), _numbers(gat.odds_spread)
    return _normal(evidence.log_odds, capture, own, tail=True)


def _normal(
    values: npt.NDArray[np.float64],
    capture: PreparedCapture,
    own: Normal,
    tail: bool = False,
) -> Normal:
    """Center (of each window, or one for all) and spread of clean windows' ``[G]`` or ``[G, C]``.

    Those of the capture's reference windows; where there are none ``own``, the network's of its
    training, the center moved to where the windows before each one seem to lie.
    """
    if len(capture.reference):
        return center_and_spread(values[capture.reference], tail)
    center, spread = own
    return passed_center(values, center, spread), spread


def _numbers(tensor: Tensor) -> npt.NDArray[np.float64]:
    return tensor.double().cpu().numpy()
