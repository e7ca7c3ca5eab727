"""The policy map as Plotly figures: alpha over both scores, what lies over it, and how it grew."""

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from dashboard.palette import ALPHA_SCALE, ATTACK, INK, UNVISITED
from dashboard.results import Policy, PolicyEpochs

UNSEEN, BOUNDARY, DENSITY, ERRORS, SPREAD = OVERLAYS = (
    "Unvisited cells",
    "Decision boundary",
    "Density of windows",
    "Errors of fusion",
    "Q-spread",
)
DIFFERENCE_SCALE = [[0.0, "#2f7fc1"], [0.5, "#f4f4f1"], [1.0, "#d1561f"]]
PLAYED_EPOCHS = 60
"""Epochs that an animation has at most; of more, evenly many are left out."""
SMALLEST_DOT, LARGEST_DOT = 5, 10
"""Diameter of a mark in pixels."""

Errors = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""``[G, G]`` missed windows and false alarms of each cell."""


def policy_heatmap(
    policy: Policy,
    threshold: float,
    overlays: Collection[str] = (UNSEEN, BOUNDARY),
    errors: Errors | None = None,
    height: int = 580,
) -> go.Figure:
    """Alpha over both scores; on top what was chosen of :data:`OVERLAYS`; the cells come last.

    Args:
        threshold: fused score at which the verdict flips.
        errors: of fusion, for the overlay that shows them.
    """
    axis = policy.axis
    figure = go.Figure()
    _heatmap(figure, policy.alpha, axis, ALPHA_SCALE, "alpha", (0.0, 1.0))
    if UNSEEN in overlays:
        _veil(figure, policy)
    if SPREAD in overlays and policy.q_spread is not None:
        figure.add_contour(
            x=axis,
            y=axis,
            z=policy.q_spread,
            ncontours=6,
            contours={"coloring": "none", "showlabels": True, "labelfont": {"color": INK}},
            line={"color": INK, "width": 1, "dash": "dot"},
            showscale=False,
            hoverinfo="skip",
            name="Q-spread",
        )
    if DENSITY in overlays:
        _dots(figure, policy.windows, axis, "circle-open", INK, "training windows")
    if ERRORS in overlays and errors is not None:
        for counts, symbol, color, name in (
            (errors[0], "x", ATTACK, "missed"),
            (errors[1], "triangle-up", INK, "false alarms"),
        ):
            _dots(figure, counts, axis, symbol, color, name)
    if BOUNDARY in overlays:
        _boundary(figure, policy, threshold)
    _cells(figure, policy, errors)
    return _laid_out(figure, axis, height)


def difference_map(
    first: Policy, second: Policy, threshold: float, overlays: Collection[str], height: int = 420
) -> go.Figure:
    """Alpha of the second policy minus that of the first, on the first one's grid."""
    axis = first.axis
    figure = go.Figure()
    change = second.alpha - first.alpha
    _heatmap(figure, change, axis, DIFFERENCE_SCALE, "change of alpha", (-1.0, 1.0))
    if UNSEEN in overlays:
        _veil(figure, first)
    if BOUNDARY in overlays:
        _boundary(figure, first, threshold, dash="dot")
        _boundary(figure, second, threshold)
    gat_prob, anomaly = np.meshgrid(axis, axis)
    figure.add_scatter(
        x=gat_prob.ravel(),
        y=anomaly.ravel(),
        mode="markers",
        marker={"symbol": "square", "size": 9, "opacity": 0},
        customdata=np.column_stack([a.ravel() for a in (first.alpha, second.alpha, change)]),
        hovertemplate=(
            "anomaly %{y:.2f}, GAT %{x:.2f}<br>alpha %{customdata[0]:.2f} to %{customdata[1]:.2f} "
            "(%{customdata[2]:+.2f})<extra></extra>"
        ),
        showlegend=False,
    )
    return _laid_out(figure, axis, height)


def policy_animation(epochs: PolicyEpochs, policy: Policy, threshold: float) -> go.Figure:
    """The policy map after each epoch, with a scrubber and a play button; all in the browser."""
    rows = np.unique(
        np.rint(np.linspace(0, len(epochs.epochs) - 1, PLAYED_EPOCHS)).astype(np.int64)
    )
    figure = policy_heatmap(epochs.at(int(rows[0]), policy), threshold, height=680)
    boundary = next(i for i, trace in enumerate(figure.data) if trace.type == "contour")
    names = [str(epoch) for epoch in epochs.epochs[rows]]
    frames = []
    for row, name in zip(rows, names, strict=True):
        then = epochs.at(int(row), policy)
        data = [{"type": "heatmap", "z": then.alpha}, {"type": "contour", "z": then.fused}]
        frames.append(go.Frame(data=data, traces=[0, boundary], name=name))
    figure.frames = frames
    at_once = {"mode": "immediate", "transition": {"duration": 0}}
    play = at_once | {"frame": {"duration": 150, "redraw": True}, "fromcurrent": True}
    jump = at_once | {"frame": {"duration": 0, "redraw": True}}
    figure.update_layout(
        margin={"b": 150},
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "x": 0,
                "y": -0.2,
                "xanchor": "left",
                "yanchor": "top",
                # Plotly draws buttons light whatever the theme is.
                "font": {"color": INK},
                "bgcolor": "#f3f5f7",
                "buttons": [
                    {"label": "Play", "method": "animate", "args": [None, play]},
                    {"label": "Pause", "method": "animate", "args": [[None], jump]},
                ],
            }
        ],
        sliders=[
            {
                "x": 0.24,
                "len": 0.76,
                "y": -0.16,
                "yanchor": "top",
                "currentvalue": {"prefix": "after epoch ", "xanchor": "left"},
                "steps": [
                    {"label": name, "method": "animate", "args": [[name], jump]} for name in names
                ],
            }
        ],
    )
    return figure


def _heatmap(
    figure: go.Figure,
    values: npt.NDArray[Any],
    axis: npt.NDArray[np.float64],
    scale: list[list[Any]],
    title: str,
    limits: tuple[float, float],
) -> None:
    figure.add_heatmap(
        x=axis,
        y=axis,
        z=values,
        zmin=limits[0],
        zmax=limits[1],
        colorscale=scale,
        colorbar={
            "title": {"text": title, "side": "right"},
            "thickness": 12,
            "tickformat": ".1f",
        },
        hoverinfo="skip",
    )


def _veil(figure: go.Figure, policy: Policy) -> None:
    figure.add_heatmap(
        x=policy.axis,
        y=policy.axis,
        z=np.where(policy.windows == 0, 1.0, np.nan),
        colorscale=[[0, UNVISITED], [1, UNVISITED]],
        showscale=False,
        hoverinfo="skip",
    )


def _boundary(figure: go.Figure, policy: Policy, threshold: float, dash: str = "solid") -> None:
    figure.add_contour(
        x=policy.axis,
        y=policy.axis,
        z=policy.fused,
        contours={"start": threshold, "end": threshold, "size": 1, "coloring": "none"},
        line={"color": INK, "width": 2.5, "dash": dash},
        showscale=False,
        hoverinfo="skip",
        name=f"fused = {threshold:g}",
    )


def _dots(
    figure: go.Figure,
    counts: npt.NDArray[np.int64],
    axis: npt.NDArray[np.float64],
    symbol: str,
    color: str,
    name: str,
) -> None:
    """One marker per cell with windows, larger where there are more (by their logarithm)."""
    row, column = np.nonzero(counts)
    if not len(row):
        return
    size = np.log1p(counts[row, column])
    figure.add_scatter(
        x=axis[column],
        y=axis[row],
        mode="markers",
        marker={
            "symbol": symbol,
            "size": SMALLEST_DOT + (LARGEST_DOT - SMALLEST_DOT) * size / size.max(),
            "color": color,
            "line": {"width": 1, "color": color},
        },
        hoverinfo="skip",
        name=name,
        showlegend=False,
    )


def _cells(figure: go.Figure, policy: Policy, errors: Errors | None) -> None:
    """Invisible squares that can be selected, as cells of a heatmap cannot, and carry the hover."""
    gat_prob, anomaly = np.meshgrid(policy.axis, policy.axis)
    shown = [policy.alpha, policy.windows, policy.attacks, policy.fused]
    text = (
        "anomaly %{y:.2f}, GAT %{x:.2f}<br>alpha %{customdata[0]:.2f}, "
        "fused %{customdata[3]:.2f}<br>%{customdata[1]:,} training windows, "
        "%{customdata[2]:,} attacked"
    )
    if policy.q_spread is not None:
        text += f"<br>Q-spread %{{customdata[{len(shown)}]:.3f}}"
        shown.append(policy.q_spread)
    if errors is not None:
        text += (
            f"<br>fusion: %{{customdata[{len(shown)}]:,}} missed, "
            f"%{{customdata[{len(shown) + 1}]:,}} false alarms"
        )
        shown += errors
    figure.add_scatter(
        x=gat_prob.ravel(),
        y=anomaly.ravel(),
        mode="markers",
        marker={"symbol": "square", "size": 11, "opacity": 0},
        selected={"marker": {"opacity": 1, "color": INK}},
        unselected={"marker": {"opacity": 0}},
        customdata=np.column_stack([values.ravel() for values in shown]),
        hovertemplate=f"{text}<extra></extra>",
        name="cells",
        showlegend=False,
    )


def _laid_out(figure: go.Figure, axis: npt.NDArray[np.float64], height: int) -> go.Figure:
    half = 0.5 / max(len(axis) - 1, 1)
    whole = [-half, 1 + half]
    figure.update_layout(
        height=height,
        margin={"l": 60, "r": 10, "t": 10, "b": 55},
        xaxis={"title": "GAT attack probability (0 to 1)", "range": whole},
        yaxis={"title": "VGAE anomaly score (0 to 1)", "range": whole},
        clickmode="event+select",
        dragmode="zoom",
        showlegend=False,
    )
    return figure
