"""The form that starts a run: settings from a preset or an earlier run, and what was changed."""

import pandas as pd
import streamlit as st

from core.config import PROTOCOLS, FusionConfig, create_fusion_config, override
from core.jobs.tasks import start
from dashboard.again import differences, settings_of_run
from dashboard.context import DATASETS, TRAINING, friendly_errors, jobs, pick_dataset, workspace
from dashboard.formatting import code
from dashboard.forms import forget_settings, settings_form

CLONE = "clone"
"""Part of the address: the run whose settings the form begins with."""
START = "start"
"""Part of the address: the form is what the page is opened for."""


def start_section(folded: bool) -> None:
    """Data set, protocol, settings, and the buttons that start a run with them.

    Args:
        folded: begin with the heading only, as while a run is watched: what is not drawn is not
            gone through with each redraw of the curves. An address can ask for the form.
    """
    asked = st.query_params.get(CLONE, "") or st.query_params.get(START, "")
    # By name, so that it begins anew with other settings, and when a run starts or ends.
    section = st.expander(
        "**Start a run**",
        expanded=bool(asked) or not folded,
        icon=":material/add_circle:",
        key=f"start-{asked or ('folded' if folded else 'open')}",
        on_change="rerun",
    )
    if section.open:
        with section, friendly_errors():
            _whole_form()


def _whole_form() -> None:
    cloned = _cloned()
    with st.container(horizontal=True):
        dataset = pick_dataset()
        protocol = st.selectbox(
            "Protocol",
            PROTOCOLS,
            key="protocol",
            help="commissioned: the first windows of a test capture set its vehicle's profile, "
            "without labels. zero-shot: nothing is known of the test vehicle.",
        )
    base = override(
        cloned or create_fusion_config(dataset),
        {
            "data.dataset": dataset,
            "data.detector.protocol": protocol,
            # Where an earlier run began is no business of a new one.
            "training.resume_from": "",
        },
    )
    # A fragment: a changed setting redraws the form and nothing else of the page.
    st.fragment(_form)(base, cloned is not None)
    st.page_link(DATASETS, label="Import your own captures", icon=":material/upload:")


def _cloned() -> FusionConfig | None:
    """Settings of the run that the address says to clone; says which, and how to be rid of it."""
    run_id = st.query_params.get(CLONE, "")
    run = jobs().get(run_id) if run_id else None
    config = settings_of_run(run, workspace().runs / run.id) if run is not None else None
    if run_id != st.session_state.get(CLONE, ""):
        st.session_state[CLONE] = run_id
        forget_settings()
        if config is not None:
            st.session_state["dataset"] = config.data.dataset
            st.session_state["protocol"] = config.data.detector.protocol
    if not run_id:
        return None
    with st.container(horizontal=True, vertical_alignment="center"):
        if config is None:
            st.warning(
                f"The settings of {code(run_id)} are not known (any more): the form begins with "
                "the preset.",
                icon=":material/link_off:",
            )
        else:
            st.markdown(f":material/content_copy: The form begins with the settings of {run_id}.")
        st.button("Back to the preset", key="no-clone", on_click=_stop_cloning)
    return config


def _stop_cloning() -> None:
    st.query_params.pop(CLONE, None)


def clone(run_id: str) -> None:
    """Let the form begin with the settings of a run."""
    st.query_params[CLONE] = run_id


def _form(base: FusionConfig, cloned: bool) -> None:
    with friendly_errors():
        config = override(base, settings_form(base))
        changed = differences(config, base)
        if changed:
            names, before, now = zip(*changed, strict=True)
            st.markdown(f"**Changed from the {'earlier run' if cloned else 'preset'}**")
            table = {"Setting": names, "Before": map(str, before), "Now": map(str, now)}
            st.dataframe(pd.DataFrame(table), hide_index=True, key="changed-settings")
        else:
            st.caption("All settings are those of the " + ("run." if cloned else "preset."))
        with st.container(horizontal=True):
            kinds = {
                "fusion": st.button("Train fusion", type="primary", key="start-fusion"),
                "detectors": st.button("Train detectors only", key="start-detectors"),
            }
        st.caption(
            "Fusion training builds the detectors and the cache first where they are missing. A "
            "run that is at work already with the same settings is joined, not started twice."
        )
        for kind, pressed in kinds.items():
            if pressed:
                run_id = start(jobs(), kind, config)
                st.switch_page(TRAINING, query_params={"run": run_id})
