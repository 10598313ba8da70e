"""The figure of ``bench gradients``: direction, signal to noise and bias of every estimator over the horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ._gradients_text import LABELS, TRUSTED
from ._labels import legend_below, title_above
from ._plots import COLORS, STYLE, require_format, save

_FLOOR = 1e-4
"""Least signal to noise that is drawn; what is below is drawn there."""
_MARKS = "os^Dvx*"
_MIXTURES = ("aobg", "ivwh", "ddcg")
_MOST = 1e3
"""Largest bias that is drawn."""


def plot_gradients(reports: Sequence[Mapping[str, Any]], file: Path) -> None:
    """One row of three panels for each report."""
    require_format(file)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 0.4 + 2.4 * len(reports)), layout="constrained")
        grid = figure.subplots(len(reports), 3, squeeze=False)
        for line, report in zip(grid, reports, strict=True):
            _row(line, report)
        for axes in grid[-1]:
            axes.set_xlabel("horizon [control steps]")
        shown = {row["estimator"] for report in reports for row in report["rows"]}
        names = [name for name in LABELS if name in shown]
        legend_below(figure, {LABELS[name]: Line2D([], [], **_look(name)) for name in names}, 4)
        save(figure, file)


def _row(line: Sequence[Axes], report: Mapping[str, Any]) -> None:
    horizons = [row["horizon"] for row in report["truth"]]
    for name in report["trust"]:
        rows = [row for row in report["rows"] if row["estimator"] == name]
        _line(line[0], horizons, [row["cosine"] for row in rows], name)
        _line(line[1], horizons, [_least(row["snr"], _FLOOR) for row in rows], name)
        _line(line[2], horizons, [_least(row["bias_high"], 0.0, _MOST) for row in rows], name)
    line[0].axhline(TRUSTED, color="#444444", linewidth=0.8, linestyle="--")
    line[0].set_ylim(-0.55, 1.05)
    line[0].set_ylabel("cosine to the truth")
    line[1].set_yscale("log")
    line[1].set_ylabel("signal to noise, one world")
    line[2].set_yscale("log")
    line[2].set_ylabel("bias over norm, at most")
    for axes in line:
        axes.set_xscale("log", base=2)
        axes.set_xticks(horizons, [str(h) for h in horizons])
        axes.set_xticks([], minor=True)
        axes.set_xlim(horizons[0] / 1.3, horizons[-1] * 1.3)
    title_above(line[0], report.get("label", report["task"]), 2.6, 10)


def _line(axes: Axes, horizons: Sequence[int], values: Sequence[float | None], name: str) -> None:
    found = np.array([np.nan if value is None else value for value in values])
    axes.plot(horizons, found, **_look(name))


def _look(name: str) -> dict[str, Any]:
    k = list(LABELS).index(name)
    # Mixtures often lie on top of the first order, so their marks are open and larger.
    mixed = {"markersize": 7, "markerfacecolor": "none"} if name in _MIXTURES else {"markersize": 4}
    return {"color": COLORS[k], "marker": _MARKS[k], "linewidth": 1.3, **mixed}


def _least(value: float | None, low: float, high: float = np.inf) -> float | None:
    return None if value is None else min(max(value, low), high)
