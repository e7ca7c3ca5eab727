"""The parts of the data set page: cache cards, a preview, and the two ways to add captures."""

import itertools
from collections.abc import Iterator

import streamlit as st

from core.config import FusionConfig, create_fusion_config
from core.jobs.registry import JobRegistry
from core.jobs.tasks import start, start_catalogue, start_import
from core.workspace import Workspace, typed_name
from dashboard.cache_status import CHECKING, Status, status_of
from dashboard.context import TRAINING, friendly_errors
from dashboard.datasets import CacheFile, caches, delete_cache, describe, source_folder
from dashboard.figures import CONFIG, DETECTOR_LINES, timeline
from dashboard.formatting import code, plain
from dashboard.results import load_cache_preview, names, rows_where
from dashboard.uploads import SPLITS, save_uploads

STATUS = {
    "fresh": ("green", ":material/check_circle:"),
    "stale": ("orange", ":material/update:"),
    "missing": ("gray", ":material/circle:"),
    "corrupt": ("red", ":material/error:"),
    CHECKING: ("gray", ":material/hourglass_empty:"),
}
PATIENCE_S = 0.2
"""How long a page waits for the state of a cache before it is shown as being checked."""


def cache_cards(dataset: str, jobs: JobRegistry) -> None:
    """A card for each protocol's cache; asks again each second while one is being checked."""
    found = caches(jobs.workspace, dataset)
    # Most answers are there at once; waiting for them spares the page being made twice.
    checking = CHECKING in [_status(cache, dataset, jobs, PATIENCE_S)[0] for cache in found]
    timer = itertools.count() if checking else None
    st.fragment(_cache_cards, run_every=1.0 if checking else None)(dataset, jobs, timer)


def _cache_cards(dataset: str, jobs: JobRegistry, timer: Iterator[int] | None) -> None:
    statuses = []
    found = caches(jobs.workspace, dataset)
    for cache, column in zip(found, st.columns(len(found)), strict=True):
        statuses.append(_status(cache, dataset, jobs)[0])
        with column:
            _cache_card(cache, dataset, jobs)
    # Not in the run that makes the page: a question that it asks would be closed unanswered.
    if timer is not None and next(timer) and CHECKING not in statuses:
        st.rerun()


def _status(cache: CacheFile, dataset: str, jobs: JobRegistry, wait_s: float = 0.0) -> Status:
    return status_of(_config(dataset, cache.protocol).data, cache, jobs.workspace, wait_s)


def _config(dataset: str, protocol: str) -> FusionConfig:
    return create_fusion_config(dataset, data={"detector": {"protocol": protocol}})


def _cache_card(cache: CacheFile, dataset: str, jobs: JobRegistry) -> None:
    """State of one cache with its reasons, and what can be done about it."""
    config = _config(dataset, cache.protocol)
    status, reasons = _status(cache, dataset, jobs)
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            color, icon = STATUS[status]
            st.badge(status, color=color, icon=icon)  # type: ignore[arg-type]
            st.markdown(f"**{cache.protocol}**")
            st.caption(describe(cache))
        for reason in reasons:
            st.caption(f"- {reason}")
        with st.container(horizontal=True), friendly_errors():
            label = "Rebuild" if cache.exists else "Build cache"
            if st.button(label, key=f"build-{cache.protocol}", icon=":material/bolt:"):
                _watch(start(jobs, "cache", config))
            if st.button(
                "Train detectors", key=f"detect-{cache.protocol}", icon=":material/model_training:"
            ):
                _watch(start(jobs, "detectors", config))
            if cache.exists and st.button(
                "Delete", key=f"delete-{cache.protocol}", icon=":material/delete:"
            ):
                _confirm_delete(cache, dataset, jobs)


@st.dialog("Delete this prediction cache?")
def _confirm_delete(cache: CacheFile, dataset: str, jobs: JobRegistry) -> None:
    st.markdown(
        f"The {cache.protocol} cache of {dataset} ({describe(cache)}). Captures, detectors and "
        "finished runs stay; building it again takes as long as it did."
    )
    with friendly_errors():
        if st.button("Delete it", type="primary", key="confirm-delete"):
            delete_cache(cache, dataset, jobs)
            st.rerun()


def preview(dataset: str, capture: str, workspace: Workspace) -> None:
    """Both detectors' scores of a capture over time, from the first cache that is there."""
    built = [cache for cache in caches(workspace, dataset) if cache.exists]
    if not built:
        return
    table = load_cache_preview(built[0].path)
    st.markdown("**Scores of both detectors**")
    if capture not in names(table, "capture"):
        st.caption(f"The {built[0].protocol} cache has no scored window of this capture.")
        return
    rows = rows_where(table, capture=capture)
    attacked = int(rows["label"].sum())
    # Folds count from 0; -1 stands for the final detectors.
    left_out = bool((rows["fold"] >= 0).all())
    st.caption(
        f"{len(rows):,} windows, {attacked:,} attacked ({built[0].protocol} cache)"
        + (". By detectors that were not trained on this capture" if left_out else "")
    )
    st.plotly_chart(
        timeline(rows, DETECTOR_LINES, None),
        key="preview-timeline",
        config=CONFIG,
        alt=f"Anomaly score and GAT probability of {capture} over time, attacks shaded",
    )


def upload_form(jobs: JobRegistry) -> None:
    """Files from the browser into one split of a data set."""
    limit = int(st.get_option("server.maxUploadSize")) * 1024 * 1024
    # Until the next upload: the page is made anew by itself when the new captures were looked at.
    added, refused = st.session_state.get("uploaded", ([], []))
    for line in added:
        st.success(f"Added {plain(line)}")
    for line in refused:
        st.error(plain(line))
    with st.form("upload", clear_on_submit=True):
        left, right = st.columns(2)
        name = left.text_input("Data set name", placeholder="my_vehicle")
        split = right.selectbox("Split", SPLITS, accept_new_options=True)
        files = st.file_uploader("Capture files", accept_multiple_files=True)
        if not st.form_submit_button("Add", type="primary"):
            return
        if not files:
            st.warning("Choose one or more files first.")
            return
        name = typed_name(name)
        added, refused = save_uploads(files, name, split or "", jobs.workspace, limit)
        if added:
            start_catalogue(jobs, name)
    # The page shows the new captures, and then what was said here.
    st.session_state["uploaded"] = added, refused
    st.rerun()


def import_form(jobs: JobRegistry) -> None:
    """Copy a folder that is already on the server's disk."""
    begun = st.session_state.pop("importing", "")
    if begun:
        st.info(f"Importing {code(begun)}: watch, pause or stop it at the top of this page.")
    with st.form("import"):
        left, right = st.columns(2)
        folder = left.text_input("Folder on this machine", placeholder="/data/my_vehicle")
        name = right.text_input("Name in the workspace", placeholder="my_vehicle")
        drop = st.checkbox(
            "Leave out test captures that are also trained on",
            help="Those with the content of a training capture: results on them are worthless.",
        )
        if st.form_submit_button("Import", type="primary"):
            source, name = source_folder(folder), typed_name(name)
            start_import(jobs, source, name, drop)
            st.session_state["importing"] = name
            st.rerun()


def _watch(run_id: str) -> None:
    st.switch_page(TRAINING, query_params={"run": run_id})
