"""A figure of metrics over the updates of a suite's runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._labels import title_above, title_over
from ._plots import STYLE, require_format, save, shown
from ._record import Row
from ._results import grouped
from ._traces import Traces

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_WIDE = 100.0
"""Values of one sign whose ratio is larger than this are drawn on a logarithmic axis."""


def plot_traces(traces: Traces, rows: Sequence[Row], names: Sequence[str], title: str, file: Path) -> None:
    """A row for each metric, a column for each algorithm and task that has any of them; a line for each seed.

    Values of one sign that span orders of magnitude have a logarithmic axis, negative ones with their sign changed.
    """
    require_format(file)

    def has(run: Mapping[str, np.ndarray], name: str) -> bool:
        return name in run and bool(np.isfinite(run[name]).any())

    found = grouped([row for row in rows if any(has(traces.get(row["run"], {}), name) for name in names)])
    groups = {of: [row["run"] for row in group] for of, group in found.items()}
    titles = [f"{shown(group[0])}, {task}" for (_, task), group in found.items()]
    if not groups or not names:
        raise ValueError("there is no trace yet; name some under traces in the suite and run it: diffrl bench run")
    with rc_context({**STYLE, "font.size": 8}):
        size = (0.6 + 2.2 * len(groups), 0.6 + 1.5 * len(names))
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(names), len(groups), squeeze=False, sharex="col")
        for name, axes_row in zip(names, grid, strict=True):
            values = np.concatenate([traces[run].get(name, []) for runs in groups.values() for run in runs])
            sign, wide = _scale(values[np.isfinite(values)])
            for axes, runs in zip(axes_row, groups.values(), strict=True):
                measured = [run for run in runs if has(traces[run], name)]
                if not measured:
                    axes.text(0.5, 0.5, "has none", ha="center", va="center", transform=axes.transAxes, color="gray")
                    axes.set_yticks([])
                for color, run in zip(_COLORS * len(measured), measured, strict=False):
                    axes.plot(traces[run]["iteration"], sign * traces[run][name], color=color, linewidth=0.8)
                if wide and measured:
                    axes.set_yscale("log")
            _label(axes_row[0], ("-" if sign < 0 else "") + name)
        for axes, words in zip(grid[0], titles, strict=True):
            title_above(axes, words, 1.8, 8)
        for axes in grid[-1]:
            axes.set_xlabel("update")
        if title:
            title_over(figure, title, 9)
        save(figure, file)


def _scale(values: np.ndarray) -> tuple[float, bool]:
    """The sign of the drawn values, and whether the axis is logarithmic."""
    for sign in (1.0, -1.0):
        if values.size and (sign * values > 0).all() and (sign * values).max() > _WIDE * (sign * values).min():
            return sign, True
    return 1.0, False


def _label(axes: Axes, name: str) -> None:
    axes.set_ylabel(name.replace("_", " "))
