"""What a detector beside VGAE and GAT has to be able to do, and which ones there are.

A further detector is registered under a name (:func:`register`) and asked for by that name
(``data.detector.extra``). It is then cross-fitted like the others, its scores are a column of the
prediction cache, and results list it as a method.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from core.config import DetectorConfig
from core.detectors.checkpoint import load_arrays
from core.detectors.pca import PCADetector
from core.detectors.prepare import PreparedCapture
from core.errors import CheckpointError, ConfigError
from core.evaluation.scenario import METHODS

Arrays = Mapping[str, npt.NDArray[np.generic]]


class Lesson(NamedTuple):
    """Part of a training capture."""

    capture: PreparedCapture
    windows: npt.NDArray[np.int64]
    """Those that may be learnt from; labels are in ``capture.store.y``."""


class Detector(Protocol):
    """A trained detector."""

    def score(self, capture: PreparedCapture, device: torch.device) -> npt.NDArray[np.float64]:
        """``[G]`` score in [0, 1] of all windows of a capture; an attack from 0.5 on."""

    def state(self) -> dict[str, npt.NDArray[np.generic]]:
        """All that it has learnt, by name: what is saved, and hashed for the fingerprint."""


class DetectorKind(Protocol):
    """Makes detectors of one kind; a class with two class methods will do."""

    def fit(
        self, lessons: Sequence[Lesson], config: DetectorConfig, device: torch.device
    ) -> Detector:
        """Learn from parts of training captures, in which there is a clean window at least."""

    def restore(self, state: Arrays) -> Detector:
        """The detector whose :meth:`Detector.state` this is.

        Raises:
            KeyError, ValueError: if it is none of this kind.
        """


_REGISTRY: dict[str, DetectorKind] = {"pca": PCADetector}


def register(name: str, kind: DetectorKind) -> None:
    """Make a kind of detector known under a name, in place of one that had it.

    Raises:
        ConfigError: on a name that could not be told from another method's, or be a file's.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or name in METHODS:
        raise ConfigError(
            "a detector's name: expected small letters, digits and underscores, and none of "
            f"{', '.join(METHODS)}; got {name!r}"
        )
    _REGISTRY[name] = kind


def known_detectors() -> tuple[str, ...]:
    """Names of all registered kinds."""
    return tuple(sorted(_REGISTRY))


def further_kinds(config: DetectorConfig) -> dict[str, DetectorKind]:
    """The kinds that ``config.extra`` names, in that order.

    Raises:
        ConfigError: on a name that is not registered; lists those that are.
    """
    return kinds_named(config.extra_names)


def kinds_named(names: Sequence[str]) -> dict[str, DetectorKind]:
    """The kinds of those names, in that order.

    Raises:
        ConfigError: on a name that is not registered; lists those that are.
    """
    if unknown := [name for name in names if name not in _REGISTRY]:
        raise ConfigError(
            f"DetectorConfig.extra: no detector {unknown[0]!r}; "
            f"there are {', '.join(known_detectors())}"
        )
    return {name: _REGISTRY[name] for name in names}


def fit_further(
    kinds: Mapping[str, DetectorKind],
    lessons: Sequence[Lesson],
    config: DetectorConfig,
    device: torch.device,
) -> dict[str, Detector]:
    """One detector of each kind, all from the same lessons."""
    return {name: kind.fit(lessons, config, device) for name, kind in kinds.items()}


def restored(name: str, path: Path) -> Detector:
    """A saved detector.

    Raises:
        CheckpointError: if the file is missing, damaged or of another kind.
    """
    state = load_arrays(name, path)
    try:
        return _REGISTRY[name].restore(state)
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: not what a {name} detector learns ({error})") from error
