"""What is looked at, as part of the address: a window is ``?window=split/file@12``."""

import streamlit as st

PARAMETER = "window"


def number_in_address(name: str, default: float, low: float, high: float) -> float:
    """A number of the address, brought into range; ``default`` where there is none, or nonsense."""
    try:
        asked = float(st.query_params.get(name, default))
    except ValueError:
        return default
    # Not a number is neither above nor below anything.
    return min(max(asked, low), high) if asked == asked else default


def chosen_window() -> tuple[str, int] | None:
    """Capture and place of the window in the address; None where there is none, or nonsense."""
    capture, at, place = st.query_params.get(PARAMETER, "").rpartition("@")
    return (capture, int(place)) if at and place.isdecimal() and len(place) < 12 else None


def choose_window(capture: str, window: int) -> None:
    """Put a window into the address."""
    st.query_params[PARAMETER] = f"{capture}@{window}"


def forget_window() -> None:
    """Take the window out of the address."""
    st.query_params.pop(PARAMETER, None)
