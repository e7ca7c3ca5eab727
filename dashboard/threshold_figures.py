"""What the threshold does, as one Plotly figure whose slider works in the browser alone.

Operating points on the ROC and precision-recall curves and the confusion matrices of several
methods: every position of the slider is a frame of the figure, so that a move needs no answer of
the server, and the figure works in a report too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from core.evaluation.thresholds import Reliability, SortedScores, rates
from dashboard.formatting import DASH
from dashboard.palette import ATTACK, BENIGN, GRID, METHODS, TEXT

STEPS = 101
"""Positions of the slider, evenly from 0 to 1; the run's own threshold is added."""
PER_ROW = 3
"""Confusion matrices side by side."""
CELL = (("tn", 0, 0), ("fp", 1, 0), ("fn", 0, 1), ("tp", 1, 1))
"""Cell of a matrix, its column (called an attack) and row (attacked)."""
WRONG = {"fp": "false<br>alarms", "fn": "missed"}
RIGHT = {"tp": "hits", "tn": "right,<br>benign"}
CURVES_PX, MATRICES_PX, SLIDER_PX = 330, 270, 90


def threshold_explorer(
    scores: Mapping[str, SortedScores],
    methods: Sequence[str],
    start: float,
    own: float = 0.5,
    theme: str = "light",
) -> go.Figure:
    """Curves, operating points and matrices, with a slider for the threshold.

    Args:
        scores: method -> its scores.
        methods: which of them are shown, at least one.
        start: threshold that the slider begins at; the nearest position is taken.
        own: threshold of the run, which is a position of the slider too.
        theme: ``light`` or ``dark``.
    """
    thresholds = np.unique(np.append(np.round(np.linspace(0, 1, STEPS), 3), own))
    begin = int(np.abs(thresholds - start).argmin())
    rows = -(-len(methods) // PER_ROW)
    height = CURVES_PX + rows * MATRICES_PX + SLIDER_PX
    figure = go.Figure()
    _curves(figure, scores, methods)
    first_moving = len(figure.data)
    moving = _moving_parts(scores, methods, thresholds, TEXT[theme])
    for parts in moving:
        figure.add_trace(parts[begin])
    # The traces without what does not change: a figure of a hundred frames is sent to a browser.
    changing = [[_changing(part) for part in parts] for parts in moving]
    traces = list(range(first_moving, first_moving + len(moving)))
    names = [f"{threshold:g}" for threshold in thresholds]
    figure.frames = [
        go.Frame(name=name, data=[parts[i] for parts in changing], traces=traces, _validate=False)
        for i, name in enumerate(names)
    ]
    jump = {
        "mode": "immediate",
        "transition": {"duration": 0},
        "frame": {"duration": 0, "redraw": False},
    }
    bottom = SLIDER_PX / height
    figure.update_layout(
        height=height,
        margin={"l": 55, "r": 15, "t": 30, "b": 10},
        legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
        clickmode="event",
        hovermode="closest",
        sliders=[
            {
                "active": begin,
                "x": 0,
                "len": 1,
                "y": 0,
                "yanchor": "bottom",
                "pad": {"t": 10, "b": 5},
                "ticklen": 0,
                "minorticklen": 0,
                "currentvalue": {"prefix": "threshold ", "xanchor": "left", "font": {"size": 15}},
                "steps": [
                    # Labels under the slider would run into one another.
                    {"label": name, "method": "animate", "args": [[name], jump]}
                    for name in names
                ],
                "font": {"size": 1, "color": "rgba(0,0,0,0)"},
            }
        ],
        **_axes(methods, rows, height, bottom),
    )
    figure.layout.sliders[0].currentvalue.font.color = "#7d8794"
    return figure


def calibration(found: Mapping[str, Reliability], methods: Sequence[str]) -> go.Figure:
    """How often windows of about the same score were attacked; the diagonal is perfect."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"dash": "dash", "width": 1, "color": "#7d8794"},
        name="perfect",
        hoverinfo="skip",
    )
    for method in methods:
        part = found[method]
        figure.add_scatter(
            x=part.score,
            y=part.attacked,
            mode="lines+markers",
            name=f"{METHODS[method].label} (error {part.error:.3f})",
            line={"color": METHODS[method].color, "width": 1.5},
            marker={"size": 5 + 9 * np.sqrt(part.windows / max(part.windows.max(initial=1), 1))},
            customdata=part.windows,
            hovertemplate=(
                "mean score %{x:.2f}: %{y:.0%} attacked (%{customdata:,} windows)<extra>"
                + METHODS[method].label
                + "</extra>"
            ),
        )
    figure.update_layout(
        height=360,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
        xaxis={"title": "mean score of the bin", "range": [-0.03, 1.03], "gridcolor": GRID},
        yaxis={
            "title": "share of windows attacked",
            "tickformat": ".0%",
            "range": [-0.03, 1.03],
            "gridcolor": GRID,
        },
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    )
    return figure


def _curves(figure: go.Figure, scores: Mapping[str, SortedScores], methods: Sequence[str]) -> None:
    for method in methods:
        threshold, fpr, recall, precision = scores[method].curve()
        shown = np.where(np.isinf(threshold), 1.0, threshold)
        for x, y, axis, text in (
            (fpr, recall, "", "false alarm rate %{x:.4f}, recall %{y:.3f}"),
            (recall, precision, "2", "recall %{x:.3f}, precision %{y:.3f}"),
        ):
            figure.add_scatter(
                x=x,
                y=y,
                mode="lines",
                line={"color": METHODS[method].color, "width": 1.8},
                name=METHODS[method].label,
                legendgroup=method,
                showlegend=not axis,
                xaxis=f"x{axis}",
                yaxis=f"y{axis}",
                customdata=shown,
                hovertemplate=f"{text}<br>at %{{customdata:.3f}}"
                f"<extra>{METHODS[method].label}</extra>",
            )


def _moving_parts(
    scores: Mapping[str, SortedScores],
    methods: Sequence[str],
    thresholds: npt.NDArray[Any],
    text: str,
) -> list[list[dict[str, Any]]]:
    """Trace -> its state at every threshold: operating points, then matrices."""
    parts: list[list[dict[str, Any]]] = []
    for number, method in enumerate(methods):
        tp, fp, tn, fn = counts = scores[method].confusion(thresholds)
        found = rates(*counts)
        point = {
            "type": "scatter",
            "mode": "markers",
            "marker": {
                "size": 13,
                "color": METHODS[method].color,
                "line": {"width": 2, "color": "#ffffff"},
            },
            "hoverinfo": "skip",
            "legendgroup": method,
            "showlegend": False,
        }
        nothing = np.where(tp + fp > 0, found["precision"], 1.0)
        for axis, x, y in (("", found["fpr"], found["recall"]), ("2", found["recall"], nothing)):
            parts.append(
                [
                    point | {"xaxis": f"x{axis}", "yaxis": f"y{axis}", "x": [a], "y": [b]}
                    for a, b in zip(x.tolist(), y.tolist(), strict=True)
                ]
            )
        by_cell = {"tp": tp, "fp": fp, "tn": tn, "fn": fn}
        parts.append(
            [
                _matrix(
                    method, number, float(threshold), {c: int(n[i]) for c, n in by_cell.items()}
                )
                for i, threshold in enumerate(thresholds)
            ]
        )
        parts.append([_words(number, found, by_cell, text, i) for i in range(len(thresholds))])
    return parts


def _matrix(method: str, number: int, threshold: float, count: dict[str, int]) -> dict[str, Any]:
    """Four squares that can be clicked; their colour tells the share of the row."""
    row = {0: count["tn"] + count["fp"], 1: count["tp"] + count["fn"]}
    share = {c: count[c] / row[y] if row[y] else 0.0 for c, _, y in CELL}
    return {
        # Bars fill their cell at any width of the page.
        "type": "bar",
        "x": [x for _, x, _ in CELL],
        "base": [y - 0.5 for _, _, y in CELL],
        "y": [1.0] * len(CELL),
        "width": 1.0,
        "xaxis": f"x{number + 3}",
        "yaxis": f"y{number + 3}",
        "customdata": [[method, c, threshold, share[c]] for c, _, _ in CELL],
        "marker": {
            "color": [_tint(ATTACK if c in WRONG else BENIGN, share[c]) for c, _, _ in CELL],
            "line": {"width": 1, "color": "#8a94a0"},
        },
        "hovertemplate": "%{customdata[3]:.2%} of the row; click for the windows<extra></extra>",
        "showlegend": False,
    }


def _words(
    number: int,
    found: Mapping[str, npt.NDArray[Any]],
    count: Mapping[str, npt.NDArray[Any]],
    color: str,
    i: int,
) -> dict[str, Any]:
    """Rates above a matrix, and what is in its cells.

    Not as the bars' own text: that is dark where their colour is light, although a dark page
    shines through it.
    """
    f1, recall, fpr = (
        DASH if np.isnan(found[name][i]) else f"{found[name][i]:.3f}"
        for name in ("f1", "recall", "fpr")
    )
    words = WRONG | RIGHT
    return {
        "type": "scatter",
        "mode": "text",
        "x": [0.5, *(x for _, x, _ in CELL)],
        "y": [1.85, *(y for _, _, y in CELL)],
        "xaxis": f"x{number + 3}",
        "yaxis": f"y{number + 3}",
        "text": [
            f"F1 {f1}<br>recall {recall}<br>false alarms {fpr}",
            *(f"<b>{int(count[c][i]):,}</b><br>{words[c]}" for c, _, _ in CELL),
        ],
        # On a narrow page wider than the matrix below it.
        "cliponaxis": False,
        "textfont": {"size": [10, *(11 for _ in CELL)], "color": color},
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _changing(part: dict[str, Any]) -> dict[str, Any]:
    if part["type"] == "bar":
        color = {"color": part["marker"]["color"]}
        return {n: part[n] for n in ("type", "customdata")} | {"marker": color}
    if part["mode"] == "text":
        return {name: part[name] for name in ("type", "text")}
    return {name: part[name] for name in ("type", "x", "y")}


def _tint(color: str, share: float) -> str:
    """A colour, fainter the smaller the share; text over it stays readable in both themes."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{0.08 + 0.5 * share:.2f})"


def _axes(methods: Sequence[str], rows: int, height: int, bottom: float) -> dict[str, Any]:
    """Two curves in the first row, matrices below, the slider's place at the bottom."""
    curves = 1 - (CURVES_PX - 85) / height
    unit = {"range": [-0.03, 1.03], "gridcolor": GRID, "zeroline": False}
    axes: dict[str, Any] = {
        "xaxis": unit | {"domain": [0, 0.45], "title": {"text": "false alarm rate"}},
        "yaxis": unit | {"domain": [curves, 0.97], "title": {"text": "recall"}},
        "xaxis2": unit | {"domain": [0.56, 1], "title": {"text": "recall"}, "anchor": "y2"},
        "yaxis2": unit | {"domain": [curves, 0.97], "title": {"text": "precision"}, "anchor": "x2"},
        "annotations": [],
    }
    across = min(len(methods), PER_ROW)
    for number, method in enumerate(methods):
        row, column = divmod(number, PER_ROW)
        left, right = column / across + 0.03, (column + 1) / across - 0.03
        top = bottom + (rows - row) * (MATRICES_PX / height) - 30 / height
        low = top - (MATRICES_PX - 65) / height
        name = number + 3
        plain = {"showgrid": False, "zeroline": False, "fixedrange": True}
        axes[f"xaxis{name}"] = plain | {
            "domain": [left, right],
            "anchor": f"y{name}",
            "range": [-0.55, 1.55],
            "tickvals": [0, 1],
            "ticktext": ["called benign", "called attack"],
        }
        axes[f"yaxis{name}"] = plain | {
            "domain": [low, top],
            "anchor": f"x{name}",
            "range": [-0.55, 2.2],
            "tickvals": [0, 1],
            "ticktext": ["benign", "attacked"] if column == 0 else ["", ""],
            "tickangle": -90,
        }
        axes["annotations"].append(
            {
                "text": f"<b>{METHODS[method].label}</b>",
                "x": (left + right) / 2,
                "y": top,
                "xref": "paper",
                "yref": "paper",
                "xanchor": "center",
                "yanchor": "bottom",
                "showarrow": False,
                "font": {"color": METHODS[method].color},
            }
        )
    return axes
