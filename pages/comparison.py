"""Comparison: what fusion buys over each model alone."""

import json

import streamlit as st

from dashboard.comparison_view import capture_timeline, verdict
from dashboard.context import friendly_errors, pick_finished_run, simulated_badge, workspace
from dashboard.figures import CONFIG, method_bars
from dashboard.formatting import count, scenario
from dashboard.palette import METHODS
from dashboard.results import load_results
from dashboard.tables import RATES, UNDEFINED, capture_table, long_table, method_table, scenarios

st.title("Comparison")


def show(run_id: str) -> None:
    folder = workspace().runs / run_id
    results = load_results(folder)
    simulated_badge(bool(results.get("simulated")))
    verdict(results)
    for warning in results.get("warnings", ()):
        st.warning(warning, icon=":material/info:")

    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.segmented_control(
            "Metric",
            list(RATES),
            default="f1",
            required=True,
            format_func=RATES.__getitem__,
            wrap=True,
        )
        zoom = st.toggle("Zoom in on the differences", help="The axis then does not start at 0.")
    metric = chosen or "f1"
    st.plotly_chart(
        method_bars(results, metric, RATES[metric], zoom),
        key="bars",
        config=CONFIG,
        alt=f"{RATES[metric]} of every method on every scenario",
    )

    groups = scenarios(results)
    name = st.selectbox(
        "Scenario",
        list(groups),
        index=min(1, len(groups) - 1),
        key="scenario",
        bind="query-params",
        format_func=scenario,
    )
    numbers = groups[name]
    spent = numbers.get("commissioning_windows") or 0
    rehearsed = numbers.get("rehearsed_windows") or 0
    st.caption(
        f"{count(numbers['windows'])} windows scored, {count(numbers['attack_windows'])} attacked"
        + (f"; {count(spent)} more commissioned the vehicle profiles" if spent else "")
        + (f"; in {count(rehearsed)} attacks are rehearsed on clean traffic" if rehearsed else "")
    )
    st.dataframe(method_table(numbers), hide_index=True)
    with st.expander("What the columns and methods mean"):
        st.markdown("\n".join(f"- **{m.label}**: {m.help}" for m in METHODS.values()))
        st.caption(f"TP, FP, TN, FN count windows. {UNDEFINED}")
    if numbers.get("captures"):
        st.markdown(f"**{RATES[metric]} per capture**")
        st.dataframe(capture_table(numbers, metric), hide_index=True)
    capture_timeline(folder, name)

    with st.container(horizontal=True):
        st.download_button(
            "All numbers as .csv",
            lambda: long_table(results).to_csv(index=False),
            f"comparison-{run_id}.csv",
            on_click="ignore",
        )
        st.download_button(
            "Results as .json",
            lambda: json.dumps(results, indent=1),
            f"results-{run_id}.json",
            on_click="ignore",
        )


with friendly_errors():
    run = pick_finished_run()
    if run is not None:
        show(run.id)
