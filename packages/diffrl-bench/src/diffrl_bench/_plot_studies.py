"""Figures of ``bench variance`` and ``bench landscape``: Figures 2 and 3 of Gao et al. 2024."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from diffrl_algos._titles import title_of
from gradest.plot import landscape_plane

from ._labels import title_over
from ._landscape import SURFACES
from ._plots import STYLE, require_format, save
from ._text import count, magnitude, rounded

_LINES = {"sg": ("SG", "#d55e00"), "qg": ("QG", "#0072b2"), "pg": ("PG", "#009e73")}
_ENDS = {"low": "v", "high": "^"}
_NAMES = {"sg": "SG", "sg+pg": "SG + PG", "sg+qg": "SG + QG"}


def plot_variance(report: Mapping[str, Any], file: Path) -> None:
    """Variances over the steps, and below them the returns under ascent at the two steps that are marked."""
    require_format(file)
    ends = {name: report["ascent"][name] for name in _ENDS if name in report["ascent"]}
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.4 if ends else 3.2), layout="constrained")
        grid = figure.add_gridspec(2 if ends else 1, 2, height_ratios=[1.3, 1] if ends else [1])
        _variances(figure.add_subplot(grid[0, :]), report, ends)
        for k, (name, found) in enumerate(ends.items()):
            axes = figure.add_subplot(grid[1, k])
            axes.plot(np.array(found["returns"], dtype=float), color=_LINES["sg"][1])
            axes.set_title(f"step {found['step']}: {name} variance of SG, {magnitude(found['variance'])}", fontsize=10)
            axes.set_xlabel("iteration of ascent along SG")
            if k == 0:
                axes.set_ylabel(r"$r+\gamma\,\hat Q(x',u')$")
        title_over(figure, _title(report), 11)
        save(figure, file)


def _variances(axes: Axes, report: Mapping[str, Any], ends: Mapping[str, Any]) -> None:
    steps = [row["step"] for row in report["rows"]]
    for name, (label, color) in _LINES.items():
        values = np.array([row[name] for row in report["rows"]], dtype=float)
        axes.plot(steps, values, color=color, label=label, linewidth=1.2)
    for name, found in ends.items():
        axes.plot(found["step"], found["variance"], _ENDS[name], color="black", markersize=5, zorder=3)
    axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel("variance over worlds")
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.16))


def plot_landscape(report: Mapping[str, Any], file: Path) -> None:
    """A row of panels for each step, a column for each estimator: the change of the objective from the trained policy,
    which is the white mark."""
    require_format(file)
    rows = report["rows"]
    with rc_context({**STYLE, "font.size": 8, "axes.grid": False}):
        figure = Figure(figsize=(8.0, 0.4 + 1.75 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), len(SURFACES), squeeze=False)
        for row, panels in zip(rows, grid, strict=True):
            for name, axes in zip(SURFACES, panels, strict=True):
                surface = np.array(row[name], dtype=float)
                middle = surface[len(surface) // 2, len(surface) // 2]
                landscape_plane(surface - middle, report["radii"], ax=axes, levels=16)
                for part in axes.collections:
                    part.set_rasterized(True)  # as paths, the bands of all panels are a megabyte
                weight = "" if name == "sg" else rf", $\alpha$ = {rounded(row['alpha_' + name[3:]], 2)}"
                axes.set_title(_NAMES[name] + weight, fontsize=8)
                axes.set_xlabel("first direction" if row is rows[-1] else "")
                axes.set_ylabel(f"step {row['step']}\nsecond direction" if name == SURFACES[0] else "")
        title_over(figure, _title(report), 10)
        save(figure, file)


def _title(report: Mapping[str, Any]) -> str:
    about = report["run"]
    name = f"{title_of(about['algorithm'])} on {about['task']}"
    return f"{name}, iteration {about['iteration']:,}, {count(report['num_envs'], 'world')}"
