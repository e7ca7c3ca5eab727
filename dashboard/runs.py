"""The list of runs: each one a link, with tags and a note to write on."""

import functools
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core.errors import InputError
from core.jobs.notes import LONGEST_NOTE, Notes, parse_tags, read_notes, write_notes
from core.jobs.run import Run
from core.workspace import Workspace
from dashboard.formatting import DASH, ago, duration
from dashboard.headline import mean_f1
from dashboard.results import load_results

TAGS, NOTE = "Tags", "Note"
ROWS_PX = 420
"""Height of a long list."""


def runs_section(runs: Sequence[Run], workspace: Workspace) -> None:
    """All runs that match what is searched for, newest first."""
    if not runs:
        st.caption("None yet.")
        return
    notes = {run.id: read_notes(workspace.runs / run.id) for run in runs}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.text_input(
            "Search",
            key="find",
            bind="query-params",
            placeholder="data set, state, tag, note ...",
            max_chars=100,
            width=320,
        )
        shown = [run for run in runs if matches(run, notes[run.id], wanted or "")]
        st.caption(f"{len(shown)} of {len(runs)} runs. Tags and notes can be written here.")
    if not shown:
        st.info("No run matches. Search for less.", icon=":material/search_off:")
        return
    frame = pd.DataFrame([_row(run, notes[run.id], workspace.runs / run.id) for run in shown])
    ids = [run.id for run in shown]
    # Edits are kept by row: another list of runs needs another key.
    key = f"runs-{zlib.crc32(' '.join(ids).encode()):x}"
    st.data_editor(
        frame,
        hide_index=True,
        key=key,
        height=min(38 + 35 * len(frame), ROWS_PX),
        disabled=[name for name in frame.columns if name not in (TAGS, NOTE)],
        on_change=_keep,
        args=(key, ids, workspace),
        column_config={
            "Open": st.column_config.LinkColumn("Run", display_text=r"run=(.+)", width="medium"),
            "F1": st.column_config.NumberColumn(
                format="%.3f", help="of fusion, mean over the test scenarios"
            ),
            "Gap closed": st.column_config.NumberColumn(format="percent"),
            TAGS: st.column_config.TextColumn(help="separated by commas", max_chars=400),
            NOTE: st.column_config.TextColumn(width="medium", max_chars=LONGEST_NOTE),
            "Error": st.column_config.TextColumn(width="medium"),
        },
    )
    for problem in st.session_state.pop("notes_refused", []):
        st.error(problem)


def matches(run: Run, notes: Notes, text: str) -> bool:
    """Whether every word of ``text`` is somewhere in what is known of a run."""
    known = " ".join(
        [
            *(run.id, run.title, run.kind, run.dataset, run.state),
            str(run.params.get("protocol", "")),
            *notes.tags,
            notes.note,
        ]
    ).casefold()
    return all(word in known for word in text.casefold().split())


def figures_of(run_dir: Path) -> dict[str, float | None]:
    """``f1`` (of fusion, mean over the test scenarios) and ``gap_closed`` of a run, if known."""
    try:
        stamp = (run_dir / "results.json").stat().st_mtime_ns
    except OSError:
        return {"f1": None, "gap_closed": None}
    return _figures(run_dir, stamp)


@functools.lru_cache(2048)  # Streamlit's own cache takes half a millisecond to look one up.
def _figures(run_dir: Path, stamp: int) -> dict[str, float | None]:
    try:
        f1 = mean_f1(load_results(run_dir)).get("fusion")
    except InputError:
        f1 = None
    try:
        summary = json.loads((run_dir / "summary.json").read_text(encoding="utf-8"))
        closed = summary.get("gap_closed")
    except (OSError, ValueError, AttributeError):
        closed = None
    return {"f1": f1, "gap_closed": closed}


def _row(run: Run, notes: Notes, run_dir: Path) -> dict[str, Any]:
    figures = figures_of(run_dir)
    took = run.finished - run.started if run.finished and run.started else None
    return {
        "Open": f"/training?run={run.id}",
        "What": run.title,
        "Data set": run.dataset or DASH,
        "Protocol": str(run.params.get("protocol", DASH)),
        "State": run.state,
        "Started": ago(run.created),
        "Took": duration(took),
        "F1": figures["f1"],
        "Gap closed": figures["gap_closed"],
        TAGS: ", ".join(notes.tags),
        NOTE: notes.note,
        "Error": run.error,
    }


def _keep(key: str, ids: Sequence[str], workspace: Workspace) -> None:
    """Write down what was typed into the list."""
    edited: Mapping[int, Mapping[str, Any]] = st.session_state[key]["edited_rows"]
    refused = []
    for row, changed in edited.items():
        folder = workspace.runs / ids[int(row)]
        before = read_notes(folder)
        try:
            tags = parse_tags(str(changed[TAGS] or "")) if TAGS in changed else before.tags
            note = str(changed[NOTE] or "") if NOTE in changed else before.note
            if Notes(tags, note) != before:
                write_notes(folder, Notes(tags, note))
        except InputError as error:
            refused.append(str(error))
    st.session_state["notes_refused"] = refused
