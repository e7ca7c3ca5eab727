"""Comparison: what fusion buys over each model alone, and at which threshold."""

import streamlit as st

from core.jobs.run import Run
from dashboard.comparison_view import (
    capture_timeline,
    downloads,
    metric_bars,
    pick_scenario,
    scenario_alphas,
    scenario_tables,
    verdict,
)
from dashboard.context import friendly_errors, pick_finished_run, simulated_badge, workspace
from dashboard.results import load_results, load_threshold
from dashboard.tables import scenarios
from dashboard.threshold_view import calibration_section, threshold_section

st.title("Comparison")


def show(run: Run) -> None:
    folder = workspace().runs / run.id
    results = load_results(folder)
    simulated_badge(bool(results.get("simulated")))
    verdict(results)
    downloads(run, results)
    metric = metric_bars(results)

    st.subheader("One scenario")
    name = pick_scenario(results)
    scenario_tables(scenarios(results)[name], metric)

    st.subheader("What the threshold does")
    threshold_section(folder, workspace(), name, load_threshold(folder))

    left, right = st.columns(2, gap="medium")
    with left, friendly_errors():
        st.subheader("Can scores be read as probabilities?")
        calibration_section(folder, name)
    with right, friendly_errors():
        st.subheader("Which alphas the agent picks")
        scenario_alphas(folder, name)

    st.subheader("One capture over time")
    capture_timeline(folder, name)


with friendly_errors():
    run = pick_finished_run()
    if run is not None:
        show(run)
