"""What can be done with a run: pause, resume, stop, go on, clone its settings, delete it."""

import shutil
from collections.abc import Callable

import streamlit as st

from core.errors import InputError
from core.jobs.run import PAUSED, RUNNING, STOPPING, Run
from dashboard.again import STARTABLE, can_go_on, go_on, last_checkpoint
from dashboard.context import TRAINING, friendly_errors, jobs, workspace
from dashboard.formatting import code, size
from dashboard.removal import bytes_of
from dashboard.start_view import clone


def control_buttons(run: Run, keys: bool = False) -> None:
    """Pause, resume and stop, where they make sense.

    Args:
        keys: bind the key S to pausing and resuming.
    """
    offered = {
        "Pause": (":material/pause:", jobs().pause, run.state == RUNNING),
        "Resume": (":material/play_arrow:", jobs().resume, run.state == PAUSED),
        "Stop": (":material/stop:", jobs().stop, run.active and run.state != STOPPING),
    }
    for label, (icon, act, sensible) in offered.items():
        if sensible:
            st.button(
                label,
                icon=icon,
                key=f"{label.lower()}-{run.id}",
                on_click=_ask,
                args=(act, run.id),
                shortcut="S" if keys and label != "Stop" else None,
            )


def ended_buttons(run: Run) -> None:
    """What can be done with a run that has ended."""
    if run.active:
        return
    with st.container(horizontal=True, vertical_alignment="center"), friendly_errors():
        if can_go_on(run):
            checkpoint = last_checkpoint(run, jobs())
            help = "What it had finished is found again" + (
                "; fusion goes on from its last checkpoint." if checkpoint else "."
            )
            if st.button("Go on", key=f"again-{run.id}", icon=":material/restart_alt:", help=help):
                st.switch_page(TRAINING, query_params={"run": go_on(run, jobs())})
        if run.kind in STARTABLE:
            st.button(
                "Use its settings",
                key=f"clone-{run.id}",
                icon=":material/content_copy:",
                help="The form below then begins with the settings of this run.",
                on_click=clone,
                args=(run.id,),
            )
        if st.button("Delete", key=f"delete-{run.id}", icon=":material/delete:", type="tertiary"):
            confirm_delete(run.id)


@st.dialog("Delete this run?")
def confirm_delete(run_id: str) -> None:
    """Says what goes and what stays, and deletes when told to."""
    folder = workspace().runs / run_id
    files = sorted(file for file in folder.glob("*") if file.is_file())
    st.markdown(
        f"{code(run_id)}: {len(files)} files, {size(bytes_of(folder))} in all, with its results, "
        "curves, log, tags and note. Data sets, detectors, caches and the agents that it trained "
        "stay. This cannot be undone."
    )
    with friendly_errors():
        if st.button("Delete it", type="primary", key="confirm-delete-run"):
            delete_run(run_id)
            st.session_state.pop("last_run", None)
            st.switch_page(TRAINING, query_params={})


def delete_run(run_id: str) -> None:
    """Remove a run's folder; one that is gone already is no error.

    Raises:
        InputError: if it is at work, or the system refuses.
    """
    run = jobs().get(run_id)
    folder = jobs().folder(run_id)
    if run is None or folder is None:
        return
    if run.active:
        raise InputError(f"{run.title} is {run.state}: stop it first")
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise InputError(f"cannot delete {folder}: {error.strerror or error}") from error


def _ask(act: Callable[[str], bool], run_id: str) -> None:
    # A run that has ended meanwhile cannot be asked; the next redraw shows that it has.
    act(run_id)
