"""A tour of five steps for a first visit, on the home page."""

from typing import NamedTuple

import streamlit as st

from core.jobs.registry import JobRegistry
from dashboard.context import COMPARISON, DATASETS, POLICY, TRAINING

STATE = "tour_step"
CLOSED = -1


class Stop(NamedTuple):
    """One step of the tour, and the page that it is about."""

    title: str
    text: str
    page: str
    label: str


STOPS = (
    Stop(
        "Bring captures, or none",
        "A data set is a folder of split folders with capture files. Import or upload your own on "
        "the data page, see what is in them and what is wrong with them; or use the demo, whose "
        "traffic is simulated.",
        DATASETS,
        "Data sets",
    ),
    Stop(
        "Train, and watch it",
        "One button trains both detectors, scores every window and trains the agent. Pause, resume "
        "or stop it whenever you like: closing the browser does not end it.",
        TRAINING,
        "Training",
    ),
    Stop(
        "Ask what the agent has learned",
        "The policy map shows whom it trusts for every pair of scores, and where it only assumes. "
        "Click a cell for the windows in it, and a window for its frames and for what stood out.",
        POLICY,
        "Policy",
    ),
    Stop(
        "See what fusion buys",
        "All methods side by side, with intervals, and in plain words whether fusion helps. Move "
        "the threshold and see misses and false alarms change.",
        COMPARISON,
        "Comparison",
    ),
    Stop(
        "Show it to others",
        "Every address can be shared: it holds run, window, cell and threshold. The report on the "
        "comparison page is one file that opens and prints anywhere.",
        COMPARISON,
        "Comparison",
    ),
)


def tour(jobs: JobRegistry) -> None:
    """The current step; begins by itself where nothing has been run yet."""
    step = st.session_state.setdefault(STATE, CLOSED if jobs.runs() else 0)
    if not 0 <= step < len(STOPS):
        st.button("Take the tour", icon=":material/tour:", on_click=_go, args=(0,), type="tertiary")
        return
    stop = STOPS[step]
    with st.container(border=True, key="tour"):
        st.markdown(f"**{stop.title}** :gray[step {step + 1} of {len(STOPS)}]")
        st.markdown(stop.text)
        with st.container(horizontal=True, vertical_alignment="center"):
            if step:
                st.button("Back", key="tour-back", on_click=_go, args=(step - 1,))
            if step + 1 < len(STOPS):
                st.button("Next step", key="tour-next", on_click=_go, args=(step + 1,))
            st.page_link(stop.page, label=stop.label, icon=":material/arrow_forward:")
            st.button(
                "Close the tour", key="tour-close", on_click=_go, args=(CLOSED,), type="tertiary"
            )


def _go(step: int) -> None:
    st.session_state[STATE] = step
