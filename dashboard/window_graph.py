"""One window as the graph that both detectors see: ids as nodes, transitions as edges."""

from typing import Any

import pandas as pd

from core.captures.frame_table import FrameTable
from dashboard.palette import ATTACK, METHODS
from dashboard.window_data import id_texts

NODE, EDGE = METHODS["vgae"].color, "#8a94a0"
SMALLEST, LARGEST = 10, 34
"""Diameter of a node in pixels."""
WIDEST = 5
"""Width of an edge in pixels."""
LABELLED = 60
"""With more ids than this only attacked ones carry their name; the others tell it on hover."""


def transitions(frames: FrameTable) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Nodes (``id, frames, attacked``) by id, and edges (``source, target, count``)."""
    table = pd.DataFrame({"id": id_texts(frames), "attacked": frames.label.astype(int)})
    nodes = table.groupby("id")["attacked"].agg(frames="size", attacked="sum").reset_index()
    pairs = pd.DataFrame({"source": table["id"].iloc[:-1], "target": table["id"].shift(-1)[:-1]})
    edges = pairs.groupby(["source", "target"]).size().rename("count").reset_index()
    return nodes, edges


def graph_option(frames: FrameTable) -> dict[str, Any]:
    """ECharts option: a circle of ids, larger where they send more; attacked ones marked."""
    nodes, edges = transitions(frames)
    most = int(nodes["frames"].max())
    often = max(int(edges["count"].max()) if len(edges) else 1, 1)
    return {
        "animation": False,
        "tooltip": {},
        "legend": {"top": 0, "left": 0, "data": ["id", "id with attacked frames"]},
        "series": [
            {
                "type": "graph",
                "layout": "circular",
                "circular": {"rotateLabel": True},
                "roam": True,
                "top": 80,
                "bottom": 70,
                "left": 60,
                "right": 60,
                "categories": [
                    {"name": "id", "itemStyle": {"color": NODE}},
                    {
                        "name": "id with attacked frames",
                        "itemStyle": {"color": ATTACK},
                        "symbol": "diamond",
                    },
                ],
                "emphasis": {"focus": "adjacency"},
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 6,
                "lineStyle": {"color": EDGE, "curveness": 0.25, "opacity": 0.6},
                "data": [
                    {
                        "name": name,
                        "value": f"{count} frames, {attacked} attacked",
                        "category": int(attacked > 0),
                        "symbolSize": SMALLEST + (LARGEST - SMALLEST) * count / most,
                        "label": {
                            "show": len(nodes) <= LABELLED or attacked > 0,
                            "fontSize": 11,
                        },
                    }
                    for name, count, attacked in _records(nodes)
                ],
                "links": [
                    {
                        "source": source,
                        "target": target,
                        "value": f"{count} times",
                        "lineStyle": {"width": 1 + (WIDEST - 1) * (count - 1) / often},
                    }
                    for source, target, count in _records(edges)
                ],
            }
        ],
    }


def _records(table: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(zip(*(table[name].tolist() for name in table), strict=True))


def in_words(frames: FrameTable) -> str:
    """The same for those who cannot see the graph."""
    nodes, edges = transitions(frames)
    attacked = nodes[nodes["attacked"] > 0]["id"]
    marked = f"attacked: {', '.join(attacked)}" if len(attacked) else "none of them attacked"
    return f"{len(nodes)} ids and {len(edges)} different transitions; {marked}"
