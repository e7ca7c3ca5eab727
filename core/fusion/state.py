"""What the agent sees of a window: a few numbers, each brought into [0, 1]."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from core.cache.predictions import FusionPredictionCache
from core.errors import CheckpointError, ConfigError

PLANE = ("anomaly", "gat_prob")
"""What the agent sees by default, and what the axes of the policy map are."""
OF_THE_PLANE = (*PLANE, "anomaly_confidence", "gat_confidence", "disagreement")
"""Features that both scores decide."""
DERIVED = (*OF_THE_PLANE, "anomaly_recent", "gat_prob_recent", "duration")
RECENT_WINDOWS = 10
"""How many windows before a window its ``*_recent`` features are the mean of."""
SAMPLE = 100_000
"""Windows that scales and medians are computed from, at most."""

Column = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StateEncoder:
    """Which features an agent sees, and how each is brought into [0, 1].

    Scores, confidences and other numbers in [0, 1] are taken as they are; any other number ``x``
    becomes ``1 / (1 + exp(-(x - center) / spread))``.
    """

    names: tuple[str, ...] = PLANE
    center: tuple[float, ...] = (0.0, 0.0)
    spread: tuple[float, ...] = (0.0, 0.0)
    """0 where the number is taken as it is."""
    usual: tuple[float, ...] = (0.5, 0.5)
    """Median over the training windows, before it is brought into [0, 1]."""

    @classmethod
    def fit(cls, names: Sequence[str], cache: FusionPredictionCache) -> "StateEncoder":
        """Centre and spread of each feature: median and interquartile range in ``cache``.

        Raises:
            ConfigError: if the cache has no such feature; those that it has are listed.
        """
        some = cache.select(slice(None, None, max(1, len(cache) // SAMPLE)))
        scales = []
        for name in names:
            low, median, high = np.quantile(
                _column(name, some).astype(np.float64), (0.25, 0.5, 0.75)
            )
            unit = name in DERIVED and name != "duration"
            spread = 0.0 if unit else max(float(high - low) / 1.35, 1e-6 * (1.0 + abs(median)))
            scales.append((0.0 if unit else float(median), spread, float(median)))
        center, spread_of, usual = zip(*scales, strict=True)
        return cls(tuple(names), center, spread_of, usual)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def plain(self) -> bool:
        """Whether the state is the two scores as they are."""
        return self.names == PLANE

    @property
    def free(self) -> tuple[str, ...]:
        """Features that both scores do not decide: where the policy map can be cut."""
        return tuple(name for name in self.names if name not in OF_THE_PLANE)

    def reach(self, name: str) -> tuple[float, float, float]:
        """Lowest, usual and highest value of a feature that are worth asking for: its whole range,
        or what lies within three spreads of the training's median."""
        place = self.names.index(name)
        center, spread, usual = self.center[place], self.spread[place], self.usual[place]
        if not spread:
            return 0.0, usual, 1.0
        return center - 3 * spread, usual, center + 3 * spread

    def columns(self, cache: FusionPredictionCache) -> list[Column]:
        """Each feature of every window, ``[W]``, before it is brought into [0, 1].

        Scores and score components are the cache's own arrays, without a copy.

        Raises:
            ConfigError: if the cache lacks one.
        """
        return [_column(name, cache) for name in self.names]

    def encode(self, values: torch.Tensor) -> torch.Tensor:
        """Features ``[..., D]`` as :meth:`columns` gives them to states ``[..., D]`` in [0, 1]."""
        if not any(self.spread):
            return values
        center, spread = values.new_tensor(self.center), values.new_tensor(self.spread)
        squashed = torch.sigmoid((values - center) / torch.where(spread > 0, spread, 1.0))
        return torch.where(spread > 0, squashed, values)

    def states(self, cache: FusionPredictionCache) -> torch.Tensor:
        """The state of every window, float32 ``[W, D]``."""
        return self.encode(torch.from_numpy(np.stack(self.columns(cache), axis=-1)))

    def plane(
        self,
        anomaly: npt.ArrayLike,
        gat_prob: npt.ArrayLike,
        at: Mapping[str, float] | None = None,
    ) -> torch.Tensor:
        """States of windows of which only both scores are known, ``[..., D]``.

        Args:
            at: values of other features, as the cache has them; else the training's median.

        Raises:
            ConfigError: if ``at`` names what the agent does not see, or what both scores decide.
        """
        free = self.free
        if wrong := [name for name in at or {} if name not in free]:
            raise ConfigError(
                f"the agent's map cannot be cut at {wrong[0]!r}; "
                + (f"it can at {', '.join(free)}" if free else "it sees both scores only")
            )
        first, second = np.broadcast_arrays(
            np.asarray(anomaly, np.float32), np.asarray(gat_prob, np.float32)
        )
        given = dict(zip(self.names, self.usual, strict=True)) | dict(at or {})
        values = [
            _of_the_plane(name, first, second)
            if name in OF_THE_PLANE
            else np.full(first.shape, given[name], np.float32)
            for name in self.names
        ]
        return self.encode(torch.from_numpy(np.stack(values, axis=-1)))

    def to_dict(self) -> dict[str, list[Any]]:
        """Plain lists, for files."""
        return {name: list(getattr(self, name)) for name in ("names", "center", "spread", "usual")}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "StateEncoder":
        """What :meth:`to_dict` gave.

        Raises:
            CheckpointError: if it is something else.
        """
        try:
            names = tuple(str(name) for name in content["names"])
            scales = [
                tuple(float(v) for v in content[name]) for name in ("center", "spread", "usual")
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"no description of an agent's state: {error}") from error
        if not names or any(len(scale) != len(names) for scale in scales):
            raise CheckpointError(f"expected one scale for each of {names}, got {scales}")
        return cls(names, *scales)


def _column(name: str, cache: FusionPredictionCache) -> Column:
    if name in OF_THE_PLANE:
        return _of_the_plane(name, cache.anomaly_score, cache.gat_prob)
    if name == "anomaly_recent":
        return recent(cache.anomaly_score, cache)
    if name == "gat_prob_recent":
        return recent(cache.gat_prob, cache)
    if name == "duration":
        return (cache.end_time - cache.start_time).astype(np.float32)
    if name in cache.components:
        return cache.components[name]
    known = ", ".join((*DERIVED, *sorted(cache.components)))
    raise ConfigError(f"agent.state: the prediction cache has no {name!r}; it has {known}")


def _of_the_plane(name: str, anomaly: Column, gat_prob: Column) -> Column:
    if name == "anomaly":
        return anomaly
    if name == "gat_prob":
        return gat_prob
    if name == "anomaly_confidence":
        return np.abs(2 * anomaly - 1)
    if name == "gat_confidence":
        return np.abs(2 * gat_prob - 1)
    return np.abs(anomaly - gat_prob)


def recent(score: Column, cache: FusionPredictionCache) -> Column:
    """Mean score of up to ten windows right before each window; its own where there are none.

    Windows of another capture, or beyond a gap in this one, do not count.

    Shapes: ``[W]`` to ``[W]``.
    """
    rows = np.arange(len(score))
    follows = (np.diff(cache.capture.astype(np.int64), prepend=-1) == 0) & (
        np.diff(cache.window.astype(np.int64), prepend=-1) == 1
    )
    begin = np.maximum.accumulate(np.where(follows, 0, rows))
    first = np.maximum(begin, rows - RECENT_WINDOWS)
    passed = np.append(0.0, np.cumsum(score, dtype=np.float64))
    count = rows - first
    mean = (passed[rows] - passed[first]) / np.maximum(count, 1)
    return np.clip(np.where(count > 0, mean, score), 0, 1).astype(np.float32)
