"""Many finished runs at a glance: what was set differently, and what came of it."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.jobs.run import Run
from core.workspace import Workspace
from dashboard.again import flat_settings
from dashboard.figures import CONFIG
from dashboard.runs import figures_of

OUTCOMES = {"f1": "F1", "gap_closed": "gap closed"}
MOST_SETTINGS = 8
"""Settings that get an axis of their own."""


def parallel_section(runs: Sequence[Run], workspace: Workspace) -> None:
    """One line per finished run across the settings that differ and the outcomes, when unfolded."""
    section = st.expander(
        "**Settings and outcomes of finished runs**",
        icon=":material/ssid_chart:",
        key="outcomes",
        bind="query-params",
    )
    if section.open:
        with section:
            _chart(runs, workspace)


def _chart(runs: Sequence[Run], workspace: Workspace) -> None:
    table = run_table(runs, workspace)
    if len(table) < 2:
        st.caption("Appears with the second finished fusion run.")
        return
    figure = parallel_coordinates(table)
    names = ", ".join(str(name) for name in table if name not in OUTCOMES.values())
    st.plotly_chart(
        figure,
        key="parallel",
        config=CONFIG,
        alt=f"{len(table)} runs; settings that differ: {names or 'none'}; best F1 "
        f"{table['F1'].max():.3f}",
    )
    st.caption(
        "One line is one run, coloured by F1 (mean over the test scenarios). Drag along an axis to "
        "pick runs, drag its name to move it. Only settings that differ are shown."
    )


def run_table(runs: Sequence[Run], workspace: Workspace) -> pd.DataFrame:
    """One row per run with results: data set, protocol, settings that differ, outcomes."""
    rows = []
    for run in runs:
        config = run.params.get("config")
        if not isinstance(config, dict):
            continue
        figures = figures_of(workspace.runs / run.id)
        if figures["f1"] is None:
            continue
        settings = dict(flat_settings(config))
        rows.append(settings | {OUTCOMES[name]: figures[name] for name in OUTCOMES})
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    varied = [
        name
        for name in table
        if name not in OUTCOMES.values() and table[name].map(str).nunique() > 1
    ]
    return table[[*varied[:MOST_SETTINGS], *OUTCOMES.values()]]


def parallel_coordinates(table: pd.DataFrame) -> go.Figure:
    """Numbers on their own axes; everything else by name."""
    figure = go.Figure(
        go.Parcoords(
            line={
                "color": table["F1"],
                "colorscale": "Viridis",
                "showscale": True,
                "colorbar": {"title": {"text": "F1"}, "thickness": 12},
            },
            dimensions=[_dimension(str(name), table[name]) for name in table],
            labelangle=-12,
        )
    )
    figure.update_layout(height=420, margin={"l": 80, "r": 30, "t": 90, "b": 25})
    return figure


def _dimension(name: str, values: pd.Series) -> dict[str, Any]:
    label = ".".join(name.split(".")[-2:])
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().any() and numbers.notna().sum() == values.notna().sum():
        return {"label": label, "values": numbers}
    codes, names = pd.factorize(values.map(str))
    # Names are a person's and may hold anything: plotly would take some of it for markup.
    safe = [text.replace("<", "‹").replace(">", "›")[:24] for text in names]
    return {"label": label, "values": codes, "tickvals": list(range(len(names))), "ticktext": safe}
