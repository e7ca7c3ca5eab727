"""A run that is at work: progress, buttons, curves and log, refreshed while it lasts."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from core.jobs.run import PAUSED, RUNNING, STOPPING, Run
from dashboard.context import TRAINING, jobs, run_label, state_badge
from dashboard.curves import DETECTOR_CHARTS, FUSION_CHARTS, Chart, Drained, best_so_far, draw
from dashboard.formatting import DASH, clock, duration, percent

REFRESH_S = 1.0
SESSION_RUNS = 3
"""Runs whose curves one session keeps; more are read again from disk when asked for."""

FOLLOW, DETECTORS, FUSION, LOG = "Follow the run", "Detectors", "Fusion", "Log"


def run_panel(run: Run) -> None:
    """Everything about one run; redraws itself every second while the run is active."""
    every = REFRESH_S if run.active else None
    st.fragment(_panel, run_every=every)(run.id, run.active)


def active_runs() -> None:
    """One line with progress and stop button for each run at work."""
    running = any(run.active for run in jobs().runs())
    st.fragment(_active_runs, run_every=REFRESH_S if running else None)(running)


def drained(run_id: str) -> Drained:
    """What this session knows of a run, brought up to date."""
    kept: dict[str, Drained] = st.session_state.setdefault("drained", {})
    state = kept.pop(run_id, None) or Drained()
    kept[run_id] = state
    for old in list(kept)[:-SESSION_RUNS]:
        del kept[old]
    state.take(jobs().events(run_id, after=state.seq))
    return state


def progress_text(run: Run) -> str:
    """``gat: epoch 3 of 12 · 43 % · about 40 s left``."""
    doing = f"{run.step}: {run.message}" if run.message else run.step
    left = f"about {duration(run.remaining_s)} left" if run.remaining_s is not None else ""
    return " · ".join(part for part in (doing, percent(run.fraction), left) if part)


def _panel(run_id: str, was_active: bool) -> None:
    run = jobs().get(run_id)
    if run is None:
        st.error("This run was deleted.", icon=":material/delete:")
        return
    if was_active and not run.active:
        # The timer ends, and the rest of the page shows what there is now.
        st.rerun()
    _header(run)
    state = drained(run_id)
    view, smoothing, log_axis = _controls()
    if view == FOLLOW:
        view = FUSION if "fusion" in state.points else DETECTORS
    if view == LOG:
        # Not st.code: its highlighter takes a second to load in the browser.
        with st.container(height=360, key="live_log_lines", autoscroll=True):
            st.text("\n".join(state.log) or "nothing said yet")
        return
    offered = DETECTOR_CHARTS if view == DETECTORS else FUSION_CHARTS
    frames = {step: state.frame(step) for step in {chart.step for chart in offered}}
    charts = [chart for chart in offered if not frames[chart.step].empty]
    if not charts:
        waits = "Curves appear with the first epoch." if run.active else "No curves were recorded."
        st.info(waits, icon=":material/show_chart:")
        return
    for left, right in zip(charts[::2], [*charts[1::2], None], strict=False):
        for column, chart in zip(st.columns(2), (left, right), strict=True):
            if chart is not None:
                with column:
                    _chart(chart, frames[chart.step], smoothing, log_axis)


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
        _buttons(run)
    if run.active:
        st.progress(min(run.fraction, 1.0), text=progress_text(run) or "waiting for its turn")
    elif run.error:
        st.error(run.error, icon=":material/error:")


def _buttons(run: Run) -> None:
    """Pause, resume and stop, where they make sense."""
    offered = {
        "Pause": (":material/pause:", jobs().pause, run.state == RUNNING),
        "Resume": (":material/play_arrow:", jobs().resume, run.state == PAUSED),
        "Stop": (":material/stop:", jobs().stop, run.active and run.state != STOPPING),
    }
    for label, (icon, act, sensible) in offered.items():
        if sensible:
            key = f"{label.lower()}-{run.id}"
            st.button(label, icon=icon, key=key, on_click=_ask, args=(act, run.id))


def _ask(act: Callable[[str], bool], run_id: str) -> None:
    # A run that has ended meanwhile cannot be asked; the next redraw shows that it has.
    act(run_id)


def _controls() -> tuple[str, float, bool]:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        view = st.segmented_control(
            "Show",
            [FOLLOW, DETECTORS, FUSION, LOG],
            default=FOLLOW,
            required=True,
            key="live_view",
        )
        smoothing = st.slider("Smoothing", 0.0, 0.95, 0.0, 0.05, key="live_smoothing", width=180)
        log_axis = st.toggle("Log scale for losses", key="live_log")
    return view or FOLLOW, smoothing, log_axis


def _chart(chart: Chart, points: pd.DataFrame, smoothing: float, log_axis: bool) -> None:
    best = best_so_far(chart, points)
    st.markdown(f"**{chart.title}**" + (f" :gray[{best}]" if best else ""))
    last = {
        name: f"{points[metric].dropna().iloc[-1]:.4g}" if _some(points, metric) else DASH
        for metric, (name, _) in chart.lines.items()
    }
    st.echarts_chart(
        draw(chart, points, smoothing, log_axis),
        key=f"chart-{chart.step}-{chart.title}",
        height=260,
        alt=f"{chart.title} over {len(points)} epochs; last: "
        + ", ".join(f"{name} {value}" for name, value in last.items()),
    )


def _some(points: pd.DataFrame, metric: str) -> bool:
    return metric in points and bool(points[metric].notna().any())


def _active_runs(were_running: bool) -> None:
    active = [run for run in jobs().runs() if run.active]
    if were_running and not active:
        st.rerun()
    if not active:
        st.caption("Nothing is running.")
    for run in active:
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center"):
                state_badge(run)
                st.markdown(run_label(run))
                st.page_link(
                    TRAINING,
                    label="Watch",
                    icon=":material/show_chart:",
                    query_params={"run": run.id},
                )
                _buttons(run)
            st.progress(min(run.fraction, 1.0), text=progress_text(run) or "waiting for its turn")
