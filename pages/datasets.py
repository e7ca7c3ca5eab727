"""Data sets and caches: what there is, what is fresh, how to add your own."""

import streamlit as st

from dashboard.context import (
    TRAINING,
    friendly_errors,
    jobs,
    pick_dataset,
    simulated_badge,
    workspace,
)
from dashboard.datasets import capture_rows, is_simulated, overview
from dashboard.datasets_view import cache_cards, import_form, preview, upload_form
from dashboard.live import active_runs

st.title("Data sets and caches")
st.dataframe(overview(workspace()), hide_index=True)
active_runs()

dataset = pick_dataset()
simulated_badge(is_simulated(workspace(), dataset))
files, scores = st.columns(2, gap="large")
with files, friendly_errors():
    st.subheader("Captures")
    rows = capture_rows(workspace(), dataset)
    if rows.empty:
        st.info(
            "Not on disk yet: the demo's captures are made, in seconds, by the first run that "
            "needs them.",
            icon=":material/science:",
        )
    else:
        st.dataframe(rows, hide_index=True, height=min(36 + 35 * len(rows), 320))
with scores:
    st.subheader("Prediction cache")
    st.caption("Both detectors' scores of every window: what the fusion agent learns from.")
    cache_cards(dataset, jobs())
    st.page_link(TRAINING, label="Train fusion on it", icon=":material/model_training:")

with friendly_errors():
    preview(dataset, workspace())

st.subheader("Add your own captures")
st.markdown(
    "A data set is a folder of split folders: `train_01_attack_free`, `train_02_with_attacks` and "
    "any number of `test_...`, each with capture files (CSV, Parquet or candump)."
)
upload, copy = st.tabs(["Upload files", "Import a folder on this machine"])
with upload, friendly_errors():
    upload_form(workspace())
with copy, friendly_errors():
    import_form(jobs())
