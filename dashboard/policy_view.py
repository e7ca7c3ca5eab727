"""From a cell of the policy map to a verdict and to the windows in it."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import streamlit as st

from dashboard.formatting import count
from dashboard.results import Policy, windows_in_cell

MAX_ROWS = 2000
"""Windows of one cell that are listed."""
COLUMNS = {
    "capture": "Capture",
    "window": "Window",
    "seconds": "Start (s)",
    "truth": "Truth",
    "anomaly_score": "Anomaly",
    "gat_prob": "GAT",
    "alpha": "Alpha",
    "fused": "Fused",
}
ANOMALY, GAT = "what_if_anomaly", "what_if_gat"


def take_click(policy: Policy, chart: str) -> None:
    """Move the what-if sliders to the cell that was clicked."""
    points = st.session_state[chart].selection.points
    if points:
        row, column = policy.cell(points[0]["y"], points[0]["x"])
        st.session_state[ANOMALY] = round(float(policy.axis[row]), 2)
        st.session_state[GAT] = round(float(policy.axis[column]), 2)


def what_if(policy: Policy, threshold: float) -> tuple[int, int]:
    """Two sliders, and what the agent would say; returns the cell they are in."""
    busiest = np.unravel_index(int(policy.windows.argmax()), policy.windows.shape)
    for key, index in zip((ANOMALY, GAT), busiest, strict=True):
        st.session_state.setdefault(key, round(float(policy.axis[index]), 2))
    anomaly = st.slider("VGAE anomaly score", 0.0, 1.0, step=0.01, key=ANOMALY)
    gat_prob = st.slider("GAT attack probability", 0.0, 1.0, step=0.01, key=GAT)
    row, column = policy.cell(anomaly, gat_prob)
    alpha = float(policy.alpha[row, column])
    fused = (1 - alpha) * anomaly + alpha * gat_prob
    with st.container(horizontal=True):
        st.metric("alpha", f"{alpha:.2f}", width="content")
        st.metric("fused score", f"{fused:.3f}", width="content")
        st.metric("verdict", "attack" if fused >= threshold else "benign", width="content")
    seen = int(policy.windows[row, column])
    st.caption(
        f"Alpha of the nearest cell of the map; {count(seen)} training windows fell into it."
        if seen
        else "Alpha of the nearest cell of the map; no training window fell there: a guess."
    )
    return row, column


def windows_of_cell(predictions: pa.Table, policy: Policy, row: int, column: int) -> None:
    """A table of the scored windows whose scores are nearest to a cell."""
    windows = windows_in_cell(predictions, policy, row, column)
    st.markdown(
        f"**Validation and test windows in this cell** (anomaly near {policy.axis[row]:.2f}, GAT "
        f"near {policy.axis[column]:.2f})"
    )
    if windows.empty:
        st.caption("None. Click another cell, or move the sliders.")
        return
    st.caption(
        f"{count(len(windows))} windows, {count(int(windows['label'].sum()))} attacked"
        + (f"; the first {count(MAX_ROWS)} are listed" if len(windows) > MAX_ROWS else "")
    )
    names = windows["attack"].astype(str).where(windows["attack"].astype(str) != "", "attack")
    windows["truth"] = names.where(windows["label"] == 1, "benign")
    shown = windows.head(MAX_ROWS)[list(COLUMNS)].rename(columns=COLUMNS)
    st.dataframe(
        shown,
        hide_index=True,
        height=min(36 + 35 * len(shown), 300),
        column_config={
            name: st.column_config.NumberColumn(format="%.3f")
            for name in ("Anomaly", "GAT", "Alpha", "Fused", "Start (s)")
        },
    )


def policy_npy(policy: Policy) -> bytes:
    """Alpha as a NumPy file: ``[G, G]``, rows anomaly score, columns GAT probability."""
    buffer = io.BytesIO()
    np.save(buffer, policy.alpha)
    return buffer.getvalue()


def policy_csv(policy: Policy) -> str:
    """One line per cell: both scores, alpha, windows, attacked windows."""
    anomaly, gat_prob = np.meshgrid(policy.axis, policy.axis, indexing="ij")
    columns = {
        "anomaly_score": anomaly,
        "gat_prob": gat_prob,
        "alpha": policy.alpha,
        "windows": policy.windows,
        "attacks": policy.attacks,
    }
    text: str = pd.DataFrame({name: grid.ravel() for name, grid in columns.items()}).to_csv(
        index=False
    )
    return text
