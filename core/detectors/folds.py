"""Which part of the training captures each fold's detectors leave out."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from core.config import DetectorConfig
from core.detectors.prepare import PreparedCapture
from core.graphs.vehicles import Traffic, vehicles

Integers = npt.NDArray[np.int64]


def folds_of(captures: Sequence[PreparedCapture], config: DetectorConfig) -> list[Integers]:
    """Fold of every window of every training capture, as ``config.cross_fit`` says.

    ``capture``: as :func:`assign_folds` deals captures out. ``attack``: captures with the same
    attack are left out together; ``vehicle``: captures of the same vehicle, by their ids. Where
    there is just one attack, or vehicle, as for ``capture`` (:func:`why_not` says so).

    A rehearsal belongs to the fold of the recorded traffic that it was acted out on.
    """
    recorded = [c for c in captures if c.rehearsal is None]
    rehearsed = any(c.rehearsal is not None and c.rehearsal.taught for c in captures)
    groups = _groups(recorded, config.cross_fit)
    labels = [c.store.y for c in recorded]
    if len(set(groups) - {None}) > 1:
        assigned = _by_group(labels, groups, config.folds)
    else:
        assigned = assign_folds(labels, config.folds, whole=rehearsed)
    by_key = {c.key: fold for c, fold in zip(recorded, assigned, strict=True)}
    result = []
    for capture in captures:
        if capture.rehearsal is None:
            result.append(by_key[capture.key])
        else:
            ends = by_key[capture.rehearsal.of][[0, -1]]
            result.append(np.full(len(capture.store), ends[capture.rehearsal.half]))
    return result


def why_not(captures: Sequence[PreparedCapture], config: DetectorConfig) -> str:
    """Why folds are made by capture although not asked for; empty if they are not."""
    recorded = [c for c in captures if c.rehearsal is None]
    found = set(_groups(recorded, config.cross_fit)) - {None}
    if config.cross_fit == "capture" or len(found) > 1:
        return ""
    return (
        f"cross-fitting by {config.cross_fit} needs at least two of them in the training captures, "
        f"found {len(found)}: it is done by capture"
    )


def assign_folds(
    labels: Sequence[npt.NDArray[np.uint8]], folds: int, whole: bool = False
) -> list[Integers]:
    """Fold of every window of every capture.

    Whole captures go to one fold, attacked and attack-free ones each dealt out in turn, so that
    every other fold keeps attacks to learn from. Where at most one capture holds attacks (or there
    is one capture in all), each capture is cut in two at the middle of its attacked windows. If
    that leaves all clean windows of an only capture on one side (an attack that lasts to its end),
    they are cut at their own middle. :func:`core.detectors.crossfit.train_stack` leaves a gap
    between the halves.

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


def _by_group(
    labels: Sequence[npt.NDArray[np.uint8]], groups: Sequence[str | None], folds: int
) -> list[Integers]:
    """Groups are dealt out in the order of their names; captures of none, from the other end."""
    names = sorted({group for group in groups if group is not None})
    count = min(folds, len(names))
    turn = count - 1
    result = []
    for y, group in zip(labels, groups, strict=True):
        if group is None:
            number, turn = turn % count, turn - 1
        else:
            number = names.index(group) % count
        result.append(np.full(len(y), number))
    return result


def _groups(captures: Sequence[PreparedCapture], cross_fit: str) -> list[str | None]:
    """What each capture is left out together with; None: no matter."""
    if cross_fit == "vehicle":
        number = vehicles({c.key: Traffic.of(c.store) for c in captures})
        return [str(number[c.key]) for c in captures]
    if cross_fit == "attack":
        return [_attack(c) for c in captures]
    return [None] * len(captures)


def _attack(capture: PreparedCapture) -> str | None:
    """The attack of most windows of a capture; None where it holds none."""
    store = capture.store
    codes, windows = np.unique(store.attack[store.y == 1], return_counts=True)
    if not len(codes):
        return None
    code = int(codes[windows.argmax()])
    return store.attack_names[code] if code >= 0 else ""


def _halves(label: npt.NDArray[np.uint8]) -> Integers:
    """0 up to the middle of the attacked windows (of all, where none is), 1 after it."""
    rows = np.flatnonzero(label)
    middle = int(rows[len(rows) // 2]) if len(rows) else len(label) // 2
    return (np.arange(len(label)) >= middle).astype(np.int64)
