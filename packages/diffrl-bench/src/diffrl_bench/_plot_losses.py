"""The figure of ``bench losses``: Figures 2, 11, 12 and 13 of Xu et al. 2022."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gradest.plot import landscape_line, landscape_plane

from ._labels import title_over
from ._plots import STYLE, require_format, save
from ._text import count
from ._two_losses import LOSSES

_NAMES = {"episode": "whole episodes", "window": "SHAC, windows"}
_COLORS = {"episode": "#d55e00", "window": "#0072b2"}


def plot_losses(report: Mapping[str, Any], file: Path) -> None:
    """A column for each loss, with its line and its plane, and one for slopes and sizes of gradients."""
    require_format(file)
    about, line = report["run"], report["line"]
    with rc_context({**STYLE, "font.size": 8}):
        rows = 2 if report["plane"] else 1
        figure = Figure(figsize=(9.6, 0.4 + 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, 3, squeeze=False)
        for axes, name in zip(grid[0], LOSSES, strict=False):
            _along(axes, line[name], line["radii"], name)
            axes.set_title(f"loss of {_NAMES[name]}", fontsize=9)
        _slopes(grid[0][2], line)
        if report["plane"]:
            for axes, name in zip(grid[1], LOSSES, strict=False):
                _over(axes, report["plane"], name)
            _sizes(grid[1][2], report["gradients"])
        worlds = count(report["settings"]["num_envs"], "world")
        title = (
            f"SHAC on {about['task']}, iteration {about['iteration']:,}, {worlds}, windows of {about['horizon']} steps"
        )
        title_over(figure, title, 10)
        save(figure, file)


def _along(axes: Axes, values: list[float | None], radii: list[float], name: str) -> None:
    landscape_line(np.array(values, dtype=float), radii, ax=axes)
    for part in axes.lines:
        part.set_color(_COLORS[name])
    axes.set_xlabel("change of one parameter")


def _slopes(axes: Axes, line: Mapping[str, Any]) -> None:
    x = line["radii"]
    axes.plot(x, np.array(line["difference"], dtype=float), color="0.6", linewidth=2.4, label="differences")
    axes.plot(x, np.array(line["slope"], dtype=float), color=_COLORS["window"], linewidth=1.2, label="gradient")
    axes.set_title("slope of SHAC's loss", fontsize=9)
    axes.set_xlabel("change of one parameter")
    axes.legend()


def _over(axes: Axes, plane: Mapping[str, Any], name: str) -> None:
    landscape_plane(np.array(plane[name], dtype=float), plane["radii"], ax=axes, levels=16)
    axes.grid(False)
    if name != LOSSES[0]:
        axes.set_ylabel("")
    for part in axes.collections:
        part.set_rasterized(True)  # as paths, the bands are large


def _sizes(axes: Axes, gradients: Mapping[str, Any]) -> None:
    for name, found in gradients.items():
        powers = {int(power): number for power, number in found["powers_of_ten"].items()}
        if powers:
            x = np.arange(min(powers), max(powers) + 1)
            share = np.array([powers.get(int(k), 0) for k in x]) / sum(powers.values())
            axes.stairs(share, np.append(x, x[-1] + 1), color=_COLORS[name], label=_NAMES[name], fill=True, alpha=0.5)
    axes.set_title("gradient at the policy", fontsize=9)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("power of ten of an entry's size")
    axes.set_ylabel("share of entries")
    axes.legend(loc="upper center")
