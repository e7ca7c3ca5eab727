"""What takes space in the workspace, and what of it can be removed because it is made anew."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import streamlit as st

from core.errors import InputError
from core.jobs.registry import JobRegistry
from core.workspace import Workspace
from dashboard.context import friendly_errors
from dashboard.formatting import count, size

FRESH_S = 20
"""Seconds for which sizes are not asked for again."""


@dataclass(frozen=True)
class Room:
    """One part of the workspace."""

    name: str
    holds: str
    path: Path
    removable: str = ""
    """What removing it costs; empty where it must not be removed as a whole."""


def rooms(workspace: Workspace) -> list[Room]:
    """The parts of the workspace, in the order of the way of the data."""
    return [
        Room("Data sets", "captures", workspace.datasets),
        Room("Catalogue", "what is in each capture", workspace.catalogue),
        Room(
            "Graphs",
            "captures as graphs",
            workspace.graphs,
            "They are built anew, at some hundred thousand frames a second, when next needed.",
        ),
        Room("Vehicle profiles", "what is normal on known vehicles", workspace.profiles),
        Room("Prediction caches", "both detectors' scores", workspace.root / "cache"),
        Room("Models", "detectors, agents, policies, checkpoints", workspace.saved_models),
        Room(
            "Logs",
            "CSV and TensorBoard logs of trainings",
            workspace.logs,
            "Curves of finished runs stay on the training page; TensorBoard loses them.",
        ),
        Room("Runs", "results, curves and notes", workspace.runs),
    ]


def used(path: Path) -> tuple[int, int]:
    """Files below a folder, and their bytes; nothing for a folder that is not there."""
    files, total = 0, 0
    for file in path.rglob("*"):
        try:
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
                files += 1
        except OSError:
            continue  # Removed a moment ago.
    return files, total


@st.cache_data(ttl=FRESH_S, max_entries=8, show_spinner="Looking at the disk")
def _usage(root: Path) -> pd.DataFrame:
    found = [(room, used(room.path)) for room in rooms(Workspace(root))]
    return pd.DataFrame(
        [
            {
                "Part": room.name,
                "Holds": room.holds,
                "Files": files,
                "Size": size(total),
                "Bytes": total,
            }
            for room, (files, total) in found
        ]
    )


def disk_section(jobs: JobRegistry) -> None:
    """Space per part of the workspace, space left, and what can be removed."""
    workspace = jobs.workspace
    table = _usage(workspace.root)
    total = int(table["Bytes"].sum())
    existing = next(p for p in (workspace.root, *workspace.root.parents) if p.exists())
    free = shutil.disk_usage(existing).free
    st.caption(f"The workspace takes {size(total)}; {size(free)} are left on its disk.")
    st.dataframe(
        table.drop(columns="Bytes").assign(Share=table["Bytes"] / max(total, 1)),
        hide_index=True,
        key="disk-table",
        column_config={
            "Files": st.column_config.NumberColumn(format="localized"),
            "Share": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
        },
    )
    removable = [room for room in rooms(workspace) if room.removable and room.path.is_dir()]
    with st.container(horizontal=True):
        for room in removable:
            if st.button(
                f"Remove {room.name.lower()} ...", key=f"free-{room.name}", icon=":material/delete:"
            ):
                confirm_free(room.name, jobs)


@st.dialog("What would be removed")
def confirm_free(name: str, jobs: JobRegistry) -> None:
    """Says what would go and what that costs; removes it when told to."""
    room = next(room for room in rooms(jobs.workspace) if room.name == name)
    files, total = used(room.path)
    st.markdown(
        f"**{room.name}**: {count(files)} files, {size(total)}. {room.removable} Nothing has been "
        "removed yet."
    )
    with friendly_errors():
        if st.button("Remove them", type="primary", key="confirm-free"):
            free_room(name, jobs)
            _usage.clear()
            st.rerun()


def free_room(name: str, jobs: JobRegistry) -> None:
    """Remove what lies in a part of the workspace that is made anew.

    Raises:
        InputError: if it is no such part, a run is at work, or the system refuses.
    """
    room = next((room for room in rooms(jobs.workspace) if room.name == name), None)
    if room is None or not room.removable:
        raise InputError(f"{name!r} is nothing that can be removed as a whole")
    busy = [run for run in jobs.runs() if run.active]
    if busy:
        raise InputError(f"{busy[0].title} is {busy[0].state}: stop it first, or wait for it")
    try:
        shutil.rmtree(room.path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise InputError(f"cannot remove {room.path}: {error.strerror or error}") from error
