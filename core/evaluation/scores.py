"""What the evaluation needs of a prediction cache."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

EXTRA = "score:"
"""Before the name of a further detector: the column with its scores."""


class Scores(Protocol):
    """Both detectors' scores of ``W`` labelled windows; every column has shape ``[W]``."""

    @property
    def anomaly_score(self) -> npt.NDArray[np.float32]: ...

    @property
    def gat_prob(self) -> npt.NDArray[np.float32]: ...

    @property
    def label(self) -> npt.NDArray[np.uint8]: ...

    def __len__(self) -> int: ...


class WindowScores(Scores, Protocol):
    """Scores that also know which window of which capture they belong to."""

    @property
    def capture(self) -> npt.NDArray[np.int32]:
        """Index into ``capture_names``, which are ``split/file``."""

    @property
    def capture_names(self) -> Sequence[str]: ...

    @property
    def attack(self) -> npt.NDArray[np.integer]:
        """Index into ``attack_names``; -1 for windows without attack."""

    @property
    def attack_names(self) -> Sequence[str]: ...

    @property
    def window(self) -> npt.NDArray[np.int32]:
        """Place of the window in its capture, from 0."""

    @property
    def first_frame(self) -> npt.NDArray[np.int64]:
        """Place of the window's first frame in its capture."""

    @property
    def start_time(self) -> npt.NDArray[np.float64]: ...

    @property
    def end_time(self) -> npt.NDArray[np.float64]: ...

    @property
    def extra_scores(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """Further detectors' scores by name."""


class AlphaPolicy(Protocol):
    """Anything that chooses a weight per window, such as the fusion agent."""

    def alpha_of(self, cache: Any) -> npt.NDArray[np.floating]:
        """Weights in [0, 1] of the GAT's probability in each window of a cache, ``[W]``."""
