"""The figure of ``bench scaling``: rates over worlds, and memory and rates over the horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ._labels import title_above
from ._plots import COLORS, STYLE, require_format, save
from ._text import count

_PARTS = {"forward": ("forward", "-"), "forward_backward": ("forward + backward", "--")}


def plot_scaling(reports: Sequence[Mapping[str, Any]], file: Path) -> None:
    """One row of three panels for each report; whiskers go from the slowest to the fastest repeat."""
    require_format(file)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.5, 2.8 * len(reports)), layout="constrained")
        grid = figure.subplots(len(reports), 3, squeeze=False)
        for line, report in zip(grid, reports, strict=True):
            _row(line, report)
        save(figure, file)


def _row(line: Sequence[Axes], report: Mapping[str, Any]) -> None:
    rows, base = report["rows"], report["base"]
    threads = list(dict.fromkeys(row["threads"] for row in rows))
    for k, number in enumerate(threads):
        over_worlds = [row for row in rows if row["threads"] == number and row["horizon"] == report["horizon"]]
        suffix = "" if number is None else f", {count(number, 'thread')}"
        _rates(line[0], sorted(over_worlds, key=lambda row: row["num_envs"]), "num_envs", COLORS[k], suffix)
    over_horizon = sorted(
        (row for row in rows if row["num_envs"] == base and row["threads"] == threads[0]),
        key=lambda row: row["horizon"],
    )
    _rates(line[1], over_horizon, "horizon", COLORS[0], "")
    horizons = [row["horizon"] for row in over_horizon]
    line[2].plot(horizons, [row["kept_window_bytes"] / 1e6 for row in over_horizon], "o-", color=COLORS[2])
    line[2].set_ylabel("kept for the backward pass [MB]")
    line[0].set_xlabel("worlds")
    for axes in line[1:]:
        axes.set_xlabel(f"horizon [control steps], {count(base, 'world')}")
    for axes in line[:2]:
        axes.set_ylabel("control steps / s")
        axes.legend(fontsize=8)
    for axes in line:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    title_above(line[0], f"{report['task']}, windows of {count(report['horizon'], 'control step')}", 3.0, 10)


def _rates(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, color: str, suffix: str) -> None:
    for part, (words, style) in _PARTS.items():
        middle, below, above = [], [], []
        for row in rows:
            steps, spread = row["num_envs"] * row["horizon"], row["window_s"][part]
            middle.append(steps / spread["median"])
            below.append(middle[-1] - steps / spread["max"])
            above.append(steps / spread["min"] - middle[-1])
        axes.errorbar(
            [row[key] for row in rows],
            middle,
            [below, above],
            fmt="o",
            linestyle=style,
            color=color,
            capsize=2,
            markersize=4,
            linewidth=1.3,
            label=words + suffix,
        )
