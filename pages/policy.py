"""Policy: what the agent learned, over both scores."""

import streamlit as st

from core.jobs.run import Run
from dashboard.context import friendly_errors, pick_finished_run, simulated_badge, workspace
from dashboard.figures import CONFIG, alpha_histogram
from dashboard.policy_files import downloads
from dashboard.policy_view import (
    draw_map,
    fusion_errors,
    legend,
    pick_epoch,
    pick_other,
    pick_overlays,
    policy_of,
    side_by_side,
    what_if,
    windows_of_cell,
)
from dashboard.results import load_predictions, load_results, load_threshold
from dashboard.slices import pick_slice
from dashboard.window_view import window_view

st.title("Policy")
st.markdown(
    "How much the agent trusts the GAT (**alpha**) for every pair of scores: "
    "`fused = (1 - alpha) x anomaly + alpha x GAT probability`."
)


def show(run: Run) -> None:
    folder = workspace().runs / run.id
    final, predictions = policy_of(run), load_predictions(folder)
    threshold = load_threshold(folder)
    simulated_badge(bool(load_results(folder).get("simulated")))
    other = pick_other(run)
    overlays = pick_overlays()
    if other is not None:
        side_by_side(final, policy_of(other), threshold, overlays, f"{run.id}-{other.id}")
        policy = final
    left, right = st.columns([3, 2], gap="medium")
    with left:
        if other is None:
            chosen = pick_epoch(folder, final, threshold)
            policy = final if chosen is None else chosen
            if policy is final:
                chosen = policy = pick_slice(folder, final)
            if chosen is not None:
                errors = fusion_errors(predictions, policy, threshold)
                draw_map(policy, threshold, overlays, errors, f"policy-{run.id}")
        legend(overlays, threshold)
        downloads(policy, threshold, overlays, run.id)
    with right:
        st.markdown("**What if** a window had these scores?")
        cell = what_if(policy, threshold)
    with right if other is None else left:
        st.markdown("**How often the agent picks which alpha**")
        st.plotly_chart(
            alpha_histogram(predictions["alpha"].to_numpy(), predictions["label"].to_numpy()),
            key="alphas",
            config=CONFIG,
            alt="Histogram of alpha for benign and attacked windows",
        )
    windows_of_cell(predictions, policy, *cell)
    window_view(folder, workspace(), threshold)


with friendly_errors():
    run = pick_finished_run()
    if run is not None:
        show(run)
