"""Detectors trained on everything, and others that each leave out one part of the captures.

The scores that the fusion agent learns from come from the latter: a detector knows the captures
that it was trained on, and on those it looks better than it is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import expit
from torch import Tensor

from core.captures.rehearsal import KINDS
from core.config import DetectorConfig
from core.detectors.calibration import (
    Logistic,
    anomaly_score,
    center_and_spread,
    clean_thresholds,
    deviation,
    expected_spread,
    fit_logistic,
    stage,
    usual_spread,
)
from core.detectors.checkpoint import load_gat, load_vgae, save_arrays, save_detector
from core.detectors.folds import folds_of, why_not
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.protocol import (
    Detector,
    Lesson,
    fit_further,
    further_kinds,
    kinds_named,
    restored,
)
from core.detectors.scoring import attack_log_odds, error_components, outputs
from core.detectors.training import (
    Course,
    GATModule,
    VGAEModule,
    best_epoch,
    fit_gat,
    fit_vgae,
)
from core.detectors.unfinished import kept
from core.detectors.vgae import VGAE
from core.errors import CheckpointError, DatasetError
from core.files import atomic_path
from core.graphs.tensors import GraphTensors
from core.graphs.windows import widened
from core.progress import PartReporter, Reporter
from core.undisturbed import undisturbed

FINAL = -1
"""Fold number of the detectors that were trained on all training captures."""
UNDECIDED = 0.5
"""Attack probability where no GAT could be trained."""


@dataclass(frozen=True)
class Detectors:
    """A VGAE and, where there was an attack to learn from, a GAT."""

    vgae: VGAE
    gat: GAT | None
    extra: Mapping[str, Detector] = field(default_factory=dict)
    """Further detectors by name."""


@dataclass(frozen=True)
class DetectorStack:
    """The final detectors and those of each fold."""

    final: Detectors
    folds: tuple[Detectors, ...] = ()

    def of(self, fold: int) -> Detectors:
        """Detectors of a fold, or the final ones for :data:`FINAL`."""
        return self.final if fold == FINAL else self.folds[fold]

    def save(self, folder: Path, fingerprint: dict[str, object]) -> None:
        """Write all detectors and what they were made from, atomically."""
        with atomic_path(folder) as temporary:
            classifiers = []
            for name, detectors in [("final", self.final)] + [
                (f"fold_{i}", d) for i, d in enumerate(self.folds)
            ]:
                save_detector(detectors.vgae, temporary / name / "vgae.safetensors")
                if detectors.gat is not None:
                    save_detector(detectors.gat, temporary / name / "gat.safetensors")
                    classifiers.append(name)
                for kind, further in detectors.extra.items():
                    save_arrays(kind, further.state(), temporary / name / f"{kind}.safetensors")
            about = {
                "folds": len(self.folds),
                "classifiers": classifiers,
                "extra": list(self.final.extra),
                "fingerprint": fingerprint,
            }
            (temporary / "detectors.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "DetectorStack":
        """Read a saved stack.

        Raises:
            CheckpointError: if a file is missing, damaged or of another shape.
        """
        try:
            about = json.loads((folder / "detectors.json").read_text(encoding="utf-8"))
            folds, classifiers = int(about["folds"]), list(about["classifiers"])
            kinds = kinds_named(about["extra"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: no trained detectors there ({error})") from error

        def read(name: str) -> Detectors:
            return Detectors(
                load_vgae(folder / name / "vgae.safetensors"),
                load_gat(folder / name / "gat.safetensors") if name in classifiers else None,
                {kind: restored(kind, folder / name / f"{kind}.safetensors") for kind in kinds},
            )

        return cls(read("final"), tuple(read(f"fold_{i}") for i in range(folds)))


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
    own = _numbers(vgae.component_center), _numbers(vgae.component_spread)
    center, spread = _normal(evidence.components, capture, own)
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
    own = _numbers(gat.odds_center)[None], _numbers(gat.odds_spread)[None]
    center, spread = _normal(evidence.log_odds[:, None], capture, own)
    usual = _numbers(gat.odds_usual)[None] if usual is None else usual
    return (evidence.log_odds - center) / expected_spread(spread, usual)


Lessons = Callable[[int], tuple[Callable[..., VGAEModule], Callable[..., GATModule]]]
"""Fold (or :data:`FINAL`) -> the modules that its VGAE and its GAT are trained by."""


def _from_data(fold: int) -> tuple[Callable[..., VGAEModule], Callable[..., GATModule]]:
    return VGAEModule, GATModule


def train_stack(
    captures: Sequence[PreparedCapture],
    config: DetectorConfig,
    device: torch.device,
    reporter: Reporter,
    unfinished: Path | None = None,
    lessons: Lessons = _from_data,
) -> DetectorStack:
    """Train a pair of detectors per fold and the final ones, and calibrate them.

    The folds' detectors are trained first. The captures that they left out say after how many
    epochs training should end, where the anomaly score is 0.5, and what a log-odds means. The
    final detectors, trained on all captures, take that over; those of a fold are calibrated on
    what the other folds left out, as no capture may decide about its own scores.

    Args:
        unfinished: folder that trained networks are kept in until all are, of the same captures,
            settings and code: a training that was stopped goes on with those that are there.
        lessons: fold -> what its detectors learn by.

    Raises:
        DatasetError: if there is no clean window to learn from.
        ConfigError: if ``config.extra`` names a detector that there is not.
    """
    kinds = further_kinds(config)
    graphs = GraphTensors.join([(c.store, c.relative) for c in captures], device)
    offset = np.cumsum([0] + [len(c.store) for c in captures])
    usable = np.concatenate([c.taught + o for c, o in zip(captures, offset, strict=False)])
    sizes = [len(c.store) for c in captures]
    owner = np.repeat(np.arange(len(captures)), sizes)
    recorded = np.repeat([c.rehearsal is None for c in captures], sizes)
    label = np.concatenate([c.store.y for c in captures])
    fold = np.concatenate(folds_of(captures, config))
    if note := why_not(captures, config):
        reporter.log(note)
    clean = recorded & (label == 0)
    if not clean[usable].any():
        raise DatasetError("no attack-free window in the training captures: nothing to learn from")

    # Part 0 is all that may be learnt from; every further part leaves one fold out, the windows
    # beside it, and the rehearsals of some kinds of attack.
    guard = max(1, config.window.overlap)
    count = int(fold.max()) + 1
    kind = np.repeat([_kind(c) for c in captures], sizes)
    parts = [usable] + [
        _without(
            fold == n, owner, usable[(kind[usable] < 0) | (kind[usable] % count != n)], label, guard
        )
        for n in range(count)
    ]
    left_out = [usable[:0]] + [usable[fold[usable] == n] for n in range(count)]
    if not all(clean[part].any() for part in parts):
        raise DatasetError(
            "cross-fitting needs attack-free windows in at least two training captures, "
            "or in both halves of the only one"
        )

    def listener(number: int) -> PartReporter:
        # The final detectors, part 0, come last.
        place = (number - 1) % len(parts)
        return PartReporter(reporter, place, len(parts), f"fold {number}" if number else "")

    def vgae_course(number: int, epochs: int | None = None) -> Course[VGAE]:
        known, held = (some[clean[some]] for some in (parts[number], left_out[number]))
        by, _ = lessons(number - 1)
        return kept(
            unfinished and unfinished / f"vgae_{number}.safetensors",
            lambda: VGAE(config.vgae),
            lambda: fit_vgae(graphs, known, held, config, listener(number), epochs, by),
            device,
        )

    def gat_course(number: int, epochs: int | None = None) -> Course[GAT] | None:
        part, held = parts[number], left_out[number]
        if not label[part].any():
            which = " ".join(filter(None, ("GAT", f"fold {number}" if number else "")))
            reporter.log(f"{which}: no attacked window to learn from; it stays undecided")
            return None
        anomaly = deviation(
            errors[number][part], *center_and_spread(errors[number][part[clean[part]]])
        )
        _, by = lessons(number - 1)
        return kept(
            unfinished and unfinished / f"gat_{number}.safetensors",
            lambda: GAT(config.gat),
            lambda: fit_gat(graphs, part, held, config, listener(number), epochs, anomaly, by),
            device,
        )

    courses = [vgae_course(n) for n in range(1, len(parts))]
    epoch = best_epoch(courses)
    vgaes = [vgae_course(0, epoch + 1).at(epoch), *(course.at(epoch) for course in courses)]
    errors = [error_components(vgae, graphs) for vgae in vgaes]
    for vgae, error, part in zip(vgaes, errors, parts, strict=True):
        center, spread = center_and_spread(error[part[clean[part]]])
        _set(vgae.component_center, center)
        _set(vgae.component_spread, spread)

    gat_courses = [gat_course(n) for n in range(1, len(parts))]
    taught = [course for course in gat_courses if course is not None]
    epoch = best_epoch(taught) if taught else config.gat.epochs - 1
    final = gat_course(0, epoch + 1)
    gats = [course.at(epoch) if course is not None else None for course in (final, *gat_courses)]
    odds = [attack_log_odds(gat, graphs) if gat is not None else None for gat in gats]
    for gat, found, part in zip(gats, odds, parts, strict=True):
        if gat is not None and found is not None:
            center, spread = center_and_spread(found[part[clean[part]]][:, None])
            _set(gat.odds_center, center[0])
            _set(gat.odds_spread, spread[0])

    detectors = [
        Detectors(vgae, gat, fit_further(kinds, _lessons(captures, part), config, device))
        for vgae, gat, part in zip(vgaes, gats, parts, strict=True)
    ]
    unseen = [
        _Unseen(
            n,
            detectors[1 + n],
            capture,
            Evidence(errors[1 + n], odds[1 + n]).windows(slice(start, start + len(capture.store))),
            rows,
        )
        for n in range(count)
        for capture, start in zip(captures, offset, strict=False)
        if len(rows := capture.taught[fold[capture.taught + start] == n])
    ]
    for number, pair in enumerate(detectors):
        others = [part for part in unseen if part.fold != number - 1]
        _calibrate_vgae(pair.vgae, others, unseen)
        if pair.gat is not None and not _calibrate_gat(pair.gat, others, unseen) and not number:
            reporter.log(
                "GAT: no attack in captures that a fold left out; its log-odds are taken at their "
                "word, as they cannot be calibrated"
            )
    return DetectorStack(detectors[0], tuple(detectors[1:]))


@dataclass(frozen=True)
class _Unseen:
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


def _calibrate_vgae(
    vgae: VGAE, preferred: Sequence[_Unseen], everything: Sequence[_Unseen]
) -> None:
    """Set usual spread, and thresholds by stage of experience, from recorded windows."""

    def clean_of(unseen: Sequence[_Unseen]) -> list[_Unseen]:
        return [part for part in unseen if part.capture.rehearsal is None and len(part.clean)]

    clean = clean_of(preferred) or clean_of(everything)
    above = []
    for part in clean:
        model = part.detectors.vgae
        own = _numbers(model.component_center), _numbers(model.component_spread)
        center, _ = _normal(part.evidence.components, part.capture, own)
        above.append(part.evidence.components[part.clean] - center)
    usual = usual_spread(np.concatenate(above))
    distances, experience, attacked = [], [], []
    for part in clean:
        distance = deviation_of(part.detectors.vgae, part.capture, part.evidence, usual)
        distances.append(distance[part.clean])
        if len(part.capture.reference):
            # Without a reference another vehicle departs by more than these captures tell:
            # thresholds stay as high as may be.
            attacked.append(distance[part.rows[part.label > 0]])
        experience.append(part.capture.experience[np.isin(part.capture.scored, part.clean)])
    thresholds = clean_thresholds(
        np.concatenate(distances),
        np.concatenate(experience),
        np.concatenate([*attacked, np.empty(0)]),
    )
    _set(vgae.component_usual, usual)
    _set(vgae.thresholds, thresholds)


def _calibrate_gat(gat: GAT, preferred: Sequence[_Unseen], everything: Sequence[_Unseen]) -> bool:
    """Set usual spread, and what a departure means; False where no window says so."""
    for unseen in (preferred, everything):
        judged = [part for part in unseen if part.detectors.gat is not None]
        if judged and len(np.unique(np.concatenate([part.label for part in judged]))) > 1:
            break
    else:
        return False
    above = []
    for part in judged:
        assert part.detectors.gat is not None
        assert part.evidence.log_odds is not None
        model = part.detectors.gat
        own = _numbers(model.odds_center)[None], _numbers(model.odds_spread)[None]
        center, _ = _normal(part.evidence.log_odds[:, None], part.capture, own)
        above.append(part.evidence.log_odds[part.clean] - center)
    usual = usual_spread(np.concatenate(above)[:, None])
    departures = []
    for part in judged:
        assert part.detectors.gat is not None
        departure = departure_of(part.detectors.gat, part.capture, part.evidence, usual)
        departures.append(departure[part.rows])
    label = np.concatenate([part.label for part in judged])
    slope, border = fit_logistic(np.concatenate(departures), label)
    _set(gat.odds_usual, usual[0])
    _set(gat.slope, slope)
    _set(gat.border, border)
    gat.calibrated.fill_(True)
    return True


def _probability(gat: GAT, capture: PreparedCapture, evidence: Evidence) -> npt.NDArray[np.float64]:
    """``[G]`` attack probability of all windows of a capture."""
    assert evidence.log_odds is not None
    if not gat.calibrated:
        return expit(evidence.log_odds)
    mapping = Logistic(float(gat.slope), float(gat.border))
    return mapping.probability(departure_of(gat, capture, evidence))


def _normal(
    values: npt.NDArray[np.float64],
    capture: PreparedCapture,
    own: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Center and spread ``[C]`` of ``[G, C]`` in the reference windows of a capture; ``own``, the
    network's of its training, where there are none."""
    return center_and_spread(values[capture.reference]) if len(capture.reference) else own


def _numbers(tensor: Tensor) -> npt.NDArray[np.float64]:
    return tensor.double().cpu().numpy()


def _set(buffer: Tensor, value: npt.ArrayLike) -> None:
    buffer.copy_(torch.as_tensor(value))


def _lessons(captures: Sequence[PreparedCapture], part: npt.NDArray[np.int64]) -> list[Lesson]:
    """A part of all windows, one capture after another, as what each capture holds of it."""
    ends = np.cumsum([len(c.store) for c in captures])
    chosen = np.split(part, np.searchsorted(part, ends[:-1]))
    return [
        Lesson(capture, rows - (end - len(capture.store)))
        for capture, rows, end in zip(captures, chosen, ends, strict=True)
    ]


def _kind(capture: PreparedCapture) -> int:
    """Index among the kinds of rehearsed attacks; -1 for recorded traffic."""
    return -1 if capture.rehearsal is None else KINDS.index(capture.rehearsal.kind)


def _without(
    left_out: npt.NDArray[np.bool_],
    owner: npt.NDArray[np.int64],
    usable: npt.NDArray[np.int64],
    label: npt.NDArray[np.uint8],
    guard: int,
) -> npt.NDArray[np.int64]:
    """Usable windows that are not left out, with a gap of ``guard`` windows to those that are."""
    outside = usable[~left_out[usable]]
    away = usable[~widened(left_out, owner, guard)[usable]]
    # So few windows that the guard would cost a class: rather close than blind.
    return away if np.array_equal(np.unique(label[away]), np.unique(label[outside])) else outside
