"""Known vehicles: what is normal on each, as learnt from training captures."""

from datetime import datetime

import numpy as np
import pandas as pd
import streamlit as st

from core.config import WindowConfig
from core.graphs.profiles import KnownVehicle, saved_vehicles
from core.graphs.reference import COMPARED
from core.workspace import Workspace
from dashboard.formatting import DASH, count, moment, plain
from dashboard.window_data import id_text

EXTENDED_BIT = 1 << 31
_COLUMN = {name: place for place, name in enumerate(COMPARED)}


def profiles_section(workspace: Workspace) -> None:
    """The list of profiles, and one of them in detail."""
    known, problems = saved_vehicles(workspace.profiles)
    for problem in problems:
        st.warning(plain(problem), icon=":material/error:")
    if not known:
        st.info(
            "No vehicle is known yet: profiles are learnt from the training captures by the first "
            "run with the protocol commissioned.",
            icon=":material/directions_car:",
        )
        return
    st.dataframe(profile_rows(known), hide_index=True, key="profiles-table")
    by_name = {vehicle.name: vehicle for vehicle in known}
    if st.session_state.get("vehicle") not in by_name:
        st.session_state.pop("vehicle", None)
    name = st.selectbox("Vehicle", list(by_name), key="vehicle", bind="query-params")
    vehicle = by_name[name]
    st.dataframe(
        id_rows(vehicle),
        hide_index=True,
        key="profile-ids",
        height=300,
        column_config={
            "In windows": st.column_config.ProgressColumn(
                format="percent",
                min_value=0,
                max_value=1,
                help="share of the windows that the profile was learnt from",
            ),
            "Interval (ms)": st.column_config.NumberColumn(
                format="%.2f", help="usual time between two of its frames within a window"
            ),
            "Share of frames": st.column_config.NumberColumn(format="percent"),
            "Changed bits": st.column_config.NumberColumn(
                format="percent", help="of the payload, from one frame to its next"
            ),
        },
    )
    st.caption(
        f"Learnt from {count(vehicle.profile.windows)} windows of "
        + ", ".join(plain(capture) for capture in vehicle.captures)
    )


def profile_rows(known: list[KnownVehicle]) -> pd.DataFrame:
    """One row per vehicle."""
    return pd.DataFrame(
        [
            {
                "Vehicle": vehicle.name,
                "IDs": len(vehicle.profile.ids),
                "Transitions": len(vehicle.profile.transitions),
                "Windows": vehicle.profile.windows,
                "Captures": len(vehicle.captures),
                "Made": _made(vehicle),
                "Revision": vehicle.revision,
                "Windows cut": window_settings(vehicle.window),
            }
            for vehicle in known
        ]
    )


def _made(vehicle: KnownVehicle) -> str:
    try:
        return moment(datetime.fromisoformat(vehicle.made).timestamp())
    except ValueError:
        return DASH


def window_settings(window: str) -> str:
    """What was changed of how windows are cut; ``window`` is a printed :class:`WindowConfig`."""
    usual = set(_settings(repr(WindowConfig())))
    changed = [setting for setting in _settings(window) if setting not in usual]
    return ", ".join(changed) or f"as by default ({WindowConfig().length})"


def _settings(window: str) -> list[str]:
    return window.removeprefix("WindowConfig(").removesuffix(")").split(", ")


def id_rows(vehicle: KnownVehicle) -> pd.DataFrame:
    """One row per id of a vehicle: how often and how regularly it comes, how its payload moves."""
    profile = vehicle.profile
    ids = profile.ids.tolist()
    return pd.DataFrame(
        {
            "ID": [id_text(i & ~EXTENDED_BIT, bool(i & EXTENDED_BIT)) for i in ids],
            "In windows": np.minimum(profile.count / max(profile.windows, 1), 1.0),
            "Share of frames": profile.mean[:, _COLUMN["frame_share"]],
            "Interval (ms)": 1000 * 10.0 ** profile.mean[:, _COLUMN["interval_log"]],
            "Changed bits": profile.mean[:, _COLUMN["changed_bits"]],
        }
    )
