"""Scores of every method on one scenario, sorted once per run and kept for all sessions."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import streamlit as st

from core.evaluation.thresholds import Reliability, SortedScores, reliability
from dashboard.palette import METHODS, SCORE_COLUMNS
from dashboard.results import load_predictions, rows_where

CELLS = {"tp": (1, 1), "fp": (0, 1), "tn": (0, 0), "fn": (1, 0)}
"""Cell of a confusion matrix -> (attacked, called an attack)."""


@dataclass(frozen=True)
class ScenarioScores:
    """What pages ask of one scenario again and again. Do not change it."""

    rows: pd.DataFrame
    """Its windows, with ``seconds`` since the first scored window of the capture."""
    sorted: Mapping[str, SortedScores]
    """By method; the oracle, which knows the labels, is left out."""
    reliability: Mapping[str, Reliability]

    @property
    def attacked(self) -> int:
        """How many windows are attacked."""
        return int(self.rows["label"].sum())

    def cell(self, method: str, cell: str, threshold: float) -> pd.DataFrame:
        """The windows in one cell of a method's confusion matrix."""
        attacked, called = CELLS[cell]
        score = self.rows[SCORE_COLUMNS[method]].to_numpy(np.float64)
        inside = (self.rows["label"].to_numpy() == attacked) & ((score >= threshold) == called)
        return self.rows[inside]


def scenario_scores(run_dir: Path, scenario: str) -> ScenarioScores:
    """The windows and scores of one scenario of a run.

    Raises:
        InputError: if the run's predictions are missing or torn.
    """
    load_predictions(run_dir)  # Says so where it cannot.
    path = run_dir / "predictions.arrow"
    return _scenario_scores(run_dir, path.stat().st_mtime_ns, scenario)


def with_seconds(rows: pd.DataFrame) -> pd.DataFrame:
    """Windows with the time since the first of them in their capture."""
    first = rows.groupby("capture", observed=True)["start_time"].transform("min")
    return rows.assign(seconds=rows["start_time"] - first)


@st.cache_resource(max_entries=16, show_spinner="Sorting scores")
def _scenario_scores(run_dir: Path, stamp: int, scenario: str) -> ScenarioScores:
    rows = with_seconds(rows_where(load_predictions(run_dir), split=scenario))
    label = rows["label"].to_numpy()
    scores: dict[str, npt.NDArray[Any]] = {
        method: rows[SCORE_COLUMNS[method]].to_numpy(np.float64)
        for method in METHODS
        if method != "oracle" and SCORE_COLUMNS[method] in rows
    }
    return ScenarioScores(
        rows,
        {method: SortedScores.of(label, score) for method, score in scores.items()},
        {method: reliability(label, score) for method, score in scores.items()},
    )
