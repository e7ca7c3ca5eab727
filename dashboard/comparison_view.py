"""The parts of the comparison page: the verdict, the numbers, one capture over time, downloads."""

import json
from pathlib import Path
from typing import Any

import streamlit as st

from core.jobs.run import Run
from dashboard.context import friendly_errors, workspace
from dashboard.figures import CONFIG, FUSION_LINES, alpha_histogram, method_bars, timeline
from dashboard.formatting import count, plain, scenario
from dashboard.headline import gain_here, gap_closed, headline
from dashboard.palette import METHODS
from dashboard.report import report_html
from dashboard.results import load_predictions, load_threshold, rows_where
from dashboard.tables import (
    RATES,
    UNDEFINED,
    detection_table,
    long_table,
    method_table,
    parts_table,
    scenarios,
)

ICONS = {
    "helps": (st.success, ":material/thumb_up:"),
    "equal": (st.info, ":material/drag_handle:"),
    "hurts": (st.warning, ":material/thumb_down:"),
    "unknown": (st.info, ":material/help:"),
}


def verdict(results: dict[str, Any]) -> None:
    """Say plainly whether fusion helped."""
    said = headline(results)
    box, icon = ICONS[said.verdict]
    box(f"{said.text}\n\n{gap_closed(results)}", icon=icon)
    for warning in results.get("warnings", ()):
        st.warning(plain(warning), icon=":material/info:")


def downloads(run: Run, results: dict[str, Any]) -> None:
    """The report for stakeholders, and all numbers; each file is made when it is asked for."""
    with st.container(horizontal=True):
        st.download_button(
            "Report as .html",
            lambda: report_html(run, workspace().runs / run.id, workspace()),
            f"report-{run.id}.html",
            "text/html",
            key="report",
            type="primary",
            icon=":material/description:",
            on_click="ignore",
            help="One file with figures and settings that opens and prints anywhere, offline too.",
        )
        st.download_button(
            "All numbers as .csv",
            lambda: long_table(results).to_csv(index=False),
            f"comparison-{run.id}.csv",
            "text/csv",
            key="numbers-csv",
            icon=":material/download:",
            on_click="ignore",
        )
        st.download_button(
            "Results as .json",
            lambda: json.dumps(results, indent=1),
            f"results-{run.id}.json",
            "application/json",
            key="results-json",
            icon=":material/download:",
            on_click="ignore",
        )


def metric_bars(results: dict[str, Any]) -> str:
    """One metric of all methods on all scenarios; returns the metric."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.segmented_control(
            "Metric",
            list(RATES),
            default="f1",
            required=True,
            format_func=RATES.__getitem__,
            wrap=True,
            key="metric",
            bind="query-params",
        )
        zoom = st.toggle("Zoom in on the differences", help="The axis then does not start at 0.")
    metric = chosen or "f1"
    st.plotly_chart(
        method_bars(results, metric, RATES[metric], zoom),
        key="bars",
        config=CONFIG,
        alt=f"{RATES[metric]} of every method on every scenario",
    )
    if any("intervals" in numbers for numbers in scenarios(results).values()):
        st.caption("Thin lines: 95 % intervals, from blocks of traffic drawn with replacement.")
    return metric


def pick_scenario(results: dict[str, Any]) -> str:
    """A picker of scenarios; the choice is part of the address."""
    groups = scenarios(results)
    chosen = st.selectbox(
        "Scenario",
        list(groups),
        index=min(1, len(groups) - 1),
        key="scenario",
        bind="query-params",
        format_func=scenario,
    )
    return str(chosen)


def scenario_tables(numbers: dict[str, Any], metric: str) -> None:
    """All numbers of one scenario: methods, attacks, captures, delay and false alarms."""
    spent = numbers.get("commissioning_windows") or 0
    rehearsed = numbers.get("rehearsed_windows") or 0
    st.caption(
        f"{count(numbers['windows'])} windows scored, {count(numbers['attack_windows'])} attacked"
        + (f"; {count(spent)} more commissioned the vehicle profiles" if spent else "")
        + (f"; in {count(rehearsed)} attacks are rehearsed on clean traffic" if rehearsed else "")
    )
    said = gain_here(numbers)
    if said:
        st.markdown(said)
    st.dataframe(method_table(numbers), hide_index=True, key="methods-table")
    with st.expander("What the columns and methods mean"):
        st.markdown("\n".join(f"- **{m.label}**: {m.help}" for m in METHODS.values()))
        st.caption(f"TP, FP, TN, FN count windows. In brackets: 95 % intervals. {UNDEFINED}")
    for kind in ("attacks", "captures"):
        if numbers.get(kind):
            st.markdown(f"**{RATES[metric]} per {kind.removesuffix('s')}**")
            st.dataframe(parts_table(numbers, kind, metric), hide_index=True, key=f"{kind}-table")
    detection = detection_table(numbers)
    if len(detection):
        st.markdown("**Detection delay and false alarms**")
        st.dataframe(detection, hide_index=True, key="detection-table")
        hours = next(iter(numbers["detection"].values())).get("hours")
        st.caption(
            "From the start of an attack's first window to the end of the first one that is called "
            "an attack. A false alarm counts once, however long it stands"
            + (f"; {hours * 60:.1f} minutes of traffic were scored." if hours else ".")
        )


def capture_timeline(run_dir: Path, scenario: str) -> None:
    """Scores, alpha, verdict and truth of one capture over time, and its alphas."""
    with friendly_errors():
        predictions = load_predictions(run_dir)
        rows = rows_where(predictions, split=scenario)
        captures = sorted(rows["capture"].astype(str).unique())
        if not captures:
            st.caption("No window of this scenario was kept.")
            return
        capture = st.selectbox("Capture", captures, key="capture", bind="query-params")
        shown = rows[rows["capture"].astype(str) == capture].sort_values("window")
        st.plotly_chart(
            timeline(shown, FUSION_LINES, load_threshold(run_dir)),
            key="timeline",
            config=CONFIG,
            alt=f"Anomaly score, GAT probability, alpha and fused score of {capture} over time",
        )
        st.caption("Shaded: windows that hold an attack. Dashed: the verdict's threshold.")


def scenario_alphas(run_dir: Path, scenario: str) -> None:
    """How often the agent picked which weight in one scenario."""
    rows = rows_where(load_predictions(run_dir), split=scenario)
    st.plotly_chart(
        alpha_histogram(rows["alpha"].to_numpy(), rows["label"].to_numpy(), 360),
        key="scenario-alphas",
        config=CONFIG,
        alt="Histogram of alpha for benign and attacked windows",
    )
