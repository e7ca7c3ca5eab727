"""Plotly figures of finished runs. Every figure names its axes and units."""

import html
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from dashboard.formatting import scenario
from dashboard.palette import ALPHA, ATTACK, BENIGN, GRID, METHODS
from dashboard.tables import interval, scenarios
from dashboard.tables import metric as metric_of

MAX_POINTS = 3000
"""Windows drawn one by one in a timeline; longer ones are thinned."""
HISTOGRAM_BINS = 21
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}

CONFIG = {"displaylogo": False, "modeBarButtonsToRemove": ["lasso2d", "autoScale2d"]}
"""Plotly's own buttons: zoom, pan, reset, save as picture."""


def alpha_histogram(
    alpha: npt.NDArray[Any], label: npt.NDArray[Any], height: int = 300
) -> go.Figure:
    """How often the agent picked which weight, for benign and attacked windows apart."""
    edges = np.linspace(-0.5, HISTOGRAM_BINS - 0.5, HISTOGRAM_BINS + 1) / (HISTOGRAM_BINS - 1)
    middle = (edges[1:] + edges[:-1]) / 2
    figure = go.Figure()
    for name, color, part in (("benign", BENIGN, label == 0), ("attacked", ATTACK, label == 1)):
        counts, _ = np.histogram(alpha[part], bins=edges)
        share = counts / max(counts.sum(), 1)
        figure.add_bar(
            x=middle,
            y=share,
            name=name,
            marker_color=color,
            customdata=counts,
            hovertemplate="alpha %{x:.2f}: %{y:.1%} (%{customdata:,} windows)<extra>"
            + name
            + "</extra>",
        )
    figure.update_layout(
        barmode="group",
        height=height,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
        xaxis={"title": "alpha (0: VGAE decides, 1: GAT decides)", "range": [-0.04, 1.04]},
        yaxis={"title": "share of windows", "tickformat": ".0%", "gridcolor": GRID},
        legend=LEGEND,
    )
    return figure


def method_bars(
    results: dict[str, Any], metric: str = "f1", title: str = "F1", zoom: bool = False
) -> go.Figure:
    """One metric per scenario and method, grouped; undefined ones are left out.

    Args:
        zoom: begin the axis just below the lowest bar instead of at zero.
    """
    groups = scenarios(results)
    lowest = 1.0
    figure = go.Figure()
    for name, method in METHODS.items():
        values = [
            metric_of(numbers, name, metric) if name in numbers["methods"] else None
            for numbers in groups.values()
        ]
        if all(value is None for value in values):
            continue
        lowest = min([lowest, *(value for value in values if value is not None)])
        limits = [interval(numbers, name, metric) for numbers in groups.values()]
        figure.add_bar(
            x=[_two_lines(html.escape(scenario(group))) for group in groups],
            y=values,
            name=method.label,
            marker_color=method.color,
            error_y=_error_bars(values, limits),
            texttemplate="%{y:.3f}",
            textposition="inside" if any(limits) else "outside",
            insidetextanchor="start",
            textangle=-90,
            cliponaxis=False,
            hovertemplate=f"%{{x}}<br>{title} %{{y:.4f}}<extra>{method.label}</extra>",
        )
    bottom = max(0.0, lowest - 0.15 * (1 - lowest) - 0.005) if zoom else 0.0
    figure.update_layout(
        barmode="group",
        height=400,
        margin={"l": 60, "r": 10, "t": 10, "b": 40},
        xaxis={"title": None},
        yaxis={"title": title, "range": [bottom, 1 + 0.16 * (1 - bottom)], "gridcolor": GRID},
        legend=LEGEND,
    )
    return figure


def _error_bars(
    values: list[float | None], limits: list[list[float] | None]
) -> dict[str, Any] | None:
    """95 % intervals as Plotly wants them; None where not one is known."""
    if not any(limits):
        return None
    above, below = [], []
    for value, limit in zip(values, limits, strict=True):
        low, high = limit if value is not None and limit else (0.0, 0.0)
        above.append(max(high - (value or 0.0), 0.0))
        below.append(max((value or 0.0) - low, 0.0) if limit else 0.0)
    return {
        "type": "data",
        "symmetric": False,
        "array": above,
        "arrayminus": below,
        "thickness": 1.2,
        "width": 3,
        "color": "#7d8794",
    }


def timeline(
    windows: pd.DataFrame, lines: dict[str, tuple[str, str]], threshold: float | None
) -> go.Figure:
    """Scores of one capture's windows over time, with the attacked stretches behind them.

    Args:
        windows: rows of one capture, in order; alpha, where there is one, gets a strip of its own.
        lines: column -> (name, colour).
        threshold: drawn as a dashed line, if given.
    """
    step = -(-len(windows) // MAX_POINTS)
    shown = _with_gaps(windows.iloc[::step], step)
    seconds = shown["start_time"] - windows["start_time"].min()
    figure = go.Figure()
    figure.add_scatter(
        x=seconds,
        y=shown["label"],
        name="attacked (truth)",
        mode="lines",
        line={"width": 0, "shape": "hv", "color": ATTACK},
        fill="tozeroy",
        fillcolor="rgba(209, 86, 31, 0.22)",
        customdata=shown["attack"].astype(str).replace("", "benign").map(html.escape),
        hovertemplate="%{customdata}<extra>truth</extra>",
    )
    for column, (name, color) in lines.items():
        figure.add_scatter(
            x=seconds,
            y=shown[column],
            name=name,
            mode="lines",
            line={"color": color, "width": 2 if column == "fused" else 1.2},
            hovertemplate="%{y:.3f}<extra>" + name + "</extra>",
        )
    if threshold is not None:
        figure.add_hline(threshold, line={"dash": "dash", "width": 1, "color": "#7d8794"})
    with_alpha = "alpha" in shown
    if with_alpha:
        figure.add_scatter(
            x=seconds,
            y=shown["alpha"],
            name="alpha",
            mode="lines",
            line={"color": ALPHA, "width": 1, "shape": "hv"},
            hovertemplate="%{y:.2f}<extra>alpha</extra>",
            yaxis="y2",
        )
        figure.update_layout(
            yaxis2={"title": "alpha", "range": [-0.05, 1.05], "domain": [0, 0.22], "anchor": "x"}
        )
    figure.update_layout(
        height=460 if with_alpha else 360,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
        xaxis={"title": "time since the first scored window (s)", "gridcolor": GRID},
        yaxis={
            "title": "score (0 to 1)",
            "range": [-0.02, 1.05],
            "gridcolor": GRID,
            "domain": [0.3 if with_alpha else 0, 1],
        },
        legend=LEGEND,
        hovermode="x unified",
    )
    figure.update_xaxes(anchor="y2" if with_alpha else "y")
    return figure


FUSION_LINES = {
    "anomaly_score": ("VGAE anomaly score", METHODS["vgae"].color),
    "gat_prob": ("GAT probability", METHODS["gat"].color),
    "fused": ("DQN fusion", METHODS["fusion"].color),
}
DETECTOR_LINES = {name: FUSION_LINES[name] for name in ("anomaly_score", "gat_prob")}


def _with_gaps(windows: pd.DataFrame, step: int) -> pd.DataFrame:
    """An empty row wherever windows are missing between two rows, so that lines break there."""
    jumps = windows["window"].diff().to_numpy() > step
    if not jumps.any():
        return windows
    holes = windows[jumps][["window", "start_time"]].assign(attack="")
    position = np.arange(len(windows))
    both = pd.concat([holes, windows.astype({"attack": str})])
    return both.iloc[np.argsort(np.concatenate([position[jumps] - 0.5, position]))]


def _two_lines(text: str) -> str:
    return text.replace(", ", ",<br>", 1)
