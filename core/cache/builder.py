"""Runs both detectors once over every window and keeps what they say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from core.cache.predictions import FusionPredictionCache, write_predictions
from core.config import DetectorConfig
from core.detectors.capture_scores import score_capture
from core.detectors.folds import folds_of
from core.detectors.prepare import PreparedCapture
from core.detectors.stack import FINAL, DetectorStack
from core.detectors.vgae import COMPONENTS
from core.errors import DatasetError
from core.evaluation.scores import EXTRA
from core.progress import Reporter

VERSION = 1


class PredictionCacheBuilder:
    """Scores captures with a detector stack and writes the prediction cache.

    Training captures are scored by the detectors of the fold that left them out (unless the stack
    has no folds), test captures by the final ones.
    """

    def __init__(
        self,
        stack: DetectorStack,
        captures: Sequence[PreparedCapture],
        config: DetectorConfig,
        device: torch.device,
    ) -> None:
        self.stack = stack
        self.captures = captures
        self.device = device
        train = [c for c in captures if c.split.startswith("train_")]
        assigned = folds_of(train, config) if stack.folds else []
        self._fold = dict(zip([c.key for c in train], assigned, strict=False))

    def build(
        self, path: Path, metadata: Mapping[str, Any], reporter: Reporter
    ) -> FusionPredictionCache:
        """Score every window, write the cache atomically and open it.

        Args:
            metadata: ``fingerprint``, ``dataset``, ``protocol``, kept in the file.

        Raises:
            DatasetError: if no window is left to score.
            StorageError: if the file cannot be written.
        """
        tables = []
        for number, capture in enumerate(self.captures):
            reporter.check()
            reporter.progress("cache", number / len(self.captures), capture.key)
            if len(capture.scored):
                tables.append(self._table(capture))
        if not tables:
            raise DatasetError("no window to score: every capture is too short")
        commissioning = {c.key: len(c.commissioning) for c in self.captures}
        table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        about = {"version": VERSION, "commissioning_windows": commissioning, **metadata}
        write_predictions(path, table, about)
        reporter.progress("cache", 1.0, f"{len(table)} windows")
        return FusionPredictionCache.load(path)

    def _table(self, capture: PreparedCapture) -> pa.Table:
        fold = self._fold.get(capture.key, np.full(len(capture.store), FINAL))[capture.scored]
        parts = {
            int(number): score_capture(self.stack.of(int(number)), capture, self.device)
            for number in np.unique(fold)
        }
        store, windows = capture.store, capture.scored

        def pick(column: str) -> npt.NDArray[np.float64]:
            values = {number: getattr(scores, column) for number, scores in parts.items()}
            return _choose(values, fold)

        names = np.array([*store.attack_names, ""], object)
        rows = len(windows)
        components = pick("components")
        return pa.table(
            {
                "split": _repeated(capture.split, rows),
                "capture": _repeated(capture.key, rows),
                "window": pa.array(windows.astype(np.int32)),
                "start_time": pa.array(store.start_time[windows]),
                "end_time": pa.array(store.end_time[windows]),
                "first_frame": pa.array(store.first_frame[windows]),
                "anomaly_score": pa.array(pick("anomaly_score").astype(np.float32)),
                "gat_prob": pa.array(pick("gat_prob").astype(np.float32)),
                "label": pa.array(store.y[windows]),
                "attack": pa.array(names[store.attack[windows]], pa.string()).dictionary_encode(),
                "fold": pa.array(fold.astype(np.int16)),
                **{
                    f"{EXTRA}{name}": pa.array(
                        _choose({n: s.extra[name] for n, s in parts.items()}, fold), pa.float32()
                    )
                    for name in self.stack.final.extra
                },
                **{
                    f"vgae_{name}": pa.array(components[:, i].astype(np.float32))
                    for i, name in enumerate(COMPONENTS)
                },
            }
        )


def _choose(
    values: Mapping[int, npt.NDArray[np.float64]], fold: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Row by row, the value of the fold that the row belongs to."""
    chosen = np.empty_like(next(iter(values.values())))
    for number, value in values.items():
        rows = fold == number
        chosen[rows] = value[rows]
    return chosen


def _repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))
