"""The methods' F1 as a picture: SVG, written with the standard library's XML.

The core of the project knows no drawing library, and a dot per method needs none.
"""

from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as Xml

LEFT, TOP, WIDTH, ROW, GAP = 130, 40, 420, 18, 46
"""Pixels: room for names, above, of the axis, per method, between scenarios."""
COLORS = {"dqn": "#0b6e4f", "oracle": "#8a8a8a"}
OTHER = "#3b6ea5"


def contest_svg(found: Mapping[str, Any], metric: str = "f1") -> str:
    """One panel per scenario, one dot per method from 0 to 1; undefined values have no dot."""
    scenarios = found["scenarios"]
    heights = [ROW * len(about["methods"]) for about in scenarios.values()]
    size = {"width": str(LEFT + WIDTH + 90), "height": str(TOP + sum(heights) + GAP * len(heights))}
    about_it = {"xmlns": "http://www.w3.org/2000/svg", "role": "img"}
    picture = Xml.Element("svg", about_it | size | _FONT)
    Xml.SubElement(picture, "title").text = f"{metric} of every method in every scenario"
    Xml.SubElement(picture, "rect", width="100%", height="100%", fill="white")
    top = TOP
    for (name, about), height in zip(scenarios.items(), heights, strict=True):
        _text(picture, LEFT, top - 14, f"{name}: {metric}", "start", weight="bold")
        for tick in range(5):
            x = LEFT + WIDTH * tick / 4
            _line(picture, x, top, x, top + height)
            _text(picture, x, top + height + 12, f"{tick / 4:g}", "middle")
        for number, (method, measured) in enumerate(about["methods"].items()):
            y = top + ROW * (number + 0.5)
            _text(picture, LEFT - 8, y + 4, method, "end")
            value = measured[metric]
            if value is not None:
                x = LEFT + WIDTH * min(1.0, max(0.0, value))
                color = COLORS.get(method, OTHER)
                Xml.SubElement(picture, "circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="5", fill=color)
            shown = "-" if value is None else f"{value:.4f}"
            _text(picture, LEFT + WIDTH + 14, y + 4, shown, "start")
        top += height + GAP
    return Xml.tostring(picture, encoding="unicode") + "\n"


_FONT = {"font-family": "sans-serif", "font-size": "12"}


def _line(picture: Xml.Element, x1: float, y1: float, x2: float, y2: float) -> None:
    ends = {"x1": f"{x1:.1f}", "y1": f"{y1:.1f}", "x2": f"{x2:.1f}", "y2": f"{y2:.1f}"}
    Xml.SubElement(picture, "line", {"stroke": "#dddddd", **ends})


def _text(
    picture: Xml.Element, x: float, y: float, text: str, anchor: str, weight: str = "normal"
) -> None:
    place = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor, "font-weight": weight}
    Xml.SubElement(picture, "text", place).text = text
