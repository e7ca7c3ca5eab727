"""One window of a capture drawn as its graph, before anything has been trained on it."""

import streamlit as st

from core.captures.catalogue import CaptureFacts, Listed
from core.captures.frame_table import FrameTable
from core.config import WindowConfig
from dashboard.context import friendly_errors
from dashboard.window_data import excerpt
from dashboard.window_graph import graph_option, in_words


def capture_window(capture: Listed) -> None:
    """A window to choose by its place, and its graph."""
    facts, window = capture.facts, WindowConfig()
    if facts is None or facts.error or facts.frames < window.size:
        return
    if not st.toggle(
        "Draw one window as its graph", key="draw", bind="query-params", help="as detectors see it"
    ):
        return
    with friendly_errors():
        last = (facts.frames - window.size) // window.stride
        key = f"place-{capture.key}"
        if key not in st.session_state:
            st.session_state[key] = min(_first_attacked(capture, facts, window), last)
        place = st.number_input(
            "Window",
            0,
            last,
            step=1,
            key=key,
            help=f"Counted from 0; {window.size} frames each. Begins with the first attacked one.",
            width=200,
        )
        frames = _frames(capture, int(place) * window.stride, window.size)
        st.caption(
            f"{in_words(frames)}. A node is an id, larger the more frames it has; an arrow leads "
            "from each frame's id to the next one's. Point at an id to see its transitions."
        )
        st.echarts_chart(
            graph_option(frames), key="capture-graph", height=520, alt=in_words(frames)
        )


def _first_attacked(capture: Listed, facts: CaptureFacts, window: WindowConfig) -> int:
    """Place of the first window with an attacked frame; 0 where there is none."""
    hit = [
        i for i, parts in enumerate(zip(*facts.bin_attacked.values(), strict=True)) if any(parts)
    ]
    if not hit:
        return 0
    before = sum(facts.bin_frames[: hit[0]])
    frames = _frames(capture, before, facts.bin_frames[hit[0]])
    attacked = frames.label.argmax() if frames.label.any() else 0
    return int(before + attacked) // window.stride


def _frames(capture: Listed, first: int, frames: int) -> FrameTable:
    return excerpt(capture.path, capture.path.stat().st_mtime_ns, first, frames, None)
