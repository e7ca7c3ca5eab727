"""Policy: what the agent learned, over both scores."""

import streamlit as st

from dashboard.context import friendly_errors, pick_finished_run, simulated_badge, workspace
from dashboard.figures import CONFIG, alpha_histogram, policy_heatmap
from dashboard.policy_view import policy_csv, policy_npy, take_click, what_if, windows_of_cell
from dashboard.results import load_policy, load_predictions, load_results, load_threshold

st.title("Policy")
st.markdown(
    "How much the agent trusts the GAT (**alpha**) for every pair of scores: "
    "`fused = (1 - alpha) x anomaly + alpha x GAT probability`."
)


def show(run_id: str) -> None:
    folder = workspace().runs / run_id
    policy, predictions = load_policy(folder), load_predictions(folder)
    threshold = load_threshold(folder)
    simulated_badge(bool(load_results(folder).get("simulated")))
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.plotly_chart(
            policy_heatmap(policy, threshold),
            key=f"policy-{run_id}",
            on_select=lambda: take_click(policy, f"policy-{run_id}"),
            selection_mode="points",
            config=CONFIG,
            alt="Heatmap of alpha over GAT probability and anomaly score",
        )
        st.caption(
            "Blue: the VGAE decides; orange: the GAT decides. Grey veil: no training window fell "
            f"there, so the agent guesses. Black line: fused = {threshold:g}, where the verdict "
            "flips. Click a cell for its windows."
        )
    with right:
        st.markdown("**What if** a window had these scores?")
        point = what_if(policy, threshold)
        st.markdown("**How often the agent picks which alpha**")
        st.plotly_chart(
            alpha_histogram(predictions["alpha"].to_numpy(), predictions["label"].to_numpy()),
            key="alphas",
            config=CONFIG,
            alt="Histogram of alpha for benign and attacked windows",
        )
    windows_of_cell(predictions, policy, *point)
    with st.container(horizontal=True):
        st.download_button(
            "Policy as .npy", lambda: policy_npy(policy), "policy.npy", on_click="ignore"
        )
        st.download_button(
            "Policy as .csv", lambda: policy_csv(policy), "policy.csv", on_click="ignore"
        )


with friendly_errors():
    run = pick_finished_run()
    if run is not None:
        show(run.id)
