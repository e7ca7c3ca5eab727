"""What is measured of a set of scored windows: in all, per capture and per attack."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.evaluation.bootstrap import (
    FEWEST_BLOCKS,
    INTERVAL_METRICS,
    Draws,
    draw_weights,
    interval,
    intervals,
    resampled_metrics,
    time_blocks,
)
from core.evaluation.detection import Timeline, detection_metrics
from core.evaluation.metrics import window_metrics
from core.evaluation.scores import EXTRA

METHODS = ("vgae", "gat", "fixed_alpha", "stacking", "fusion", "oracle")
SINGLES = ("vgae", "gat")

SCORE_COLUMNS = {
    "vgae": "anomaly_score",
    "gat": "gat_prob",
    "fixed_alpha": "fixed_alpha",
    "stacking": "stacking",
    "fusion": "fused",
    "oracle": "oracle",
}
"""Method -> column of :attr:`core.evaluation.comparison.Comparison.predictions` with its score."""

UNNAMED = "unnamed"
"""Attacked windows whose attack has no name."""

Columns = Mapping[str, npt.NDArray[Any]]


def measure_scenario(
    table: pa.Table,
    threshold: float,
    *,
    commissioning: Mapping[str, int] | None = None,
    split: str = "",
    frames: int | None = None,
    contiguous: bool = True,
) -> dict[str, Any]:
    """All methods on the windows of one scenario, fit for JSON.

    Args:
        table: rows of :attr:`core.evaluation.comparison.Comparison.predictions`.
        threshold: score from which (inclusive) a window is called an attack.
        commissioning: capture -> windows that were not scored; captures that it names are listed
            even where no window was scored.
        split: captures are listed without this folder before their name.
        frames: frames per window; None where they differ.
        contiguous: whether captures are there in one piece, so that alarms can be timed.

    Returns:
        ``windows, attack_windows, commissioning_windows``; ``methods`` (name -> metrics),
        ``intervals`` (name -> metric -> 95 % interval or None), ``fusion_gain``, ``detection``
        (name -> :func:`core.evaluation.detection.detection_metrics`) where contiguous;
        ``captures`` (file -> the same) and ``attacks`` (name -> the same). An attack is measured on
        its own windows and the clean ones of the captures that hold it.
    """
    capture, capture_names = _codes(table, "capture")
    attack, attack_names = _codes(table, "attack")
    columns = {
        name: table[name].to_numpy()
        for name in table.column_names
        if not pa.types.is_dictionary(table[name].type)
    } | {"capture": capture, "attack": attack}
    order = np.lexsort((columns["window"], capture))
    columns = {name: values[order] for name, values in columns.items()}
    capture, attack, attacked = columns["capture"], columns["attack"], columns["label"] == 1

    def measured(rows: npt.NDArray[np.bool_]) -> dict[str, Any]:
        chosen = {name: values[rows] for name, values in columns.items()}
        return _measured(chosen, threshold, frames, contiguous)

    spent = commissioning or {}
    captures = dict.fromkeys(spent, np.zeros(len(table), bool)) | {
        capture_names[code]: capture == code for code in np.unique(capture)
    }
    attacks = {
        attack_names[code] or UNNAMED: (attacked & (attack == code))
        | (~attacked & np.isin(capture, capture[attacked & (attack == code)]))
        for code in np.unique(attack[attacked])
    }
    return {
        **measured(np.ones(len(table), bool)),
        "commissioning_windows": sum(spent.values()),
        "captures": {
            name.removeprefix(f"{split}/"): measured(rows)
            for name, rows in sorted(captures.items())
        },
        "attacks": {name: measured(rows) for name, rows in sorted(attacks.items())},
    }


def _measured(
    columns: Columns, threshold: float, frames: int | None, contiguous: bool
) -> dict[str, Any]:
    label = columns["label"] == 1
    further = {name.removeprefix(EXTRA): name for name in sorted(columns) if name.startswith(EXTRA)}
    scores = {
        name: columns[column].astype(np.float64)
        for name, column in (SCORE_COLUMNS | further).items()
    }
    methods = {name: window_metrics(label, score, threshold) for name, score in scores.items()}
    draws: dict[str, Draws] = {}
    if len(label) >= FEWEST_BLOCKS:
        block = time_blocks(columns["capture"], columns["window"])
        weights = draw_weights(int(block.max()) + 1)
        draws = {
            name: resampled_metrics(block, label, score, threshold, weights)
            for name, score in scores.items()
        }
    nothing: dict[str, None] = dict.fromkeys(INTERVAL_METRICS)
    result = {
        "windows": len(label),
        "attack_windows": int(np.count_nonzero(label)),
        "methods": methods,
        "intervals": {name: intervals(draws[name]) if draws else nothing for name in scores},
        "fusion_gain": _gain(methods, draws),
    }
    if contiguous:
        timeline = Timeline.of(columns, frames)
        result["detection"] = {
            name: detection_metrics(timeline, label, score >= threshold)
            for name, score in scores.items()
        }
    return result


def _gain(methods: Mapping[str, Mapping[str, Any]], draws: Mapping[str, Draws]) -> dict[str, Any]:
    """What fusion adds to the better single model, and the share of what could be added."""
    f1 = {name: methods[name]["f1"] for name in (*SINGLES, "fusion", "oracle")}
    if f1["oracle"] is None:
        return {"best_single": None, "f1": None, "f1_interval": None, "gap_closed": None}
    best = max(SINGLES, key=lambda name: f1[name])
    gain, gap = f1["fusion"] - f1[best], f1["oracle"] - f1[best]
    paired = interval(draws["fusion"]["f1"] - draws[best]["f1"]) if draws else None
    return {
        "best_single": best,
        "f1": gain,
        "f1_interval": paired,
        "gap_closed": gain / gap if gap > 0 else None,
    }


def _codes(table: pa.Table, name: str) -> tuple[npt.NDArray[np.int32], list[str]]:
    """A dictionary column as codes and what they stand for, in alphabetical order."""
    column = table[name].unify_dictionaries().combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        if not column.num_chunks:
            return np.empty(0, np.int32), []
        column = column.chunk(0)
    names, rank = np.unique(column.dictionary.to_pylist(), return_inverse=True)
    return rank.astype(np.int32)[column.indices.to_numpy()], names.tolist()
