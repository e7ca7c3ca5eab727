"""Training: start a run, watch it, open an earlier one."""

import streamlit as st

from core.config import PROTOCOLS, create_fusion_config, override
from core.jobs.tasks import start
from dashboard.context import (
    COMPARISON,
    DATASETS,
    POLICY,
    TRAINING,
    friendly_errors,
    jobs,
    pick_dataset,
    pick_run,
    simulated_badge,
    workspace,
)
from dashboard.datasets import is_simulated
from dashboard.forms import settings_form
from dashboard.live import run_panel
from dashboard.results import has_results
from dashboard.runs import runs_table

st.title("Training")
run = pick_run(with_results=False)
if run is not None:
    simulated_badge(is_simulated(workspace(), run.dataset))
    run_panel(run)
    if has_results(workspace().runs / run.id):
        with st.container(horizontal=True):
            for page, label in ((POLICY, "See the policy"), (COMPARISON, "See the comparison")):
                st.page_link(page, label=label, query_params={"run": run.id})
elif not st.query_params.get("run"):
    st.info("No runs yet. Start one below.", icon=":material/model_training:")

st.subheader("Start a run")
with st.container(horizontal=True):
    dataset = pick_dataset()
    protocol = st.selectbox(
        "Protocol",
        PROTOCOLS,
        help="commissioned: the first windows of a test capture set its vehicle's profile, without "
        "labels. zero-shot: nothing is known of the test vehicle.",
    )
config = create_fusion_config(dataset, data={"detector": {"protocol": protocol}})
with friendly_errors(), st.form("settings"):
    changes = settings_form(config)
    with st.container(horizontal=True):
        kinds = {
            "fusion": st.form_submit_button("Train fusion", type="primary"),
            "detectors": st.form_submit_button("Train detectors only"),
        }
    st.caption("Fusion training builds the detectors and the cache first where they are missing.")
    for kind, pressed in kinds.items():
        if pressed:
            run_id = start(jobs(), kind, override(config, changes))
            st.switch_page(TRAINING, query_params={"run": run_id})
st.page_link(DATASETS, label="Import your own captures", icon=":material/upload:")

st.subheader("All runs")
runs_table(jobs().runs())
