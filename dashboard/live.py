"""A run that is at work: progress, buttons, curves and log, refreshed while it lasts."""

from dataclasses import dataclass

import streamlit as st

from core.jobs.run import INTERRUPTED, QUEUED, Run
from dashboard.context import TRAINING, jobs, run_label, state_badge
from dashboard.curves import (
    DETECTOR_CHARTS,
    FUSION_CHARTS,
    Chart,
    Drained,
    Points,
    draw,
    last_value,
    leading,
)
from dashboard.formatting import DASH, clock, duration, percent, plain
from dashboard.run_actions import control_buttons, ended_buttons

REFRESH_S = 0.82
"""With what drawing takes, a curve is at most a second behind its run."""
SESSION_RUNS = 6
"""Runs whose curves one session keeps; more are read again from disk when asked for."""
MOST_BESIDE = 4
"""Other runs laid over the curves."""

FOLLOW, DETECTORS, FUSION, LOG = "Follow the run", "Detectors", "Fusion", "Log"
RANGES = {"All": 0, "Last 100": 100, "Last 20": 20}
"""Epochs shown."""


def run_panel(run: Run) -> None:
    """Everything about one run; while it is active, what moves is redrawn every second."""
    # Once per page and not each second: listing and naming hundreds of runs is much of the work.
    others = {r.id: (r, run_label(r)) for r in jobs().runs() if r.id != run.id and r.kind in CURVED}
    st.fragment(_panel)(run.id, others)


def active_runs() -> None:
    """One line with progress and stop button for each run at work, or waiting."""
    running = any(run.active for run in jobs().runs())
    st.fragment(_active_runs, run_every=REFRESH_S if running else None)(running)


def drained(run_id: str, ended: bool = False) -> Drained:
    """What this session knows of a run, brought up to date; one that has ended is read once."""
    kept: dict[str, Drained] = st.session_state.setdefault("drained", {})
    state = kept.pop(run_id, None) or Drained()
    kept[run_id] = state
    for old in list(kept)[:-SESSION_RUNS]:
        del kept[old]
    if not state.complete:
        state.take(jobs().events(run_id, after=state.seq))
        state.complete = ended
    return state


def progress_text(run: Run) -> str:
    """``gat: epoch 3 of 12 · 43 % · about 40 s left``."""
    # The message may name a file: nothing in it is markup.
    doing = f"{run.step}: {plain(run.message)}" if run.message else run.step
    left = f"about {duration(run.remaining_s)} left" if run.remaining_s is not None else ""
    return " · ".join(part for part in (doing, percent(run.fraction), left) if part)


def queue_text(run: Run) -> str:
    """``waiting for its turn on cpu: 2 runs before it``; empty for a run that does not wait."""
    if run.state != QUEUED:
        return ""
    before = sum(
        other.active and other.device == run.device and other.created < run.created
        for other in jobs().runs()
    )
    return f"waiting for its turn on {run.device}: {before} run{'s' * (before != 1)} before it"


@dataclass(frozen=True)
class Look:
    """How the curves are to be drawn."""

    smoothing: float
    log_axis: bool
    last: int
    """Epochs shown; 0: all."""
    frozen: bool
    beside: dict[str, Run]
    """Name -> run laid over the curves."""


def _panel(run_id: str, offered_runs: dict[str, tuple[Run, str]]) -> None:
    run = jobs().get(run_id)
    if run is None:
        st.error("This run was deleted.", icon=":material/delete:")
        return
    _header(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = _view()
        look = None if view == LOG else _controls(run, offered_runs)
    # A fragment of its own: buttons and lists that someone is about to use are not drawn anew.
    moving = st.fragment(_moving, run_every=REFRESH_S if run.active else None)
    moving(run.id, run.state, view, look)


def _moving(run_id: str, was: str, view: str, look: Look | None) -> None:
    """What changes by itself: progress, and curves or log."""
    run = jobs().get(run_id)
    if run is None or run.state != was:
        # Other buttons make sense now; and once a run has ended, the page shows what there is.
        st.rerun()
    if run.active:
        said = queue_text(run) or progress_text(run) or "waiting for its turn"
        st.progress(min(run.fraction, 1.0), text=said)
    state = drained(run_id)
    if look is None:
        # Not st.code: its highlighter takes a second to load in the browser.
        with st.container(height=360, key="live_log_lines", autoscroll=True):
            st.text("\n".join(state.log) or "nothing said yet")
        return
    if view == FOLLOW:
        view = FUSION if "fusion" in state.columns else DETECTORS
    offered = DETECTOR_CHARTS if view == DETECTORS else FUSION_CHARTS
    frames = _frozen(run_id, state, offered) if look.frozen else _frames(state, offered)
    charts = [chart for chart in offered if frames[chart.step]]
    if not charts:
        waits = "Curves appear with the first epoch." if run.active else "No curves were recorded."
        st.info(waits, icon=":material/show_chart:")
        return
    others = {
        label: _frames(drained(other.id, ended=not other.active), offered)
        for label, other in look.beside.items()
    }
    live = run.active and not look.frozen
    with st.grid(2, min_column_width=330):
        for chart in charts:
            overlay = {label: parts[chart.step] for label, parts in others.items()}
            _chart(chart, frames[chart.step], look, overlay, live)


def _frames(state: Drained, charts: tuple[Chart, ...]) -> dict[str, Points]:
    return {step: state.frame(step) for step in {chart.step for chart in charts}}


def _frozen(run_id: str, state: Drained, charts: tuple[Chart, ...]) -> dict[str, Points]:
    """The points as they were when the curves were frozen."""
    kept: dict[str, dict[str, Points]] = st.session_state.setdefault("frozen", {})
    return kept.setdefault(f"{run_id} {charts[0].step}", _frames(state, charts))


def _header(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        state_badge(run)
        st.markdown(f"**{run.title}**")
        if run.started:
            lasted = (run.finished or 0) - run.started
            st.caption(
                f"started {clock(run.started)}"
                + (f", took {duration(lasted)}" if run.finished else "")
            )
        control_buttons(run, keys=True)
    if run.state == INTERRUPTED:
        st.warning(
            f"Interrupted at {percent(run.fraction)}: {plain(run.error)}. What was finished is "
            "kept, and it can go on.",
            icon=":material/power_off:",
        )
    elif run.error:
        st.error(plain(run.error), icon=":material/error:")
    ended_buttons(run)


def _view() -> str:
    chosen = st.segmented_control(
        "Show",
        [FOLLOW, DETECTORS, FUSION, LOG],
        default=FOLLOW,
        required=True,
        key="live_view",
    )
    return chosen or FOLLOW


def _controls(run: Run, others: dict[str, tuple[Run, str]]) -> Look:
    frozen = run.active and st.toggle(
        "Freeze",
        key="live_freeze",
        help="Holds the curves still, so that a zoom stays; the run goes on.",
    )
    if not frozen:
        st.session_state.pop("frozen", None)
    # In a popover: on the page, they would be gone through anew with each redraw of the curves.
    looks = "Smoothing, epochs shown, scale, and other runs laid over the curves."
    with st.popover("Curves", icon=":material/tune:", help=looks):
        smoothing = st.slider("Smoothing", 0.0, 0.95, 0.0, 0.05, key="live_smoothing")
        shown = st.segmented_control(
            "Epochs", list(RANGES), default="All", required=True, key="live_range"
        )
        log_axis = st.toggle("Log scale for losses", key="live_log")
        kept = [id for id in st.session_state.get("live_beside", []) if id in others]
        st.session_state["live_beside"] = kept
        beside = st.multiselect(
            "Beside it",
            list(others),
            key="live_beside",
            format_func=lambda id: others[id][1],
            max_selections=MOST_BESIDE,
            placeholder="Lay other runs over the curves",
        )
    named = {f"{others[id][0].dataset} {id[-4:]}": others[id][0] for id in beside}
    return Look(smoothing, log_axis, RANGES[shown or "All"], frozen, named)


CURVED = ("demo", "fusion", "detectors", "cache")
"""Kinds of run that have curves."""


def _chart(
    chart: Chart,
    points: Points,
    look: Look,
    beside: dict[str, Points],
    live: bool,
) -> None:
    told = {}
    for metric, (name, _) in chart.lines.items():
        column = leading(points, metric) or metric
        value = last_value(points, column)
        told[name + column.removeprefix(metric)] = DASH if value is None else f"{value:.4g}"
    st.echarts_chart(
        draw(chart, points, look.smoothing, look.log_axis, beside, look.last, live),
        key=f"chart-{chart.step}-{chart.title}",
        height=294,
        alt=f"{chart.title} over {len(points['x'])} epochs; last: "
        + ", ".join(f"{name} {value}" for name, value in told.items()),
    )


def _active_runs(were_running: bool) -> None:
    active = [run for run in jobs().runs() if run.active]
    if were_running and not active:
        st.rerun()
    if not active:
        st.caption("Nothing is running.")
    for run in sorted(active, key=lambda run: run.created):
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                state_badge(run)
                st.markdown(run_label(run, plain))
                st.page_link(
                    TRAINING,
                    label="Watch",
                    icon=":material/show_chart:",
                    query_params={"run": run.id},
                )
                control_buttons(run)
            said = queue_text(run) or progress_text(run) or "waiting for its turn"
            st.progress(min(run.fraction, 1.0), text=said)
