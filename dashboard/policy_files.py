"""The policy map as files to take away."""

import io

import numpy as np
import pandas as pd
import streamlit as st

from dashboard.policy_figures import policy_heatmap
from dashboard.results import Policy


def downloads(policy: Policy, threshold: float, overlays: list[str], run_id: str) -> None:
    """Buttons; each file is made when it is asked for."""
    with st.container(horizontal=True, vertical_alignment="center"):
        for ending, make, mime in (
            ("npy", lambda: policy_npy(policy), "application/octet-stream"),
            ("csv", lambda: policy_csv(policy), "text/csv"),
            ("html", lambda: policy_html(policy, threshold, overlays), "text/html"),
        ):
            st.download_button(
                f"Policy as .{ending}",
                make,
                f"policy-{run_id}.{ending}",
                mime,
                key=f"policy-{ending}",
                on_click="ignore",
                icon=":material/download:",
            )
        st.caption("As .png: the camera above the map.")


def policy_npy(policy: Policy) -> bytes:
    """Alpha as a NumPy file: ``[G, G]``, rows anomaly score, columns GAT probability."""
    buffer = io.BytesIO()
    np.save(buffer, policy.alpha, allow_pickle=False)
    return buffer.getvalue()


def policy_csv(policy: Policy) -> str:
    """One line per cell: both scores, alpha, windows, attacked windows, Q-spread if known."""
    anomaly, gat_prob = np.meshgrid(policy.axis, policy.axis, indexing="ij")
    columns = {
        "anomaly_score": anomaly,
        "gat_prob": gat_prob,
        "alpha": policy.alpha,
        "windows": policy.windows,
        "attacks": policy.attacks,
    }
    if policy.q_spread is not None:
        columns["q_spread"] = policy.q_spread
    text: str = pd.DataFrame({name: grid.ravel() for name, grid in columns.items()}).to_csv(
        index=False
    )
    return text


def policy_html(policy: Policy, threshold: float, overlays: list[str]) -> str:
    """The map as a page that needs nothing else, plotly included."""
    text: str = policy_heatmap(policy, threshold, overlays).to_html(
        include_plotlyjs=True, full_html=True, config={"displaylogo": False}
    )
    return text
