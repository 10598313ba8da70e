"""Small figures as SVG inside a page: its fonts and colours, light or dark, and no names that another figure has."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._plots import STYLE

_INK, _GRID = "#010203", "#040506"
_INLINE = {
    **STYLE,
    "svg.fonttype": "none",
    "font.size": 11,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK),
    "grid.color": _GRID,
}


def inline_svg(draw: Callable[[Axes], None], name: str, label: str) -> str:
    """An ``<svg>`` element of one pair of axes.

    Args:
        draw: fills the axes.
        name: unique in the page.
        label: what is seen, for those who do not see it.
    """
    with rc_context(_INLINE):
        figure = Figure(figsize=(4.2, 2.9), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'((?:href="#|url\(#))([^")]+)', rf"\g<1>{name}-\g<2>", svg)
    svg = re.sub(r' xmlns:\w+="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"(\d\.\d\d)\d+", r"\1", svg)  # hundredths of a point
    svg = svg.replace(_INK, "currentColor").replace(_GRID, "var(--line)").replace("#000000", "currentColor")
    svg = re.sub(r' width="[^"]*pt"| height="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)
    svg = re.sub(r"font-family: '[^;\"]*", "font-family: inherit", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{_escaped(label)}"', 1).strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
