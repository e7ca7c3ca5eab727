"""Detectors trained on everything, and others that each leave out one part of the captures.

The scores that the fusion agent learns from come from the latter: a detector knows the captures
that it was trained on, and on those it looks better than it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.captures.rehearsal import KINDS
from core.config import DetectorConfig
from core.detectors.checkpoint import load_gat, load_vgae, save_detector
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.scoring import (
    anomaly_score,
    attack_log_odds,
    center_and_spread,
    clean_thresholds,
    deviation,
    error_components,
    probability,
    stage,
)
from core.detectors.training import fit_gat, fit_vgae, hold_out
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
            about = {
                "folds": len(self.folds),
                "classifiers": classifiers,
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
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: no trained detectors there ({error})") from error

        def read(name: str) -> Detectors:
            return Detectors(
                load_vgae(folder / name / "vgae.safetensors"),
                load_gat(folder / name / "gat.safetensors") if name in classifiers else None,
            )

        return cls(read("final"), tuple(read(f"fold_{i}") for i in range(folds)))


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
    """``[W]`` what the anomaly score is made from (:func:`core.detectors.scoring.deviation`)."""


def score_capture(detectors: Detectors, capture: PreparedCapture, device: torch.device) -> Scores:
    """Score a capture's windows; commissioning windows serve as reference and are left out."""
    vgae = detectors.vgae.to(device)
    gat = detectors.gat.to(device) if detectors.gat is not None else None
    errors, odds = [], []
    with undisturbed():
        for part in capture.parts():
            graphs = GraphTensors.join([part], device)
            errors.append(error_components(vgae, graphs))
            if gat is not None:
                odds.append(attack_log_odds(gat, graphs))
    components = np.concatenate(errors)
    if len(capture.reference):
        center, spread = center_and_spread(components[capture.reference])
    else:
        center = vgae.component_center.double().cpu().numpy()
        spread = vgae.component_spread.double().cpu().numpy()
    scored = components[capture.scored]
    distance = deviation(scored, center, spread)
    thresholds = vgae.thresholds.double().cpu().numpy()
    gat_prob = np.full(len(scored), UNDECIDED)
    if gat is not None:
        gat_prob = probability(np.concatenate(odds))[capture.scored]
    return Scores(
        windows=capture.scored,
        anomaly_score=anomaly_score(distance, thresholds[stage(capture.experience)]),
        gat_prob=gat_prob,
        components=scored,
        deviation=distance,
    )


def folds_of(captures: Sequence[PreparedCapture], folds: int) -> list[npt.NDArray[np.int64]]:
    """Fold of every window of every training capture, as :func:`assign_folds` deals them out.

    A rehearsal belongs to the fold of the recorded traffic that it was acted out on.
    """
    recorded = [c for c in captures if c.rehearsal is None]
    rehearsed = len(recorded) < len(captures)
    assigned = assign_folds([c.store.y for c in recorded], folds, whole=rehearsed)
    by_key = {c.key: fold for c, fold in zip(recorded, assigned, strict=True)}
    result = []
    for capture in captures:
        if capture.rehearsal is None:
            result.append(by_key[capture.key])
        else:
            ends = by_key[capture.rehearsal.of][[0, -1]]
            result.append(np.full(len(capture.store), ends[capture.rehearsal.half]))
    return result


def assign_folds(
    labels: Sequence[npt.NDArray[np.uint8]], folds: int, whole: bool = False
) -> list[npt.NDArray[np.int64]]:
    """Fold of every window of every capture.

    Whole captures go to one fold, attacked and attack-free ones each dealt out in turn, so that
    every other fold keeps attacks to learn from. Where at most one capture holds attacks (or there
    is one capture in all), each capture is cut in two at the middle of its attacked windows. If
    that leaves all clean windows of an only capture on one side (an attack that lasts to its end),
    they are cut at their own middle. :func:`train_stack` leaves a gap between the halves.

    Args:
        whole: attacks are rehearsed, so that no fold depends on those recorded: captures are cut
            only where there is just one.
    """
    attacked = [bool(y.any()) for y in labels]
    if len(labels) == 1:
        (fold,) = map(_halves, labels)
        clean = np.flatnonzero(labels[0] == 0)
        if len(np.unique(fold[clean])) == 1:
            fold[clean] = np.arange(len(clean)) >= len(clean) // 2
        return [fold]
    if sum(attacked) == 1 and not whole:
        return [_halves(y) for y in labels]
    groups = min(folds, max(sum(attacked), 2 * whole) or len(labels))
    # Attack-free captures are dealt out from the other end, to even out the folds' sizes.
    turn = {True: 0, False: groups - 1}
    result = []
    for y, has_attack in zip(labels, attacked, strict=True):
        result.append(np.full(len(y), turn[has_attack] % groups))
        turn[has_attack] += 1 if has_attack else -1
    return result


def train_stack(
    captures: Sequence[PreparedCapture],
    config: DetectorConfig,
    device: torch.device,
    reporter: Reporter,
) -> DetectorStack:
    """Train the final detectors and one pair per fold, and set the anomaly thresholds.

    The thresholds, where the anomaly score is 0.5, come from clean windows that the scoring VGAE
    has not seen.

    Raises:
        DatasetError: if there is no clean window to learn from.
    """
    graphs = GraphTensors.join([(c.store, c.relative) for c in captures], device)
    offset = np.cumsum([0] + [len(c.store) for c in captures])
    usable = np.concatenate([c.taught + o for c, o in zip(captures, offset, strict=False)])
    sizes = [len(c.store) for c in captures]
    owner = np.repeat(np.arange(len(captures)), sizes)
    recorded = np.repeat([c.rehearsal is None for c in captures], sizes)
    label = np.concatenate([c.store.y for c in captures])
    fold = np.concatenate(folds_of(captures, config.folds))
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
    names = ["", *(f"fold {n}" for n in range(1, len(parts)))]
    if not all(clean[part].any() for part in parts):
        raise DatasetError(
            "cross-fitting needs attack-free windows in at least two training captures, "
            "or in both halves of the only one"
        )
    splits = [_split(part, owner, label, config) for part in parts]
    vgaes: list[VGAE] = []
    gats: list[GAT | None] = []
    for number, (train, validation) in enumerate(splits):
        listener = PartReporter(reporter, number, len(parts), names[number])
        known = [some[clean[some]] for some in (train, validation)]
        vgaes.append(fit_vgae(graphs, known[0], known[1], config, listener))
    for number, (train, validation) in enumerate(splits):
        listener = PartReporter(reporter, number, len(parts), names[number])
        if label[train].any():
            gats.append(fit_gat(graphs, train, validation, config, listener))
        else:
            gats.append(None)
            which = " ".join(filter(None, ("GAT", names[number])))
            reporter.log(f"{which}: no attacked window to learn from; it stays undecided")
    final, *folds = map(Detectors, vgaes, gats)
    distances, experience = [], []
    for number, detectors in enumerate(folds):
        for capture, start in zip(captures, offset, strict=False):
            rows = capture.scored + start
            wanted = (fold[rows] == number) & clean[rows]
            if wanted.any():
                distances.append(score_capture(detectors, capture, device).deviation[wanted])
                experience.append(capture.experience[wanted])
    thresholds = clean_thresholds(np.concatenate(distances), np.concatenate(experience))
    for detectors in (final, *folds):
        detectors.vgae.thresholds.copy_(torch.from_numpy(thresholds))
    return DetectorStack(final, tuple(folds))


def _split(
    part: npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    label: npt.NDArray[np.uint8],
    config: DetectorConfig,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Windows to train on and windows to pick the epoch by, which share no frames with those."""
    validation = part[hold_out(owner[part], label[part], config.val_fraction, config.seed)]
    held_out = np.zeros(len(label), bool)
    held_out[validation] = True
    return _without(held_out, owner, part, label, config.window.overlap), validation


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


def _halves(label: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """0 up to the middle of the attacked windows (of all, where none is), 1 after it."""
    rows = np.flatnonzero(label)
    middle = int(rows[len(rows) // 2]) if len(rows) else len(label) // 2
    return (np.arange(len(label)) >= middle).astype(np.int64)
