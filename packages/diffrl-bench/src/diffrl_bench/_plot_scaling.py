"""The figure of ``bench scaling``: rates over worlds, and memory and rates over the horizon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ._labels import legend_below, title_above
from ._plots import COLORS, STYLE, require_format, save
from ._text import count

_PARTS: dict[str, tuple[str, Any]] = {"forward": ("forward", "-"), "forward_backward": ("forward + backward", "--")}


def plot_scaling(reports: Sequence[Mapping[str, Any]], file: Path) -> None:
    """One row of three panels for each report. Rates are per second of processor time: other load disturbs it least."""
    require_format(file)
    with rc_context(STYLE):
        figure = Figure(figsize=(9.5, 2.5 * len(reports)), layout="constrained")
        grid = figure.subplots(len(reports), 3, squeeze=False)
        threads = list(dict.fromkeys(row["threads"] or 1 for report in reports for row in report["rows"]))
        for line, report in zip(grid, reports, strict=True):
            _row(line, report, threads)
        handles = {
            f"{words}, {count(number, 'thread')}": Line2D([], [], color=COLORS[k], linestyle=style, marker="o")
            for k, number in enumerate(threads)
            for words, style in _PARTS.values()
        }
        legend_below(figure, handles, 4)
        save(figure, file)


def _row(line: Sequence[Axes], report: Mapping[str, Any], threads: Sequence[int]) -> None:
    rows, base = report["rows"], report["base"]
    own = rows[0]["threads"]
    for k, number in enumerate(threads):
        over_worlds = [r for r in rows if (r["threads"] or 1) == number and r["horizon"] == report["horizon"]]
        _rates(line[0], over_worlds, "num_envs", COLORS[k])
    over_horizon = [row for row in rows if row["num_envs"] == base and row["threads"] == own]
    _rates(line[1], over_horizon, "horizon", COLORS[threads.index(own or 1)])
    kept = sorted((row["horizon"], row["kept_window_bytes"] / 1e6) for row in over_horizon)
    line[2].plot(*zip(*kept, strict=True), "o-", color=COLORS[2])
    line[2].set_ylabel("kept [MB]")
    line[0].set_xlabel(f"worlds, {count(report['horizon'], 'control step')}")
    for axes in line[1:]:
        axes.set_xlabel(f"horizon [control steps], {count(base, 'world')}")
    for axes in line[:2]:
        axes.set_ylabel("control steps / CPU-s")
    for axes, key in zip(line, ("num_envs", "horizon", "horizon"), strict=True):
        ticks = sorted({row[key] for row in (rows if key == "num_envs" else over_horizon)})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.set_xticks([], minor=True)
        if axes is line[2] and not any(size for _, size in kept):
            axes.set_ylim(-0.1, 1)  # A simulator that computes its steps again keeps nothing.
            continue
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(_plain))
        axes.yaxis.set_minor_formatter(FuncFormatter(_few))
        axes.tick_params(axis="y", which="minor", labelsize=8)
    both = [axes.get_ylim() for axes in line[:2]]
    for axes in line[:2]:
        axes.set_ylim(min(low for low, _ in both), max(high for _, high in both))
    title_above(line[0], report.get("label", report["task"]), 3.0, 10)


def _rates(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, color: str) -> None:
    rows = sorted(rows, key=lambda row: row[key])
    for part, (_, style) in _PARTS.items():
        values = [row[f"{part}_steps_per_cpu_s"] for row in rows]
        axes.plot([row[key] for row in rows], values, "o", linestyle=style, color=color, markersize=4, linewidth=1.3)


def _plain(value: float, position: int | None = None) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g} {letter}"
    return f"{value:g}"


def _few(value: float, position: int | None = None) -> str:
    """Of the values between powers of ten, 2 and 5 times them."""
    return _plain(value) if f"{value:.0e}"[0] in "25" else ""
