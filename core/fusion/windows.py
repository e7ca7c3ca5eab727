"""The windows of a prediction cache as tensors, gathered by row when they are asked for."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt
import torch

from core.cache.predictions import FusionPredictionCache
from core.fusion.state import StateEncoder


@dataclass(frozen=True)
class Windows:
    """``W`` windows, with columns of their own or as some rows of longer columns.

    On a CPU the columns are the cache's own memory, and so the file's, where it is memory-mapped:
    of a cache larger than memory only the pages that are drawn are ever read.
    """

    anomaly: torch.Tensor
    gat_prob: torch.Tensor
    label: torch.Tensor
    capture: torch.Tensor
    window: torch.Tensor
    features: tuple[torch.Tensor, ...]
    """What the agent sees beside or instead of the two scores, each ``[W]``; empty: the two."""
    encoder: StateEncoder
    chosen: torch.Tensor | None = None
    """``[W]`` rows of the columns above but the features; None: all of them."""

    @classmethod
    def of(cls, cache: FusionPredictionCache, encoder: StateEncoder) -> "Windows":
        """The windows of ``cache``.

        Raises:
            ConfigError: if the cache lacks a feature.
        """
        features = () if encoder.plain else tuple(map(_shared, encoder.columns(cache)))
        source, rows = cache.origin
        return cls(
            _shared(source.anomaly_score),
            _shared(source.gat_prob),
            _shared(source.label),
            _shared(source.capture),
            _shared(source.window),
            features,
            encoder,
            None if rows is None else torch.from_numpy(rows),
        )

    def __len__(self) -> int:
        return len(self.label) if self.chosen is None else len(self.chosen)

    @property
    def device(self) -> torch.device:
        """Where the columns lie."""
        return self.label.device

    def to(self, device: torch.device) -> "Windows":
        """The same on another device, with columns of their own there."""
        if device == self.device:
            return self
        rows = self._place(slice(None))
        moved = {
            name: getattr(self, name)[rows].to(device)
            for name in ("anomaly", "gat_prob", "label", "capture", "window")
        }
        features = tuple(f.to(device) for f in self.features)
        return replace(self, **moved, features=features, chosen=None)

    def _place(self, rows: torch.Tensor | slice) -> torch.Tensor | slice:
        """Where rows lie in the columns."""
        return rows if self.chosen is None else self.chosen[rows]

    def labels(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """1 where attacked, ``[B]``."""
        return self.label[self._place(rows)]

    def scores(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """Anomaly score and GAT probability, ``[B, 2]``."""
        place = self._place(rows)
        return torch.stack([self.anomaly[place], self.gat_prob[place]], dim=-1)

    def states(self, rows: torch.Tensor | slice) -> torch.Tensor:
        """What the agent sees, ``[B, D]``."""
        if not self.features:
            return self.scores(rows)
        return self.encoder.encode(torch.stack([f[rows] for f in self.features], dim=-1))

    def following(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The row after each of ``[B]`` rows, and 0 where there is none (else 1).

        There is none at the end of a capture or before a gap in it; the row itself then stands for
        the next one.
        """
        after = (rows + 1).clamp(max=len(self) - 1)
        here, there = self._place(rows), self._place(after)
        follows = (self.capture[there] == self.capture[here]) & (
            self.window[there] == self.window[here] + 1
        )
        return torch.where(follows, after, rows), follows.float()

    def parts(self, rows_at_once: int, step: int = 1) -> Iterator[slice]:
        """Every ``step``-th row, in slices of so many rows."""
        for start in range(0, len(self), rows_at_once * step):
            yield slice(start, start + rows_at_once * step, step)


def _shared(values: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor over the same memory. Nothing here writes to it."""
    with warnings.catch_warnings():
        # Memory maps are read-only.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values)
