"""The policy page's parts: which map is shown, what if, the windows of a cell, downloads."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import streamlit as st

from core.evaluation.cells import errors_per_cell, on_grid
from core.jobs.run import Run
from dashboard.context import jobs, run_label, workspace
from dashboard.figures import CONFIG
from dashboard.formatting import code, count
from dashboard.policy_figures import (
    BOUNDARY,
    DENSITY,
    ERRORS,
    OVERLAYS,
    SPREAD,
    UNSEEN,
    Errors,
    difference_map,
    policy_animation,
    policy_heatmap,
)
from dashboard.results import (
    Policy,
    has_results,
    load_epochs,
    load_policy,
    load_predictions,
    windows_in_cell,
)
from dashboard.selection import forget_window, number_in_address
from dashboard.window_view import window_table

ANOMALY, GAT = "anomaly", "gat"
"""Sliders and parts of the address."""
FINAL, ONE, PLAY = WHEN = ("Final policy", "After an epoch", "All epochs, played")
MAX_ROWS = 2000
"""Windows of one cell that are listed."""
MEANING = {
    UNSEEN: "grey veil: no training window fell there: alpha is an assumption",
    BOUNDARY: "black line: fused = {threshold:g}, where the verdict flips",
    DENSITY: "rings: training windows, larger where there are more",
    ERRORS: "crosses: attacked windows missed; triangles: false alarms (validation and test)",
    SPREAD: "dotted lines: Q-spread, what the best alpha is worth more than the worst",
}


def pick_overlays() -> list[str]:
    """What lies over the map."""
    return st.pills(
        "Over the map",
        OVERLAYS,
        selection_mode="multi",
        default=[UNSEEN, BOUNDARY],
        key="over",
        bind="query-params",
    )


def legend(overlays: list[str], threshold: float) -> None:
    """What colours and marks mean."""
    parts = [MEANING[name].format(threshold=threshold) for name in OVERLAYS if name in overlays]
    st.caption(
        "; ".join(["Blue: the VGAE decides; orange: the GAT decides", *parts])
        + ". Click a cell for its windows."
    )


def pick_epoch(run_dir: Path, policy: Policy, threshold: float) -> Policy | None:
    """The policy after the chosen epoch; None where all of them are played instead."""
    when = st.segmented_control(
        "Policy", WHEN, default=FINAL, required=True, key="when", bind="query-params"
    )
    if when == FINAL:
        return policy
    epochs = load_epochs(run_dir)
    if epochs is None:
        st.info(
            "This run did not keep its policy of each epoch (policy_epochs.arrow). Runs that are "
            "trained from now on do: start one on the training page. The final policy is shown.",
            icon=":material/movie:",
        )
        return policy
    if when == ONE:
        first, last = int(epochs.epochs[0]), int(epochs.epochs[-1])
        if first == last:
            return epochs.at(0, policy)
        asked = st.session_state.get("epoch", number_in_address("epoch", last, first, last))
        st.session_state["epoch"] = min(max(int(asked), first), last)
        epoch = st.slider("Epoch", first, last, step=1, key="epoch", bind="query-params")
        return epochs.at(epochs.nearest(epoch), policy)
    st.plotly_chart(
        policy_animation(epochs, policy, threshold),
        key=f"play-{run_dir.name}",
        config=CONFIG,
        alt=f"Alpha over both scores after each of {len(epochs.epochs)} epochs, to be played",
    )
    return None


def fusion_errors(predictions: pa.Table, policy: Policy, threshold: float) -> Errors:
    """Missed windows and false alarms of fusion in each cell."""
    anomaly, gat_prob, label, fused = (
        predictions[name].to_numpy() for name in ("anomaly_score", "gat_prob", "label", "fused")
    )
    return errors_per_cell(anomaly, gat_prob, label, fused, threshold, len(policy.axis))


def draw_map(
    policy: Policy,
    threshold: float,
    overlays: list[str],
    errors: Errors | None,
    key: str,
    height: int = 580,
) -> None:
    """A map whose cells can be clicked."""
    busiest = np.unravel_index(int(policy.windows.argmax()), policy.windows.shape)
    st.plotly_chart(
        policy_heatmap(policy, threshold, overlays, errors, height),
        key=key,
        on_select=lambda: take_click(policy, key),
        selection_mode="points",
        config=CONFIG,
        alt=(
            "Heatmap of alpha over GAT probability and anomaly score: mean "
            f"{policy.alpha.mean():.2f}, {policy.alpha[busiest]:.2f} where most training windows "
            f"are (anomaly {policy.axis[busiest[0]]:.2f}, GAT {policy.axis[busiest[1]]:.2f})"
        ),
    )


def pick_other(run: Run) -> Run | None:
    """Another run to lay beside this one."""
    others = {
        other.id: other
        for other in jobs().runs()
        if other.id != run.id and has_results(workspace().runs / other.id)
    }
    if not others:
        st.caption("A second run with results can be laid beside this one once there is one.")
        return None
    asked = st.query_params.get("other", "")
    # Not bound: what a bound picker writes into the address is the label, and its age changes.
    st.session_state["other_picker"] = asked if asked in others else None
    if asked and asked not in others:
        st.warning(f"There is no other run {code(asked)} with results.", icon=":material/link_off:")
    st.selectbox(
        "Beside",
        list(others),
        index=None,
        key="other_picker",
        placeholder="Lay another run beside this one",
        format_func=lambda run_id: run_label(others[run_id]),
        on_change=_follow_other,
    )
    return others.get(asked)


def _follow_other() -> None:
    chosen = st.session_state["other_picker"]
    if chosen:
        st.query_params["other"] = chosen
    else:
        st.query_params.pop("other", None)


def side_by_side(
    first: Policy, second: Policy, threshold: float, overlays: list[str], key: str
) -> None:
    """Two policies and their difference, on the first one's grid."""
    size = len(first.axis)
    with st.grid(3, min_column_width=330):
        for title, policy in (("This run", first), ("The other run", second)):
            with st.container():
                st.markdown(f"**{title}**")
                draw_map(policy, threshold, overlays, None, f"{key}-{title}", 420)
        with st.container():
            st.markdown("**Difference** (the other minus this one)")
            there = Policy(
                first.axis, on_grid(second.alpha, size), first.windows, first.attacks, None
            )
            change = there.alpha - first.alpha
            seen = first.windows > 0
            st.plotly_chart(
                difference_map(first, there, threshold, overlays),
                key=f"{key}-difference",
                config=CONFIG,
                alt=f"Difference of alpha, from {change.min():.2f} to {change.max():.2f}",
            )
    if seen.any():
        st.caption(
            f"Where training windows of this run fell, alpha differs by "
            f"{np.abs(change[seen]).mean():.3f} on average and by {np.abs(change[seen]).max():.2f} "
            "at most. Dotted line: where this run's verdict flips; full line: the other's."
        )


def take_click(policy: Policy, chart: str) -> None:
    """Move the what-if sliders to the cell that was clicked."""
    points = st.session_state[chart].selection.points
    if points:
        row, column = policy.cell(points[0]["y"], points[0]["x"])
        st.session_state[ANOMALY] = round(float(policy.axis[row]), 2)
        st.session_state[GAT] = round(float(policy.axis[column]), 2)
        forget_window()


def what_if(policy: Policy, threshold: float) -> tuple[int, int]:
    """Two sliders, and what the agent would say; returns the cell they are in."""
    busiest = np.unravel_index(int(policy.windows.argmax()), policy.windows.shape)
    for key, index in zip((ANOMALY, GAT), busiest, strict=True):
        start = number_in_address(key, float(policy.axis[index]), 0.0, 1.0)
        st.session_state.setdefault(key, round(start, 2))
    anomaly = _score_slider("VGAE anomaly score", ANOMALY)
    gat_prob = _score_slider("GAT attack probability", GAT)
    row, column = policy.cell(anomaly, gat_prob)
    alpha = float(policy.alpha[row, column])
    fused = (1 - alpha) * anomaly + alpha * gat_prob
    with st.container(horizontal=True):
        st.metric("Alpha", f"{alpha:.2f}", width="content")
        st.metric("Fused score", f"{fused:.3f}", width="content")
        st.metric("Verdict", "attack" if fused >= threshold else "benign", width="content")
    seen = int(policy.windows[row, column])
    st.caption(
        f"Alpha of the nearest cell of the map; {count(seen)} training windows fell into it."
        if seen
        else "Alpha of the nearest cell of the map; no training window fell there: an assumption."
    )
    return row, column


def _score_slider(label: str, key: str) -> float:
    return st.slider(
        label, 0.0, 1.0, step=0.01, key=key, bind="query-params", on_change=forget_window
    )


def windows_of_cell(predictions: pa.Table, policy: Policy, row: int, column: int) -> None:
    """A table of the scored windows whose scores are nearest to a cell."""
    windows = windows_in_cell(predictions, policy, row, column)
    st.markdown(
        f"**Validation and test windows in this cell** (anomaly near {policy.axis[row]:.2f}, GAT "
        f"near {policy.axis[column]:.2f})"
    )
    if windows.empty:
        st.caption("None. Click another cell, or move the sliders.")
        return
    st.caption(
        f"{count(len(windows))} windows, {count(int(windows['label'].sum()))} attacked"
        + (f"; the first {count(MAX_ROWS)} are listed" if len(windows) > MAX_ROWS else "")
    )
    window_table(windows, f"cell-{row}-{column}", MAX_ROWS)


def policy_of(run: Run) -> Policy:
    """The final policy of a run."""
    return load_policy(workspace().runs / run.id)


def scored(run: Run) -> pa.Table:
    """Every window that a run scored."""
    return load_predictions(workspace().runs / run.id)
