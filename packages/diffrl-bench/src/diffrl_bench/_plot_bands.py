"""Learning curves over control steps, updates and training time, and performance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import SymmetricalLogLocator

from ._labels import Unit, legend_below, step_unit, time_unit, title_over
from ._plots import COLORS, STYLE, require_format, save, shown
from ._record import Row
from ._results import as_points, learner, problem
from ._statistics import iqm_band, iqm_curve, profile
from ._summary import Summary

POINTS = 60
"""Points of a band."""
_DECADES = 1e3
"""Losses that fall by more than this factor are drawn on a logarithmic axis."""


class Axis(NamedTuple):
    """What a learning curve runs over."""

    column: int
    """Of a curve."""
    name: str


AXES = (Axis(1, "control steps"), Axis(0, "updates"), Axis(2, "training time"))


class Panel(NamedTuple):
    """All learners of a task over one axis."""

    task: str
    axis: Axis
    groups: dict[str, list[np.ndarray[Any, Any]]]
    """Curves ``[points, 4]`` of the seeds of each learner."""

    @property
    def unit(self) -> Unit:
        """Unit of the axis."""
        longest = max(curve[-1, self.axis.column] for curves in self.groups.values() for curve in curves)
        if self.axis.name == "updates":
            return Unit(1.0, "updates")
        return step_unit(longest) if self.axis.name == "control steps" else time_unit(longest)


def panels_of(rows: Sequence[Row]) -> list[Panel]:
    """A panel for each task and axis; none for tasks without a curve."""
    tasks: dict[str, dict[str, list[np.ndarray[Any, Any]]]] = {}
    for row in rows:
        if row.get("curve") is not None and len(points := as_points(row["curve"])) > 1:
            tasks.setdefault(problem(row), {}).setdefault(learner(row), []).append(points)
    return [Panel(task, axis, groups) for task, groups in tasks.items() for axis in AXES]


def colors_of(rows: Sequence[Row]) -> dict[str, str]:
    """A colour for each learner."""
    return {name: COLORS[k % len(COLORS)] for k, name in enumerate(dict.fromkeys(map(learner, rows)))}


def draw_panel(axes: Axes, panel: Panel, colors: Mapping[str, str]) -> None:
    """Interquartile means of seeds; bands are 95 % intervals, or ranges where seeds are too few for one."""
    size = panel.unit.size
    for name, curves in panel.groups.items():
        grid, each = _side_by_side(curves, panel.axis.column)
        middle, band = iqm_curve(each), iqm_band(each)
        low, high = (each.min(0), each.max(0)) if band is None else band
        if len(curves) > 1:
            axes.fill_between(grid / size, low, high, color=colors[name], alpha=0.18, linewidth=0)
        axes.plot(grid / size, middle, color=colors[name], linewidth=1.6, linestyle="-" if band is not None else "--")
    axes.set_xlabel(panel.unit.label)
    losses = [-curve[:, 3].max() for curves in panel.groups.values() for curve in curves]
    largest = max(-curve[:, 3].min() for curves in panel.groups.values() for curve in curves)
    if min(losses) > 0 and largest > _DECADES * min(losses):
        axes.set_yscale("symlog", linthresh=min(losses))
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=min(losses), subs=[1.0]))
        axes.locator_params(axis="y", numticks=7)


def plot_bands(rows: Sequence[Row], title: str, file: Path) -> None:
    """A row for each task, over control steps, updates and training time.

    Raises:
        ValueError: there is no curve, or the file has another format.
    """
    require_format(file)
    if not (panels := panels_of(rows)):
        raise ValueError("there is no learning curve yet: no training episode has finished, or nothing was trained")
    colors = colors_of(rows)
    names = {learner(row): shown(row) for row in rows}
    lines = len(panels) // len(AXES)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.6, 0.6 + 2.4 * lines), layout="constrained")
        grid = figure.subplots(lines, len(AXES), squeeze=False, sharey="row")
        for axes, panel in zip(grid.flatten(), panels, strict=True):
            draw_panel(axes, panel, colors)
        for axes, panel in zip(grid[:, 0], panels[:: len(AXES)], strict=True):
            axes.set_title(panel.task, loc="left", fontsize=10, parse_math=False)
            axes.set_ylabel("episode return")
        legend_below(figure, {names[name]: Patch(color=color) for name, color in colors.items()}, 6)
        if title:
            title_over(figure, title, 11)
        save(figure, file)


def draw_profile(axes: Axes, summary: Summary, colors: Mapping[str, str]) -> None:
    """The fraction of runs above each score, over all tasks."""
    scores = np.linspace(0.0, 1.0, 201)
    for one in summary.overall:
        axes.plot(scores, profile(one.scores, scores), color=colors[one.learner], linewidth=1.6)
    axes.set_xlabel("score: 0 the worst run of a task, 1 the best")
    axes.set_ylabel("fraction of runs above")
    axes.set_ylim(-0.02, 1.02)


def _side_by_side(curves: Sequence[np.ndarray[Any, Any]], column: int) -> tuple[Any, Any]:
    """Curves on a common axis, ``x [POINTS]`` and ``y [seeds, POINTS]``, which ends where the first seed does."""
    begin, end = max(curve[0, column] for curve in curves), min(curve[-1, column] for curve in curves)
    grid = np.linspace(begin, max(begin, end), POINTS)
    return grid, np.stack([np.interp(grid, curve[:, column], curve[:, 3]) for curve in curves])
