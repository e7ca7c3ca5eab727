"""Live training curves: what a run said, gathered in the session, and drawn with ECharts.

ECharts redraws in place when data is added; a Plotly chart would be mounted anew, flicker and lose
its zoom. Smoothing and log axes are widgets, so they survive too.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from core.jobs.events import Event
from dashboard.palette import METHODS

MAX_POINTS = 4000
"""Points of one curve kept in a session; beyond it every second one is dropped."""
LOG_LINES = 200

TRAIN, VALIDATION, EXTRA = METHODS["vgae"].color, METHODS["fusion"].color, METHODS["gat"].color


@dataclass(frozen=True)
class Chart:
    """One small chart: which metrics of which step, and what the axis says."""

    step: str
    title: str
    lines: Mapping[str, tuple[str, str]]
    """Metric -> (name, colour)."""
    can_log: bool = False
    """Whether a log axis makes sense: losses."""
    best: str = ""
    """Metric whose highest value is named under the title."""
    band: tuple[str, str] | None = None
    """(mean, standard deviation) metrics drawn as a band."""


DETECTOR_CHARTS = (
    Chart(
        "vgae",
        "VGAE loss",
        {"train_loss": ("training", TRAIN), "val_loss": ("held out", VALIDATION)},
        can_log=True,
    ),
    Chart(
        "gat",
        "GAT loss",
        {"train_loss": ("training", TRAIN), "val_loss": ("held out", VALIDATION)},
        can_log=True,
    ),
    Chart("gat", "GAT F1 on held-out windows", {"val_f1": ("held out", VALIDATION)}, best="val_f1"),
)
FUSION_CHARTS = (
    Chart(
        "fusion",
        "Reward per window",
        {"train_reward": ("training", TRAIN), "val_reward": ("validation", VALIDATION)},
        best="val_reward",
    ),
    Chart(
        "fusion",
        "Validation accuracy and F1",
        {"val_accuracy": ("accuracy", TRAIN), "val_f1": ("F1", VALIDATION)},
        best="val_f1",
    ),
    Chart(
        "fusion",
        "Alpha, mean and spread",
        {"alpha_mean": ("mean", EXTRA)},
        band=("alpha_mean", "alpha_std"),
    ),
    Chart(
        "fusion",
        "Gap to the oracle closed",
        {"gap_closed": ("share", VALIDATION)},
        best="gap_closed",
    ),
    Chart("fusion", "Loss", {"train_loss": ("training", TRAIN)}, can_log=True),
    Chart("fusion", "Exploration (epsilon)", {"epsilon": ("epsilon", EXTRA)}),
)


@dataclass
class Drained:
    """What this session has read of one run so far."""

    seq: int = 0
    points: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Step -> metrics in the order they came."""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    metrics: int = 0
    """Points taken so far."""
    _frames: dict[str, tuple[int, pd.DataFrame]] = field(default_factory=dict)

    def take(self, events: list[Event]) -> None:
        """Add new events; those already taken are passed over."""
        for event in events:
            if event["seq"] <= self.seq:
                continue
            self.seq = event["seq"]
            if event["type"] == "metrics":
                points = self.points.setdefault(event["step"], [])
                points.append(event["values"])
                self.metrics += 1
                if len(points) > MAX_POINTS:
                    del points[1:-1:2]
            elif event["type"] == "log":
                self.log.append(event["message"])
            elif event["type"] == "state":
                self.log.append(f"[{event['state']}] {event.get('error', '')}".rstrip())

    def frame(self, step: str) -> pd.DataFrame:
        """All points of a step and of its parts: epochs from 1 in ``x``, then the metrics.

        A metric of a part (``gat fold 2``, say) has the part in its column: ``val_loss fold 2``.
        Made anew only when there are new points; do not change it.
        """
        made, frame = self._frames.get(step, (-1, pd.DataFrame()))
        if made == self.metrics:
            return frame
        columns: dict[str, dict[float, float]] = {}
        for name, points in self.points.items():
            if name != step and not name.startswith(f"{step} "):
                continue
            part = name.removeprefix(step)
            first = points[0].get("epoch", 0)
            for i, values in enumerate(points):
                x = values.get("epoch", i) - first + 1
                for metric, value in values.items():
                    if metric != "epoch":
                        column = columns.setdefault(metric + part, {})
                        column[x] = math.nan if value is None else value
        epochs = sorted(set().union(*columns.values()))
        lists = {name: [c.get(x, math.nan) for x in epochs] for name, c in columns.items()}
        frame = pd.DataFrame({"x": epochs, **lists} if epochs else {}, dtype=float)
        self._frames[step] = (self.metrics, frame)
        return frame


def draw(chart: Chart, points: pd.DataFrame, smoothing: float, log_axis: bool) -> dict[str, Any]:
    """ECharts option of one chart.

    Args:
        points: :meth:`Drained.frame` of the chart's step.
        smoothing: weight of the past in an exponential moving average, 0 (none) to below 1; the
            raw values stay visible, faint.
        log_axis: draw the y axis logarithmically where the chart can be.
    """
    log_axis = log_axis and chart.can_log
    data: dict[str, pd.Series] = {"x": points["x"]}
    series: list[dict[str, Any]] = []
    for metric, (name, color) in chart.lines.items():
        for column in points.columns:
            part = column.removeprefix(metric)
            if not column.startswith(metric) or (part and not part.startswith(" ")):
                continue
            raw = points[column]
            data[column] = raw.where(raw > 0) if log_axis else raw
            style = {"color": color, "showSymbol": int(raw.notna().sum()) < 2}
            if smoothing > 0 and not part:
                smooth = f"{column} smooth"
                data[smooth] = data[column].ewm(alpha=1 - smoothing).mean().where(raw.notna())
                series.append(_line(style, name, smooth))
                series.append(_line(style, f"{name}, raw", column, opacity=0.25))
            else:
                series.append(_line(style, name + part, column, opacity=0.3 if part else 1.0))
    if chart.band and set(chart.band) <= set(points.columns):
        mean, spread = (points[column] for column in chart.band)
        data["low"] = (mean - spread).clip(0, 1)
        data["width"] = (mean + spread).clip(0, 1) - data["low"]
        hidden = {"type": "line", "stack": "band", "symbol": "none", "lineStyle": {"opacity": 0}}
        shade = {"areaStyle": {"opacity": 0.2}, "color": EXTRA, "tooltip": {"show": False}}
        series.append({**hidden, "name": "low", "encode": {"x": "x", "y": "low"}})
        series.append({**hidden, **shade, "name": "± std", "encode": {"x": "x", "y": "width"}})
    return {
        "animation": False,
        "grid": {"left": 58, "right": 16, "top": 34, "bottom": 42},
        "legend": {"top": 0, "left": 0, "data": [name for name, _ in chart.lines.values()]},
        "tooltip": {"trigger": "axis", "valueFormatter": "%.4g"},
        "dataset": {"source": pd.DataFrame(data)},
        "xAxis": {
            "type": "value",
            "name": "epoch",
            "nameLocation": "middle",
            "nameGap": 26,
            "minInterval": 1,
            "min": "dataMin",
            "max": "dataMax",
        },
        "yAxis": {"type": "log" if log_axis else "value", "scale": True},
        "series": series,
    }


def best_so_far(chart: Chart, points: pd.DataFrame) -> str:
    """``best 0.997 at epoch 12`` of the chart's marked metric, or an empty string."""
    if not chart.best or chart.best not in points or points[chart.best].notna().sum() == 0:
        return ""
    values = points[chart.best]
    row = int(np.nanargmax(values))
    return f"best {values.iloc[row]:.4f} at epoch {points['x'].iloc[row]:.0f}"


def _line(style: dict[str, Any], name: str, column: str, opacity: float = 1.0) -> dict[str, Any]:
    return {
        **style,
        "type": "line",
        "name": name,
        "encode": {"x": "x", "y": column},
        "lineStyle": {"width": 2 if opacity == 1 else 1, "opacity": opacity},
        "itemStyle": {"opacity": opacity},
    }
