"""What every page shares: the workspace, its runs, the data set and the run that are looked at."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import streamlit as st

from core.errors import InputError
from core.jobs.registry import JobRegistry, registry
from core.jobs.run import DONE, FAILED, INTERRUPTED, PAUSED, QUEUED, RUNNING, STOPPED, STOPPING, Run
from core.workspace import Workspace
from dashboard.datasets import names_of_datasets
from dashboard.formatting import code, moment
from dashboard.results import has_results

HOME, DATASETS, TRAINING, POLICY, COMPARISON, GUIDE = (
    f"../pages/{name}.py"
    for name in ("home", "datasets", "training", "policy", "comparison", "guide")
)

STATE_BADGES = {
    QUEUED: ("gray", ":material/hourglass_empty:"),
    RUNNING: ("blue", ":material/play_arrow:"),
    PAUSED: ("orange", ":material/pause:"),
    STOPPING: ("orange", ":material/stop:"),
    DONE: ("green", ":material/check:"),
    FAILED: ("red", ":material/error:"),
    INTERRUPTED: ("orange", ":material/power_off:"),
    STOPPED: ("gray", ":material/stop:"),
}


def workspace() -> Workspace:
    """The folder that everything is read from and written to."""
    return Workspace.default()


def jobs() -> JobRegistry:
    """The runs of the workspace; shared by all sessions of this server."""
    return registry(workspace())


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Show what the user can mend as a message instead of a traceback."""
    try:
        yield
    except InputError as error:
        st.error(str(error), icon=":material/error:")


def pick_dataset() -> str:
    """A picker of data sets; the choice is part of the address."""
    names = names_of_datasets(workspace())
    if st.session_state.get("dataset", names[0]) not in names:  # It was removed.
        st.session_state["dataset"] = names[0]
    return st.selectbox(
        "Data set",
        names,
        key="dataset",
        bind="query-params",
        format_func=lambda name: "demo (simulated)" if name == "demo" else name,
    )


def pick_run(*, with_results: bool) -> Run | None:
    """A picker of runs bound to ``?run=ID``; None when there is nothing to look at.

    The run comes from the address, else from this session's last page, else it is the newest. A
    run that is not there (any more) is said to be missing, and nothing else is shown in its place.
    """
    runs = jobs().runs()
    if with_results:
        runs = [run for run in runs if has_results(workspace().runs / run.id)]
    by_id = {run.id: run for run in runs}
    asked = st.query_params.get("run", "")
    known = jobs().get(asked) if asked else None
    if asked and known is None:
        st.error(
            f"There is no run {code(asked)} in this workspace: it was deleted, or the link is from "
            "another one.",
            icon=":material/link_off:",
        )
    elif known is not None and asked not in by_id:
        by_id = {asked: known} | by_id
    if not by_id:
        return None
    wanted = asked if asked in by_id else None
    if wanted is None and not asked:
        last = st.session_state.get("last_run", "")
        wanted = last if last in by_id else next(iter(by_id))
    if wanted:
        st.query_params["run"] = st.session_state["last_run"] = wanted
    st.session_state["run_picker"] = wanted
    st.selectbox(
        "Run",
        list(by_id),
        key="run_picker",
        index=0 if wanted else None,
        placeholder="Choose another run",
        format_func=lambda run_id: run_label(by_id[run_id]),
        on_change=_follow_picker,
    )
    return by_id[wanted] if wanted else None


def pick_finished_run() -> Run | None:
    """:func:`pick_run` for pages about results, with words for every way there are none."""
    run = pick_run(with_results=True)
    if run is None:
        if not st.query_params.get("run"):
            st.info(
                "No finished fusion run yet. Run the demo from the home page, or train on your own "
                "data; results then appear here.",
                icon=":material/hourglass_empty:",
            )
        st.page_link(HOME, label="Run the demo", icon=":material/play_arrow:")
        st.page_link(TRAINING, label="Train a fusion agent", icon=":material/model_training:")
        return None
    if has_results(workspace().runs / run.id):
        return run
    if run.active:
        st.info("This run has no results yet: it is still at work.", icon=":material/pending:")
    else:
        st.warning(
            f"This run has no results: it is {run.state}. {run.error}", icon=":material/block:"
        )
    st.page_link(
        TRAINING,
        label="See what it did",
        icon=":material/model_training:",
        query_params={"run": run.id},
    )
    return None


def run_label(run: Run, escape: Callable[[str], str] = str) -> str:
    """``Fusion training · demo · done · 25 Nov 23:44 · 95c9``: tells runs apart, and stays.

    Args:
        escape: of the data set's name, which is a person's: :func:`plain` for Markdown.
    """
    parts = (run.title, escape(run.dataset), run.state, moment(run.created), run.id[-4:])
    return " · ".join(part for part in parts if part)


def state_badge(run: Run) -> None:
    """The state of a run, in a word and a colour."""
    color, icon = STATE_BADGES.get(run.state, ("gray", ":material/help:"))
    st.badge(run.state, color=color, icon=icon)  # type: ignore[arg-type]


def simulated_badge(simulated: bool) -> None:
    """Say so when what is shown comes from the simulator."""
    if simulated:
        st.badge(
            "simulated data",
            icon=":material/science:",
            color="orange",
            help="Made by the built-in simulator: it shows how things work, it is no measurement.",
        )


def _follow_picker() -> None:
    if st.session_state["run_picker"]:
        st.query_params["run"] = st.session_state["run_picker"]
