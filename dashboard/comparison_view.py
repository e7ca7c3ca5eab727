"""The verdict on fusion, and one capture seen over time."""

from pathlib import Path
from typing import Any

import streamlit as st

from dashboard.context import friendly_errors
from dashboard.figures import CONFIG, FUSION_LINES, alpha_histogram, timeline
from dashboard.headline import gap_closed, headline
from dashboard.results import load_predictions, load_threshold, rows_where

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


def capture_timeline(run_dir: Path, scenario: str) -> None:
    """Scores, alpha, verdict and truth of one capture over time, and its alphas."""
    with friendly_errors():
        predictions = load_predictions(run_dir)
        rows = rows_where(predictions, split=scenario)
        captures = sorted(rows["capture"].astype(str).unique())
        if not captures:
            st.caption("No window of this scenario was kept.")
            return
        st.markdown("**One capture over time**")
        capture = st.selectbox("Capture", captures, key="capture", bind="query-params")
        shown = rows[rows["capture"].astype(str) == capture]
        st.plotly_chart(
            timeline(shown, FUSION_LINES, load_threshold(run_dir)),
            key="timeline",
            config=CONFIG,
            alt=f"Anomaly score, GAT probability, alpha and fused score of {capture} over time",
        )
        st.caption("Shaded: windows that hold an attack. Dashed: the verdict's threshold.")
        st.markdown("**Alpha in this scenario**")
        st.plotly_chart(
            alpha_histogram(rows["alpha"].to_numpy(), rows["label"].to_numpy()),
            key="scenario-alphas",
            config=CONFIG,
            alt="Histogram of alpha for benign and attacked windows",
        )
