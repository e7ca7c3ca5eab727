"""The parts of the data set page that show the catalogue and bring data sets in and out."""

from collections.abc import Sequence

import streamlit as st

from core.captures.catalogue import Listed, describe, find_duplicates, leaks
from core.captures.dataset import leave_out, left_out, take_back
from core.captures.dataset_import import discard_import, unfinished_imports
from core.jobs.registry import JobRegistry
from core.jobs.tasks import start_catalogue, start_import
from dashboard.attack_timeline import attack_timeline, in_words
from dashboard.catalogue import (
    LOAD_HELP,
    capture_rows,
    example_rows,
    import_log,
    kinds_of_frames,
    last_failure,
    numbers,
    progress_note,
    quarantine_note,
    quarantine_rows,
    tests,
)
from dashboard.context import friendly_errors
from dashboard.datasets import DEMO, is_present, not_in_use, source_folder
from dashboard.figures import CONFIG
from dashboard.formatting import DASH, code, plain
from dashboard.removal import made_from, remove, runs_with

MAX_DUPLICATES = 8
"""Duplicates told one by one."""

COLUMNS = {
    "Capture": st.column_config.TextColumn(width="medium", pinned=True),
    "Split": st.column_config.TextColumn(width="medium"),
    "Frames": st.column_config.NumberColumn(format="localized"),
    "IDs": st.column_config.NumberColumn(format="localized", help="distinct identifiers"),
    "Duration (s)": st.column_config.NumberColumn(format="%.1f"),
    "Bus load": st.column_config.NumberColumn(format="percent", help=LOAD_HELP),
    "Attacked": st.column_config.NumberColumn(format="percent", help="share of the frames"),
    "Skipped": st.column_config.NumberColumn(
        format="localized", help="lines that could not be read; choose the capture to see why"
    ),
    "SHA-256": st.column_config.TextColumn(
        help="of the content, its first digits; equal content has equal digits"
    ),
}


def trouble(jobs: JobRegistry) -> None:
    """The last import or catalogue if it failed, and imports that a restart cut off."""
    failed = last_failure(jobs)
    if failed is not None:
        st.error(f"{failed.title} {code(failed.dataset)} failed: {plain(failed.error)}")
    for unfinished in unfinished_imports(jobs.workspace):
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(
                f":material/power_off: The import of {code(unfinished.name)} from "
                f"{code(unfinished.source)} was cut off. What was copied is kept."
            )
            with friendly_errors():
                if st.button("Go on", key=f"resume-{unfinished.name}"):
                    source = source_folder(unfinished.source)
                    start_import(jobs, source, unfinished.name, unfinished.drop_duplicates)
                    st.rerun()
                if st.button("Throw it away", key=f"discard-{unfinished.name}"):
                    discard_import(unfinished.name, jobs.workspace)
                    st.rerun()


def remove_button(dataset: str, jobs: JobRegistry) -> None:
    """Opens the question whether to remove a data set, where there is something to remove."""
    if is_present(jobs.workspace, dataset) and st.button(
        "Remove this data set", icon=":material/delete:", key="remove-dataset", type="tertiary"
    ):
        confirm_remove(dataset, jobs)


@st.dialog("Remove this data set?")
def confirm_remove(dataset: str, jobs: JobRegistry) -> None:
    """Says what hangs on a data set, and removes it when told to."""
    again = " It is made anew when it is next needed." if dataset == DEMO else ""
    st.markdown(
        f"The captures of {code(dataset)} are deleted from the workspace. The folder or files they "
        f"once came from are left alone.{again}"
    )
    made = made_from(dataset, jobs)
    also = False
    if made:
        st.markdown("Made from it:\n" + "\n".join(f"- {part}" for part in made))
        also = st.checkbox("Delete these too", key="remove-made")
        if not also:
            st.caption("They stay, and count as stale once the captures are gone.")
    runs = runs_with(dataset, jobs)
    if runs:
        st.caption(
            f"{runs} finished run{'s' if runs > 1 else ''} on it: the results stay readable."
        )
    with friendly_errors():
        if st.button("Remove it", type="primary", key="confirm-remove"):
            remove(dataset, jobs, and_what_was_made=also)
            st.rerun()


def catalogue_table(dataset: str, listed: Sequence[Listed], jobs: JobRegistry) -> None:
    """All captures of a data set, what is not known of them, and which are there twice."""
    _duplicates(dataset, jobs)
    note = progress_note(listed)
    if note:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/pending: {note}")
            catalogue_button("Look at them now", dataset, jobs)
    set_aside = quarantine_note(listed)
    if set_aside:
        st.warning(set_aside, icon=":material/block:")
    rows = capture_rows(listed)
    height = min(38 + 35 * len(rows), 400)
    st.dataframe(rows, hide_index=True, height=height, column_config=COLUMNS, placeholder=DASH)
    said = import_log(jobs, dataset)
    if said:
        with st.expander(f"What the import said ({len(said)})"):
            st.text("\n".join(said))


def catalogue_button(label: str, dataset: str, jobs: JobRegistry) -> None:
    """Starts the catalogue of a data set; the run is shown on the page while it lasts."""
    busy = any(run.active and run.dataset == dataset for run in jobs.runs())
    with friendly_errors():
        if st.button(label, key="catalogue", icon=":material/frame_inspect:", disabled=busy):
            start_catalogue(jobs, dataset)
            st.rerun()


def _duplicates(dataset: str, jobs: JobRegistry) -> None:
    found = find_duplicates(dataset, jobs.workspace)
    loud = [duplicate for duplicate in found if duplicate.crosses]
    for duplicate in loud[:MAX_DUPLICATES]:
        show = st.error if leaks(duplicate, dataset) else st.warning
        show(plain(describe(duplicate, dataset)), icon=":material/content_copy:")
    _leave_out(
        dataset, [key for d in found if leaks(d, dataset) for key in tests(d, dataset)], jobs
    )
    rest = [d for d in found if not d.crosses] + loud[MAX_DUPLICATES:]
    if rest:
        label = f"Recordings that are there more than once ({len(rest)})"
        with st.expander(label, icon=":material/content_copy:"):
            st.markdown("\n".join(f"- {plain(describe(d, dataset))}" for d in rest))


def _leave_out(dataset: str, leaking: Sequence[str], jobs: JobRegistry) -> None:
    """Sets test captures that are also trained on aside, or takes them back."""
    aside = left_out(dataset, jobs.workspace)
    with st.container(horizontal=True, vertical_alignment="center"), friendly_errors():
        if leaking and st.button(
            f"Leave {len(leaking)} test capture{'s' if len(leaking) > 1 else ''} out",
            icon=":material/block:",
            key="leave-out",
        ):
            not_in_use(dataset, jobs)
            leave_out(dataset, leaking, jobs.workspace)
            st.rerun()
        if aside:
            st.caption(f"Left out: {', '.join(map(code, aside))}")
            if st.button("Take them back", icon=":material/undo:", key="take-back"):
                not_in_use(dataset, jobs)
                take_back(dataset, jobs.workspace)
                st.rerun()


def pick_capture(listed: Sequence[Listed]) -> Listed | None:
    """A picker of captures; begins with the first attacked one."""
    by_key = {capture.key: capture for capture in listed}
    if not by_key:
        return None
    attacked = [key for key, c in by_key.items() if c.facts and c.facts.attack_frames]
    first = list(by_key).index(attacked[0]) if attacked else 0
    chosen = st.selectbox("Capture", list(by_key), index=first, key="capture", bind="query-params")
    return by_key[chosen]


def capture_details(capture: Listed) -> None:
    """Numbers, attack timeline, quarantine and warnings of one capture."""
    facts = capture.facts
    if facts is None:
        st.info("The catalogue has not looked at this capture yet.", icon=":material/pending:")
        return
    if facts.error:
        st.error(f"This capture cannot be used: {plain(facts.error)}", icon=":material/block:")
        return
    with st.container(horizontal=True):
        for label, value in numbers(facts).items():
            st.metric(label, value, help=LOAD_HELP if label == "Bus load" else None)
    st.caption(f"{kinds_of_frames(facts)} · SHA-256 {code(capture.sha256)}")
    if facts.bin_attacked:
        figure = attack_timeline(facts)
        st.plotly_chart(figure, key="attack-timeline", config=CONFIG, alt=in_words(facts))
        st.caption(in_words(facts))
    elif facts.labelled:
        st.caption("Labelled, and no frame of it is an attack.")
    else:
        st.caption("This file does not say which frames are attacks.")
    for warning in facts.warnings:
        st.warning(plain(warning), icon=":material/info:")
    if facts.skipped:
        st.markdown("**Lines set aside**")
        st.dataframe(quarantine_rows(facts), hide_index=True)
        with st.expander(f"The first {len(facts.examples)} of them"):
            st.dataframe(example_rows(facts), hide_index=True)
