"""One colour and one name for everything that is drawn, on every page.

The colours follow Okabe and Ito's set (https://jfly.uni-koeln.de/color/), slightly shifted so that
each can be read on a light and on a dark ground.
"""

from typing import NamedTuple


class Method(NamedTuple):
    """How one way to call a window is shown."""

    label: str
    color: str
    help: str


METHODS: dict[str, Method] = {
    "vgae": Method("VGAE alone", "#2f7fc1", "anomaly score of the unsupervised detector"),
    "gat": Method("GAT alone", "#e0960a", "attack probability of the supervised detector"),
    "fixed_alpha": Method(
        "Best fixed alpha", "#b565a7", "one weight for all windows, the best on training windows"
    ),
    "stacking": Method("Stacking", "#4fb3d9", "logistic regression on both scores"),
    "fusion": Method("DQN fusion", "#0a9a74", "the agent's weight, window by window"),
    "oracle": Method("Oracle", "#7d8794", "right wherever either model is right: the upper bound"),
}
"""Method name in results -> how it is shown, in the order of every table and chart."""

SCORE_COLUMNS = {
    "vgae": "anomaly_score",
    "gat": "gat_prob",
    "fixed_alpha": "fixed_alpha",
    "stacking": "stacking",
    "fusion": "fused",
    "oracle": "oracle",
}
"""Method -> its column in a run's ``predictions.arrow``."""

BENIGN, ATTACK = "#8fa3b8", "#d1561f"
ALPHA = METHODS["fixed_alpha"].color
INK = "#15181d"
"""Of lines and marks on coloured ground, in both themes."""
TEXT = {"light": "#1f2733", "dark": "#eef1f5"}
"""Of numbers over a colour that the page shines through, by theme."""
GRID = "rgba(128, 138, 150, 0.25)"
UNVISITED = "rgba(125, 135, 148, 0.62)"

ALPHA_SCALE = [
    [0.0, METHODS["vgae"].color],
    [0.5, "#e9e9e4"],
    [1.0, METHODS["gat"].color],
]
"""Alpha 0 has the VGAE's colour, alpha 1 the GAT's."""
