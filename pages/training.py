"""Training: start a run, watch it, open, compare and note down earlier ones."""

import streamlit as st

from dashboard.context import (
    COMPARISON,
    POLICY,
    jobs,
    pick_run,
    simulated_badge,
    workspace,
)
from dashboard.datasets import is_simulated
from dashboard.live import active_runs, run_panel
from dashboard.parallel import parallel_section
from dashboard.results import has_results
from dashboard.runs import runs_section
from dashboard.start_view import start_section

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

start_section(folded=run is not None and run.active)

runs = jobs().runs()
if sum(run.active for run in runs) > 1:
    st.subheader("Queue")
    st.caption("One run at a time on each device, in this order.")
    active_runs()

st.subheader("All runs")
runs_section(runs, workspace())
parallel_section(runs, workspace())
