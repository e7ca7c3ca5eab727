"""Live training curves: what a run said, gathered in the session, and drawn with ECharts.

ECharts redraws in place when data is added; a Plotly chart would be mounted anew, flicker and lose
its zoom. Smoothing and log axes are widgets, so they survive too.
"""

import itertools
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from core.jobs.events import Event
from dashboard.palette import METHODS

MAX_POINTS = 4000
"""Points of one curve kept in a session; beyond it every second one is dropped."""
LIVE_POINTS = 150
"""Epochs of a curve that is drawn anew each second: one for every few pixels of a chart."""
LOG_LINES = 200
BESIDE = tuple(METHODS[name].color for name in ("fixed_alpha", "stacking", "gat", "oracle", "vgae"))
"""Colours of other runs, in turn."""
BEST = "#d1561f"
BEST_WIDTH = 150
"""Pixels beside a legend that the best value takes."""
QUIET = "#7d8794"

Floats = npt.NDArray[np.float64]
Points = dict[str, Floats]
"""Columns of equal length by name, as plain arrays: this is computed anew each second."""

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
    unit: str = ""
    """What the y axis counts."""

    @property
    def main(self) -> str:
        """The metric by which runs are laid beside one another."""
        return self.best or list(self.lines)[-1]


DETECTOR_CHARTS = (
    Chart(
        "vgae",
        "VGAE loss",
        {"train_loss": ("training", TRAIN), "val_loss": ("held out", VALIDATION)},
        can_log=True,
        unit="loss",
    ),
    Chart(
        "gat",
        "GAT loss",
        {"train_loss": ("training", TRAIN), "val_loss": ("held out", VALIDATION)},
        can_log=True,
        unit="loss",
    ),
    Chart(
        "gat",
        "GAT F1 on held-out windows",
        {"val_f1": ("held out", VALIDATION)},
        best="val_f1",
        unit="F1",
    ),
)
FUSION_CHARTS = (
    Chart(
        "fusion",
        "Reward per window",
        {"train_reward": ("training", TRAIN), "val_reward": ("validation", VALIDATION)},
        best="val_reward",
        unit="mean reward",
    ),
    Chart(
        "fusion",
        "Validation accuracy and F1",
        {"val_accuracy": ("accuracy", TRAIN), "val_f1": ("F1", VALIDATION)},
        best="val_f1",
        unit="share",
    ),
    Chart(
        "fusion",
        "Alpha and exploration",
        {"epsilon": ("epsilon", TRAIN), "alpha_mean": ("alpha, mean and spread", EXTRA)},
        band=("alpha_mean", "alpha_std"),
        unit="alpha, epsilon",
    ),
    Chart(
        "fusion",
        "Gap to the oracle closed",
        {"gap_closed": ("share", VALIDATION)},
        best="gap_closed",
        unit="share",
    ),
    Chart("fusion", "Loss", {"train_loss": ("training", TRAIN)}, can_log=True, unit="loss"),
)


@dataclass
class Drained:
    """What this session has read of one run so far."""

    seq: int = 0
    columns: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    """Step -> metric, or ``x`` for the epoch from 1, -> values in the order they came."""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    complete: bool = False
    """Whether the run had ended when it was read last: there is no more to come."""
    _frames: dict[str, tuple[int, Points]] = field(default_factory=dict)

    def take(self, events: list[Event]) -> None:
        """Add new events; those already taken are passed over."""
        for event in events:
            if event["seq"] <= self.seq:
                continue
            self.seq = event["seq"]
            if event["type"] == "metrics":
                _append(self.columns.setdefault(event["step"], {}), event["values"])
            elif event["type"] == "log":
                self.log.append(event["message"])
            elif event["type"] == "state":
                self.log.append(f"[{event['state']}] {event.get('error', '')}".rstrip())

    def frame(self, step: str) -> Points:
        """All points of a step and of its parts: epochs from 1 in ``x``, then the metrics.

        A metric of a part (``gat fold 2``, say) has the part in its column: ``val_loss fold 2``.
        Empty where there are none. Made anew only when there is something new; do not change it.
        """
        made, frame = self._frames.get(step, (-1, {}))
        if made == self.seq:
            return frame
        parts = {
            name.removeprefix(step): {metric: np.array(v, float) for metric, v in columns.items()}
            for name, columns in self.columns.items()
            if name == step or name.startswith(f"{step} ")
        }
        if parts:
            frame = {"x": np.unique(np.concatenate([columns["x"] for columns in parts.values()]))}
        for part, columns in parts.items():
            # An epoch told twice, before and after a run went on, counts as it was told last.
            rows = np.searchsorted(frame["x"], columns["x"])
            for metric, column in columns.items():
                if metric not in ("x", "epoch"):
                    frame[metric + part] = np.full(len(frame["x"]), math.nan)
                    frame[metric + part][rows] = column
        self._frames[step] = (self.seq, frame)
        return frame


def _append(columns: dict[str, list[float]], values: Mapping[str, Any]) -> None:
    """One more point; where there are too many, every second one is dropped."""
    known = len(columns.setdefault("x", []))
    epoch = values.get("epoch", known)
    # What the first epoch was called, so that epochs count from 1.
    first = epoch if not known else columns["epoch"][0]
    point = {**values, "epoch": epoch, "x": epoch - first + 1}
    for name in dict.fromkeys([*columns, *point]):
        value = point.get(name)
        column = columns.setdefault(name, [math.nan] * known)
        column.append(math.nan if value is None else value)
        if known >= MAX_POINTS:
            del column[1:-1:2]


def draw(
    chart: Chart,
    points: Points,
    smoothing: float,
    log_axis: bool,
    beside: Mapping[str, Points] | None = None,
    last: int = 0,
    live: bool = False,
) -> dict[str, Any]:
    """ECharts option of one chart.

    Args:
        points: :meth:`Drained.frame` of the chart's step.
        beside: name -> the same of other runs; the chart's main metric of each is drawn too.
        last: show so many epochs at the end only; 0: all.
        live: the chart is drawn anew each second: with :data:`LIVE_POINTS` epochs at most, evenly
            spaced, and the best and the last one in any case, and without a zoom, which would not
            last.
        smoothing: weight of the past in an exponential moving average, 0 (none) to below 1; the
            raw values stay visible, faint.
        log_axis: draw the y axis logarithmically where the chart can be.
    """
    log_axis = log_axis and chart.can_log
    most = LIVE_POINTS if live else 0
    shown = drawn(points["x"], last)
    values = {name: column[shown] for name, column in points.items()}
    best = _best_row(chart, values)
    mark = None if best is None else _mark(chart, values, best)
    data: Points = {"x": values["x"]}
    series: list[dict[str, Any]] = []
    named = []
    for metric, (name, color) in chart.lines.items():
        leads = leading(values, metric)
        if leads:
            named.append(name + leads.removeprefix(metric))
        for column in columns_of(values, metric):
            raw, part = values[column], column.removeprefix(metric)
            known = np.isfinite(raw)
            data[column] = np.where(known & (raw > 0), raw, np.nan) if log_axis else raw
            style = {"color": color, "showSymbol": int(known.sum()) < 2}
            marked = {"markPoint": mark} if mark and column == chart.best else {}
            if smoothing > 0 and column == leads:
                smooth = f"{column} smooth"
                mean = pd.Series(data[column]).ewm(alpha=1 - smoothing).mean().to_numpy()
                data[smooth] = np.where(known, mean, np.nan)
                series.append(_line(style, name + part, smooth))
                series.append(_line(style, f"{name + part}, raw", column, opacity=0.25) | marked)
            else:
                opacity = 1.0 if column == leads else 0.3
                series.append(_line(style, name + part, column, opacity=opacity) | marked)
    if chart.band and set(chart.band) <= set(values):
        mean, spread = (values[column] for column in chart.band)
        data["low"] = np.clip(mean - spread, 0, 1)
        data["width"] = np.clip(mean + spread, 0, 1) - data["low"]
        hidden = {"type": "line", "stack": "band", "symbol": "none", "lineStyle": {"opacity": 0}}
        shade = {"areaStyle": {"opacity": 0.2}, "color": EXTRA, "tooltip": {"show": False}}
        series.append({**hidden, "name": "low", "encode": {"x": "x", "y": "low"}})
        series.append({**hidden, **shade, "name": "± std", "encode": {"x": "x", "y": "width"}})
    rows = drawn(values["x"], 0, most, best)
    source = {name: column[rows] for name, column in data.items()}
    others = {
        name: frame
        for name, frame in (beside or {}).items()
        if chart.main in frame and np.isfinite(frame[chart.main]).any()
    }
    for (name, frame), color in zip(others.items(), itertools.cycle(BESIDE), strict=False):
        column = f"beside {name}"
        chosen = drawn(frame["x"], last, most)
        other = {"x": frame["x"][chosen], column: frame[chart.main][chosen]}
        source = _side_by_side(source, other)
        series.append(_line({"color": color, "showSymbol": False}, name, column, dashed=True))
        named.append(name)
    option = {
        "animation": False,
        "title": _titles(chart, points),
        "grid": {
            "left": 58,
            "right": 16,
            "top": 66 + 22 * (len(others) > 1),
            "bottom": 42,
            "outerBoundsMode": "none",
        },
        "tooltip": {"trigger": "axis", "valueFormatter": "%.4g"},
        "dataset": {
            "source": pa.table({n: pa.array(c, from_pandas=True) for n, c in source.items()})
        },
        "xAxis": {
            "type": "value",
            "name": "epoch",
            "nameLocation": "middle",
            "nameGap": 26,
            "minInterval": 1,
            "min": "dataMin",
            "max": "dataMax",
        },
        "yAxis": {"type": "log" if log_axis else "value", "scale": True, **_axis_name(chart.unit)},
        "series": series,
    }
    # What is not needed is left out: every part of a chart is made anew with each redraw.
    if len(named) > 1:
        option["legend"] = {"top": 32, "left": 0, "right": BEST_WIDTH, "data": named}
    if not live:
        # Drag to zoom. While epochs come in, each would undo it.
        option["toolbox"] = {
            "right": 4,
            "top": -6,
            "itemSize": 12,
            "feature": {"dataZoom": {"yAxisIndex": "none"}, "restore": {}},
        }
    return option


def _titles(chart: Chart, points: Points) -> list[dict[str, Any]]:
    """What the chart shows, and its best value so far.

    Drawn by the chart: a heading beside it would be parsed and laid out anew each second.
    """
    quiet = {"fontSize": 12, "fontWeight": "normal", "color": QUIET}
    best = {"text": best_so_far(chart, points), "right": 14, "top": 32, "textStyle": quiet}
    title = {"fontSize": 14, "fontWeight": "bold"}
    return [{"text": chart.title, "left": 0, "top": 8, "textStyle": title}, best]


def drawn(x: Floats, last: int, most: int = 0, keep: int | None = None) -> npt.NDArray[np.intp]:
    """Rows of ascending epochs ``x`` that are drawn: of the ``last`` ones every second, or fourth,
    or eighth..., so that hardly more than ``most`` are left (0: all).

    By powers of two, so that a row that was drawn stays until half of all are dropped: curves that
    grow do not shimmer. The last row stays, and the one to ``keep``.
    """
    rows = np.flatnonzero(x > x[-1] - last) if last else np.arange(len(x))
    if not most or len(rows) <= most:
        return rows
    step = 2 ** math.ceil(math.log2(len(rows) / most))
    kept = (rows % step == 0) | (rows == rows[-1])
    return rows[kept if keep is None else kept | (rows == keep)]


def _side_by_side(one: Points, other: Points) -> Points:
    """Both with a row for every epoch of either."""
    x = np.union1d(one["x"], other["x"])
    joined = {"x": x}
    for points in (one, other):
        rows = np.searchsorted(x, points["x"])
        for name, column in points.items():
            if name != "x":
                joined[name] = np.full(len(x), math.nan)
                joined[name][rows] = column
    return joined


def best_so_far(chart: Chart, points: Points) -> str:
    """``best 0.997 at epoch 12`` of the chart's marked metric, or an empty string."""
    row = _best_row(chart, points)
    if row is None:
        return ""
    return f"best {points[chart.best][row]:.4f} at epoch {points['x'][row]:.0f}"


def columns_of(points: Points, metric: str) -> list[str]:
    """The columns of a metric and of its parts (``val_loss fold 2``), in the order they came."""
    return [name for name in points if name == metric or name.startswith(f"{metric} ")]


def leading(points: Points, metric: str) -> str:
    """The column of a metric that is drawn strongly: its own; before it has one, that of the part
    that came last. Empty where there is none."""
    columns = columns_of(points, metric)
    return metric if metric in columns else columns[-1] if columns else ""


def last_value(points: Points, metric: str) -> float | None:
    """The last value that a metric had; None where it never had one."""
    values = points.get(metric, np.empty(0))
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else None


def _best_row(chart: Chart, points: Points) -> int | None:
    """Where the chart's marked metric is highest; None where it has no value."""
    if not chart.best or chart.best not in points or not np.isfinite(points[chart.best]).any():
        return None
    return int(np.nanargmax(points[chart.best]))


def _axis_name(name: str) -> dict[str, Any]:
    return {"name": name, "nameLocation": "middle", "nameGap": 42}


def _mark(chart: Chart, points: Points, row: int) -> dict[str, Any]:
    """A ring around one value of the chart's marked metric."""
    place = [float(points["x"][row]), float(points[chart.best][row])]
    return {
        "symbol": "circle",
        "symbolSize": 12,
        "itemStyle": {"color": "transparent", "borderWidth": 2, "borderColor": BEST},
        "label": {"show": False},
        "data": [{"name": "best", "coord": place}],
    }


def _line(
    style: dict[str, Any], name: str, column: str, opacity: float = 1.0, dashed: bool = False
) -> dict[str, Any]:
    return {
        **style,
        "type": "line",
        "name": name,
        "encode": {"x": "x", "y": column},
        # Runs of other lengths have no value at some epochs.
        "connectNulls": dashed,
        "lineStyle": {
            "width": 2 if opacity == 1 else 1,
            "opacity": opacity,
            "type": "dashed" if dashed else "solid",
        },
        "itemStyle": {"opacity": opacity},
    }
