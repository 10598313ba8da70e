"""Words in a figure that fit: legends, titles, and the units of axes. Names are shown as they are, not as formulas."""

from __future__ import annotations

import bisect
import textwrap
from collections.abc import Mapping
from typing import NamedTuple

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.legend import Legend

_MARGIN_IN = 0.1


class Unit(NamedTuple):
    """What an axis counts in."""

    size: float
    label: str


_STEPS = (
    Unit(1e6, "control steps [million]"),
    Unit(1e3, "control steps [thousand]"),
    Unit(1.0, "control steps"),
)
_TIMES = (Unit(3600.0, "training time [h]"), Unit(60.0, "training time [min]"), Unit(1.0, "training time [s]"))


def step_unit(longest: float) -> Unit:
    """Unit of an axis of control steps that ends at ``longest``: the largest in which that is at least 1."""
    return next((unit for unit in _STEPS if longest >= unit.size), _STEPS[-1])


def time_unit(longest: float) -> Unit:
    """Unit of an axis of training time that ends at ``longest`` [s]: the largest in which that is at least 2."""
    return next((unit for unit in _TIMES if longest >= 2 * unit.size), _TIMES[-1])


def legend_below(figure: Figure, handles: Mapping[str, Artist], most_columns: int) -> None:
    """A legend below the axes, in as many columns as the figure is wide for; the figure grows by its height.

    Where a name alone is wider than the figure, it is broken into lines.
    """
    width = figure.get_figwidth() - 2 * _MARGIN_IN
    for columns in range(min(len(handles), most_columns), 0, -1):
        legend = _legend(figure, handles, columns)
        if _size_in(figure, legend)[0] <= width:
            break
        legend.remove()
    else:
        # What a row takes next to its name, the sample and the padding, is found with a name of no width.
        rest = _size_in(figure, bare := _legend(figure, {"": next(iter(handles.values()))}, 1))[0]
        size = float(bare.get_texts()[0].get_fontsize())
        bare.remove()
        legend = _legend(figure, {wrapped(name, width - rest, size): handle for name, handle in handles.items()}, 1)
    figure.set_figheight(figure.get_figheight() + _size_in(figure, legend)[1])


def title_above(axes: Axes, text: str, width_in: float, size: float) -> None:
    """A title at the left of ``axes``, broken into lines that are at most ``width_in`` wide."""
    axes.set_title(wrapped(text, width_in, size), loc="left", fontsize=size, parse_math=False)


def title_over(figure: Figure, text: str, size: float) -> None:
    """A title over all of a figure, in lines that are no wider than it; the figure grows by those after the first."""
    lines = wrapped(text, 0.95 * figure.get_figwidth(), size)
    figure.suptitle(lines, fontsize=size, parse_math=False)
    figure.set_figheight(figure.get_figheight() + 1.3 * size / 72 * lines.count("\n"))


def wrapped(text: str, width_in: float, size: float) -> str:
    """``text`` in lines of at most ``width_in`` [in] in a font of ``size`` points, broken between words if possible."""
    renderer, font = RendererAgg(1, 1, 72), FontProperties(size=size)

    def lines(characters: int) -> list[str]:
        return textwrap.wrap(text, characters, break_on_hyphens=False)

    def too_wide(characters: int) -> bool:
        widths = (renderer.get_text_width_height_descent(line, font, ismath=False)[0] for line in lines(characters))
        return any(width > 72 * width_in for width in widths)

    # Lines of more characters are wider, nearly always; the last check makes it sure.
    most = bisect.bisect_left(range(1, len(text) + 1), True, key=too_wide)
    while most > 1 and too_wide(most):
        most -= 1
    return "\n".join(lines(max(most, 1)))


def _legend(figure: Figure, handles: Mapping[str, Artist], columns: int) -> Legend:
    # Its own labels would read $ as the beginning of a formula, and leave out names that begin with an underscore.
    numbers = [str(k) for k in range(len(handles))]
    legend = figure.legend([*handles.values()], numbers, loc="outside lower center", ncols=columns)
    for text, name in zip(legend.get_texts(), handles, strict=True):
        text.set_parse_math(False)
        text.set_text(name)
    return legend


def _size_in(figure: Figure, legend: Legend) -> tuple[float, float]:
    """Width and height [in]."""
    box = legend.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    return box.width / figure.dpi, box.height / figure.dpi
