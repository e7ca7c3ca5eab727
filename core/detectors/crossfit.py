"""Detectors trained on everything, and others that each leave out one part of the captures.

The scores that the fusion agent learns from come from the latter: a detector knows the captures
that it was trained on, and on those it looks better than it is.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from core.captures.rehearsal import KINDS
from core.config import DetectorConfig
from core.detectors.calibration import center_and_spread, deviation
from core.detectors.capture_scores import Evidence
from core.detectors.folds import folds_of, why_not
from core.detectors.gat import GAT
from core.detectors.prepare import PreparedCapture
from core.detectors.protocol import Lesson, fit_further, further_kinds
from core.detectors.scoring import attack_log_odds, error_components
from core.detectors.stack import Detectors, DetectorStack
from core.detectors.stack_calibration import Unseen, calibrate_gat, calibrate_vgae, set_buffer
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
from core.errors import DatasetError
from core.graphs.tensors import GraphTensors
from core.graphs.windows import widened
from core.progress import PartReporter, Reporter

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
    final detectors, trained on all captures, take that over, and with profiles those of the folds
    too: one mapping for all, as what a fold says is to be read like what the final detectors say.
    (With a mapping per fold, from what the other folds left out, the one capture that departs most
    has its clean windows above its fold's threshold. The agent learns from them to pass over
    attacks that the final detectors see.) Without profiles captures of other vehicles depart by
    much, which a fold that has seen all of them would not tell: there its detectors are calibrated
    on what the other folds left out.

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
        set_buffer(vgae.component_center, center)
        set_buffer(vgae.component_spread, spread)

    gat_courses = [gat_course(n) for n in range(1, len(parts))]
    taught = [course for course in gat_courses if course is not None]
    epoch = best_epoch(taught) if taught else config.gat.epochs - 1
    final = gat_course(0, epoch + 1)
    gats = [course.at(epoch) if course is not None else None for course in (final, *gat_courses)]
    odds = [attack_log_odds(gat, graphs) if gat is not None else None for gat in gats]
    for gat, found, part in zip(gats, odds, parts, strict=True):
        if gat is not None and found is not None:
            center, spread = center_and_spread(found[part[clean[part]]][:, None], tail=True)
            set_buffer(gat.odds_center, center[0])
            set_buffer(gat.odds_spread, spread[0])

    detectors = [
        Detectors(vgae, gat, fit_further(kinds, _lessons(captures, part), config, device))
        for vgae, gat, part in zip(vgaes, gats, parts, strict=True)
    ]
    unseen = [
        Unseen(
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
    profiled = any(len(capture.reference) for capture in captures)
    for number, pair in enumerate(detectors):
        telling = [part for part in unseen if profiled or part.fold != number - 1]
        calibrate_vgae(pair.vgae, telling, unseen)
        if pair.gat is not None and not calibrate_gat(pair.gat, telling, unseen) and not number:
            reporter.log(
                "GAT: no attack in captures that a fold left out; its log-odds are taken at their "
                "word, as they cannot be calibrated"
            )
    return DetectorStack(detectors[0], tuple(detectors[1:]))


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
