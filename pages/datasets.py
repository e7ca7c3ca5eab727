"""Data sets and caches: what there is, what is in it, what is fresh, how to add your own."""

import streamlit as st

from core.captures.catalogue import read_catalogue
from dashboard.capture_window import capture_window
from dashboard.catalogue_view import (
    capture_details,
    catalogue_button,
    catalogue_table,
    pick_capture,
    remove_button,
    trouble,
)
from dashboard.context import (
    TRAINING,
    friendly_errors,
    jobs,
    pick_dataset,
    simulated_badge,
    workspace,
)
from dashboard.datasets import is_simulated, overview
from dashboard.datasets_view import cache_cards, import_form, preview, upload_form
from dashboard.disk import disk_section
from dashboard.live import active_runs
from dashboard.profiles_view import profiles_section
from dashboard.start_view import START

st.title("Data sets and caches")
st.dataframe(overview(workspace()), hide_index=True)
active_runs()
trouble(jobs())

dataset = pick_dataset()
with st.container(horizontal=True, vertical_alignment="center"):
    simulated_badge(is_simulated(workspace(), dataset))
    remove_button(dataset, jobs())

st.subheader("Captures")
with friendly_errors():
    listed = read_catalogue(dataset, workspace())
    if listed:
        catalogue_table(dataset, listed, jobs())
        st.subheader("A closer look")
        capture = pick_capture(listed)
        if capture is not None:
            capture_details(capture)
            capture_window(capture)
            preview(dataset, capture.key, workspace())
    elif dataset == "demo":
        st.info(
            "Not on disk yet: the demo's captures are made, in seconds, by the first run that "
            "needs them.",
            icon=":material/science:",
        )
        catalogue_button("Make them now", dataset, jobs())
    else:
        st.info("No captures in this data set: add some below.", icon=":material/inbox:")

st.subheader("Prediction cache")
st.caption("Both detectors' scores of every window: what the fusion agent learns from.")
cache_cards(dataset, jobs())
st.page_link(
    TRAINING,
    label="Train fusion on it",
    icon=":material/model_training:",
    query_params={START: "open"},
)

st.subheader("Known vehicles")
with friendly_errors():
    profiles_section(workspace())

st.subheader("Disk use")
disk_section(jobs())

st.subheader("Add your own captures")
st.markdown(
    "A data set is a folder of split folders: `train_01_attack_free`, `train_02_with_attacks` and "
    "any number of `test_...`, each with capture files."
)
upload, copy = st.tabs(["Upload files", "Import a folder on this machine"])
with upload, friendly_errors():
    upload_form(jobs())
with copy, friendly_errors():
    import_form(jobs())
