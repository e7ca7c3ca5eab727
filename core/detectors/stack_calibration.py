"""Calibration of both detectors on windows that the scoring networks had not seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.detectors.calibration import clean_thresholds, fit_logistic, stage, usual_spread
from core.detectors.capture_scores import (
    Evidence,
    departure_of,
    deviation_of,
    normal_components,
    normal_odds,
)
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.stack import Detectors
from core.detectors.vgae import VGAE

FEW_CAPTURES = 3
"""Fewer captures than this with a reference of full length do not speak for all."""


@dataclass(frozen=True)
class Unseen:
    """Windows of a capture, and what the detectors of the fold that left them out say of it."""

    fold: int
    detectors: Detectors
    capture: PreparedCapture
    evidence: Evidence
    rows: npt.NDArray[np.int64]

    @property
    def label(self) -> npt.NDArray[np.uint8]:
        """Of these windows."""
        return self.capture.store.y[self.rows]

    @property
    def clean(self) -> npt.NDArray[np.int64]:
        """Those that are not attacked."""
        return self.rows[self.label == 0]

    @property
    def stage(self) -> int:
        """Of the experience that the capture's profile was learnt from; 0 without one."""
        profile = self.capture.profile
        return int(stage(np.array(profile.windows))) if profile is not None else 0


def calibrate_vgae(vgae: VGAE, preferred: Sequence[Unseen], everything: Sequence[Unseen]) -> None:
    """Set usual spread, and thresholds by stage of experience, from recorded windows."""

    def clean_of(unseen: Sequence[Unseen]) -> list[Unseen]:
        return [part for part in unseen if part.capture.rehearsal is None and len(part.clean)]

    clean = clean_of(preferred) or clean_of(everything)
    above = []
    for part in clean:
        center, _ = normal_components(part.detectors.vgae, part.capture, part.evidence)
        above.append((part.evidence.components - center)[part.clean])
    usual = usual_spread(np.concatenate(above))
    distances, experience, attacked = [], [], []
    for part in clean:
        distance = deviation_of(part.detectors.vgae, part.capture, part.evidence, usual)
        distances.append(distance[part.clean])
        attacked.append(distance[part.rows[part.label > 0]])
        experience.append(part.capture.experience[np.isin(part.capture.scored, part.clean)])
    thresholds = clean_thresholds(
        np.concatenate(distances),
        np.concatenate(experience),
        np.concatenate(attacked),
        any(len(part.capture.reference) for part in clean),
    )
    set_buffer(vgae.component_usual, usual)
    set_buffer(vgae.thresholds, thresholds)


def calibrate_gat(gat: GAT, preferred: Sequence[Unseen], everything: Sequence[Unseen]) -> bool:
    """Set usual spread, and what a departure means; False where no window says so."""
    for unseen in (preferred, everything):
        judged = [part for part in unseen if part.detectors.gat is not None]
        if judged and len(np.unique(np.concatenate([part.label for part in judged]))) > 1:
            break
    else:
        return False
    judged = _experienced(judged)
    above = []
    for part in judged:
        assert part.detectors.gat is not None
        assert part.evidence.log_odds is not None
        center, _ = normal_odds(part.detectors.gat, part.capture, part.evidence)
        above.append((part.evidence.log_odds - center)[part.clean])
    usual = usual_spread(np.concatenate(above))
    departures = []
    for part in judged:
        assert part.detectors.gat is not None
        departure = departure_of(part.detectors.gat, part.capture, part.evidence, usual)
        departures.append(departure[part.rows])
    label = np.concatenate([part.label for part in judged])
    profiled = any(len(part.capture.reference) for part in judged)
    slope, border = fit_logistic(np.concatenate(departures), label, profiled)
    set_buffer(gat.odds_usual, usual)
    set_buffer(gat.slope, slope)
    set_buffer(gat.border, border)
    gat.calibrated.fill_(True)
    return True


def _experienced(judged: list[Unseen]) -> list[Unseen]:
    """Windows of captures whose profile was learnt from as many windows as any.

    What a short reference knows little of departs far, and a dozen windows of one short capture
    would set the border for all. All windows, where that leaves few captures or one class.
    """
    most = max(part.stage for part in judged)
    chosen = [part for part in judged if part.stage == most]
    told = np.unique(np.concatenate([part.label for part in chosen]))
    captures = {part.capture.key for part in chosen}
    return chosen if len(captures) >= FEW_CAPTURES and len(told) > 1 else judged


def set_buffer(buffer: Tensor, value: npt.ArrayLike) -> None:
    buffer.copy_(torch.as_tensor(value))
