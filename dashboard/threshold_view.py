"""The threshold explorer of the comparison page: from a slider to a cell to its windows."""

from pathlib import Path

import plotly.graph_objects as go
import streamlit as st

from core.workspace import Workspace
from dashboard.context import friendly_errors
from dashboard.figures import CONFIG
from dashboard.formatting import count
from dashboard.palette import METHODS
from dashboard.scenario_scores import CELLS, ScenarioScores, scenario_scores
from dashboard.selection import chosen_window, forget_window, number_in_address
from dashboard.threshold_figures import calibration, threshold_explorer
from dashboard.window_view import window_table, window_view

SHOWN = ("vgae", "gat", "fusion")
NAMES = {
    "tp": "attacked windows found",
    "fp": "false alarms",
    "tn": "benign windows called benign",
    "fn": "attacked windows missed",
}
MAX_ROWS = 2000
"""Windows of one cell that are listed."""


@st.fragment
def threshold_section(run_dir: Path, workspace: Workspace, scenario: str, own: float) -> None:
    """Curves, matrices and slider; below them the windows of the cell that was clicked.

    A fragment: a click draws this part of the page anew and nothing else.

    Args:
        own: the run's threshold.
    """
    # Inside the fragment, which would show an error of its own.
    with friendly_errors():
        _thresholds(run_dir, workspace, scenario, own)


def _thresholds(run_dir: Path, workspace: Workspace, scenario: str, own: float) -> None:
    scores = scenario_scores(run_dir, scenario)
    if not len(scores.rows):
        st.caption("No window of this scenario was kept.")
        return
    methods = pick_methods(scores)
    key = f"thresholds-{run_dir.name}-{scenario}"
    start = _start(key, own)
    figure = _explorer(
        run_dir,
        run_dir.joinpath("predictions.arrow").stat().st_mtime_ns,
        scenario,
        methods,
        start,
        own,
        st.context.theme.type or "light",
    )
    st.plotly_chart(
        figure,
        key=key,
        on_select=lambda: _take(key),
        selection_mode="points",
        config=CONFIG,
        alt=_in_words(scores, methods, own),
    )
    st.caption(
        f"Every method is judged at the same threshold; this run's own is {own:g}. The dots are "
        "where it puts each method on its curves. Click a cell of a matrix for its windows."
        + ("" if scores.attacked else " Without attacked windows there is no recall to show.")
    )
    _cell(run_dir, workspace, scores, own)


def pick_methods(scores: ScenarioScores) -> tuple[str, ...]:
    """Methods to show; some at least."""
    offered = list(scores.sorted)
    default = [method for method in SHOWN if method in offered]
    chosen = st.pills(
        "Methods",
        offered,
        selection_mode="multi",
        default=default,
        format_func=lambda method: METHODS[method].label,
        key="methods",
    )
    return tuple(method for method in offered if method in (chosen or default))


def calibration_section(run_dir: Path, scenario: str) -> None:
    """How far scores can be read as probabilities."""
    scores = scenario_scores(run_dir, scenario)
    if not len(scores.rows):
        st.caption("No window of this scenario was kept.")
        return
    methods = [method for method in SHOWN if method in scores.reliability]
    st.plotly_chart(
        calibration(scores.reliability, methods),
        key="calibration",
        config=CONFIG,
        alt="Calibration: "
        + "; ".join(
            f"{METHODS[m].label} expected error {scores.reliability[m].error:.3f}" for m in methods
        ),
    )
    st.caption(
        "On the dashed line a score of 0.8 means that 8 of 10 such windows are attacked. Larger "
        "dots hold more windows; the error is the mean distance from the line (ten bins)."
    )


@st.cache_resource(max_entries=16, show_spinner=False)
def _explorer(
    run_dir: Path,
    stamp: int,
    scenario: str,
    methods: tuple[str, ...],
    start: float,
    own: float,
    theme: str,
) -> go.Figure:
    scores = scenario_scores(run_dir, scenario).sorted
    return threshold_explorer(scores, methods, start, own, theme)


def _start(key: str, own: float) -> float:
    """Where the slider begins: kept for the session, as another start would redraw the chart."""
    begun: dict[str, float] = st.session_state.setdefault("threshold_start", {})
    return begun.setdefault(key, number_in_address("threshold", own, 0.0, 1.0))


def _take(key: str) -> None:
    """Put threshold and cell that were clicked into the address."""
    for point in st.session_state[key].selection.points:
        method, cell, threshold, *_ = point.get("customdata") or (None, None, None)
        if method in METHODS and cell in CELLS:
            st.query_params["threshold"] = f"{threshold:g}"
            st.query_params["cell"] = f"{method}-{cell}"
            forget_window()


def _cell(run_dir: Path, workspace: Workspace, scores: ScenarioScores, own: float) -> None:
    """The windows of the cell in the address."""
    method, _, cell = st.query_params.get("cell", "").rpartition("-")
    threshold = number_in_address("threshold", own, 0.0, 1.0)
    if method in scores.sorted and cell in CELLS:
        windows = scores.cell(method, cell, threshold)
        st.markdown(
            f"**{METHODS[method].label} at {threshold:g}: {count(len(windows))} {NAMES[cell]}**"
        )
        if len(windows) > MAX_ROWS:
            st.caption(f"The first {count(MAX_ROWS)} are listed.")
        window_table(windows, f"matrix-{method}-{cell}-{threshold:g}", MAX_ROWS)
        window_view(run_dir, workspace, threshold if method == "fusion" else own)
    elif chosen_window() is not None:
        window_view(run_dir, workspace, own)


def _in_words(scores: ScenarioScores, methods: tuple[str, ...], threshold: float) -> str:
    told = []
    for method in methods:
        tp, fp, tn, fn = (int(n[0]) for n in scores.sorted[method].confusion([threshold]))
        told.append(
            f"{METHODS[method].label}: {count(tp)} found, {count(fn)} missed, {count(fp)} false "
            f"alarms, {count(tn)} right"
        )
    return f"ROC and precision-recall curves; at threshold {threshold:g} " + "; ".join(told)
