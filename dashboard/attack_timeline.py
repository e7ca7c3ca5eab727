"""When a capture was attacked, and with what, as a Plotly figure."""

import plotly.graph_objects as go

from core.captures.catalogue import CaptureFacts
from dashboard.figures import LEGEND
from dashboard.palette import ATTACK, GRID

COLORS = (ATTACK, "#2f7fc1", "#e0960a", "#b565a7", "#0a9a74", "#4fb3d9")
"""One for each attack of a capture, in turn."""
FAINT = "rgba(143, 163, 184, 0.45)"
"""Of frames that are no attack."""


def attack_timeline(facts: CaptureFacts) -> go.Figure:
    """Frames of each attack over time, stacked on the frames that are none."""
    unit, per = ("s", "frames/s") if facts.duration_s else ("frame", "share of frames")
    position = [i * facts.bin_width for i in range(len(facts.bin_frames) + 1)]
    attacked = [sum(parts) for parts in zip(*facts.bin_attacked.values(), strict=True)]
    benign = [n - a for n, a in zip(facts.bin_frames, attacked, strict=True)]
    figure = go.Figure()
    for number, (name, frames) in enumerate({"no attack": benign, **facts.bin_attacked}.items()):
        # A step begins where its part of the capture does: the last one needs an end.
        frames = [*frames, frames[-1]]
        figure.add_scatter(
            x=position,
            y=[n / facts.bin_width for n in frames],
            name=name,
            mode="lines",
            stackgroup="frames",
            line={"width": 0, "shape": "hv"},
            fillcolor=COLORS[(number - 1) % len(COLORS)] if number else FAINT,
            customdata=frames,
            hovertemplate="%{customdata:,} frames<extra>" + name + "</extra>",
        )
    figure.update_layout(
        height=250,
        margin={"l": 60, "r": 10, "t": 10, "b": 50},
        xaxis={"title": f"time since the first frame ({unit})" if unit == "s" else unit},
        yaxis={"title": per, "gridcolor": GRID},
        legend=LEGEND,
        hovermode="x unified",
    )
    return figure


def in_words(facts: CaptureFacts) -> str:
    """The same for those who cannot see the figure."""
    parts = []
    for name, frames in facts.bin_attacked.items():
        hit = [i for i, n in enumerate(frames) if n]
        begin, end = hit[0] * facts.bin_width, (hit[-1] + 1) * facts.bin_width
        where = (
            f"{begin:.1f} s and {end:.1f} s"
            if facts.duration_s
            else f"frame {begin:,.0f} and {end:,.0f}"
        )
        parts.append(f"{name}: {facts.attacks[name]:,} frames between {where}")
    return "; ".join(parts)
