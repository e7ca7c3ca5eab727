"""Home: where am I, what is running, what came out."""

import streamlit as st

from core.config import create_fusion_config
from core.jobs.tasks import start
from dashboard.context import (
    COMPARISON,
    GUIDE,
    POLICY,
    TRAINING,
    friendly_errors,
    jobs,
    pick_dataset,
    simulated_badge,
    workspace,
)
from dashboard.headline import headline
from dashboard.live import active_runs
from dashboard.results import load_results
from dashboard.steps import last_finished, steps
from dashboard.tables import f1_table
from dashboard.tour import tour

st.title("CAN-Graph Fusion")
st.markdown(
    "Two detectors look at windows of a vehicle's CAN traffic as graphs: a **VGAE** that knows "
    "only normal traffic, and a **GAT** that has seen attacks. A **DQN agent** learns whom to "
    "trust, window by window; here you train all three, see what the agent learned and what it "
    "buys."
)
with friendly_errors():
    if st.button("Run the demo end to end", type="primary", icon=":material/play_arrow:"):
        run_id = start(jobs(), "demo", create_fusion_config("demo"))
        st.switch_page(TRAINING, query_params={"run": run_id})
st.caption("Makes simulated traffic of several vehicles and does every step below; a few minutes.")

tour(jobs())

st.subheader("From captures to a verdict")
dataset = pick_dataset()
with st.grid(5, min_column_width=170):
    for i, step in enumerate(steps(jobs(), dataset), start=1):
        with st.container(border=True):
            mark = ":green[:material/check_circle:]" if step.done else ":gray[:material/circle:]"
            st.markdown(f"{mark} **{i}. {step.title}**")
            st.caption(step.text)
            st.page_link(step.page, label="Open", icon=":material/arrow_forward:")

st.subheader("Running now")
active_runs()

st.subheader("Last results")
with friendly_errors():
    run = last_finished(jobs())
    if run is None:
        st.info(
            "No results yet. Run the demo above: it needs no data of yours.",
            icon=":material/leaderboard:",
        )
    else:
        results = load_results(workspace().runs / run.id)
        simulated_badge(bool(results.get("simulated")))
        st.markdown(headline(results).text)
        st.caption("F1 per scenario and method (1 is perfect).")
        st.dataframe(f1_table(results), hide_index=True)
        for page, label, icon in (
            (COMPARISON, "Open the comparison", ":material/leaderboard:"),
            (POLICY, "See the policy", ":material/grid_on:"),
        ):
            st.page_link(page, label=label, icon=icon, query_params={"run": run.id})
st.page_link(GUIDE, label="Guide and glossary", icon=":material/menu_book:")
