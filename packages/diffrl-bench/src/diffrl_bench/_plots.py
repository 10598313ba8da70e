"""Figures: bars of ``bench sim``, learning curves of a suite. The file's ending chooses SVG, PNG or PDF."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from diffrl_algos._titles import title_of

from ._labels import legend_below, step_unit, time_unit, title_above, title_over
from ._record import Row
from ._results import grouped, learner
from ._text import count, rounded

FORMATS = (".svg", ".png", ".pdf")
_OURS, _LIGHT, _THEIRS = "#0072b2", "#7fbde0", "#999999"
_KINDS = {
    "forward": _OURS,
    "forward + backward": _LIGHT,
    "MuJoCo, forward": _THEIRS,
    "others, forward": "#c46a1b",
    "others, forward + backward": "#e8b98c",
}
COLORS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"),
    *("#7f3b08", "#8c8c8c", "#6a3d9a", "#9acd32", "#f0e442"),
)
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "axes.axisbelow": True,
    "legend.frameon": False,
    # The same data gives the same file.
    "svg.hashsalt": "diffrl-bench",
}


_EMPTY = "there is no learning curve yet: no training episode has finished, or nothing was trained"


def shown(row: Row) -> str:
    """What was learned with, in a figure: ``SHAC``, ``SHAC (long)``, or the name that somebody gave."""
    if row.get("name"):
        return str(row["name"])
    algorithm, space, variant = learner(row).partition(" ")
    return title_of(algorithm) + space + variant


def require_format(file: Path) -> None:
    """Raise ``ValueError`` unless the file ends in one of ``FORMATS``."""
    if file.suffix not in FORMATS:
        raise ValueError(f"{file} must end in {', '.join(FORMATS)}")


def plot_sim(report: Mapping[str, Any], file: Path) -> None:
    """Bars of simulated seconds per second on a logarithmic axis; whiskers from the slowest to the fastest repeat."""
    require_format(file)
    groups = _sim_groups(report)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 1.4 + 0.5 * len(groups)), layout="constrained")
        axes: Axes = figure.subplots()
        fastest = max(bar.high for _, bars in groups for bar in bars)
        slowest = min(bar.low for _, bars in groups for bar in bars)
        for k, (_, bars) in enumerate(groups):
            for j, bar in enumerate(bars):
                _draw(axes, bar, -k + 0.38 * ((len(bars) - 1) / 2 - j))
        axes.set_yticks([-k for k in range(len(groups))], [label for label, _ in groups])
        axes.tick_params(axis="y", length=0)
        axes.set_xscale("log")
        axes.set_xlim(10 ** np.floor(np.log10(slowest)), 2.5 * fastest)
        axes.grid(False, axis="y")
        axes.set_xlabel("simulated seconds per second")
        dt = report["dt_s"]
        above = axes.secondary_xaxis("top", functions=(lambda x: x / dt, lambda x: x * dt))
        above.set_xlabel(f"control steps of {1e3 * dt:.1f} ms per second")
        kinds = dict.fromkeys(bar.kind for _, bars in groups for bar in bars)
        handles = [Patch(color=_KINDS[kind], label=kind) for kind in kinds]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 3))
        save(figure, file)


def plot_curves(curves: Mapping[str, np.ndarray[Any, Any]], rows: Sequence[Row], title: str, file: Path) -> None:
    """Mean return of finished training episodes over control steps and over training time, a row for each task.

    Thin lines are seeds, the thick line their median; dots are final evaluations of the deterministic policy.
    """
    require_format(file)
    groups = grouped([row for row in rows if len(curves.get(row["run"], ()))])
    if not groups:
        raise ValueError(_EMPTY)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.5 + 2.5 * len(groups)), layout="constrained")
        grid = figure.subplots(len(groups), 2, squeeze=False, sharey="row")
        drawn = [curves[row["run"]] for group in groups.values() for row in group]
        steps, time = step_unit(_longest(drawn, 1)), time_unit(_longest(drawn, 2))
        for (left, right), ((_, task), group) in zip(grid, groups.items(), strict=True):
            found = [curves[row["run"]] for row in group]
            finals = [row.get("return_mean") for row in group]
            _curves(left, [(c[:, 1] / steps.size, c[:, 3]) for c in found], finals)
            _curves(right, [(c[:, 2] / time.size, c[:, 3]) for c in found], finals)
            left.set_ylabel("episode return")
            # It may reach over the right panel, which has no title.
            title_above(left, f"{shown(group[0])}, {task}: {count(len(group), 'seed')}", 6.2, 10)
        grid[-1][0].set_xlabel(steps.label)
        grid[-1][1].set_xlabel(time.label)
        grid[0][0].legend(loc="lower right", fontsize=9)
        if title:
            title_over(figure, title, 11)
        save(figure, file)


def plot_together(curves: Mapping[str, np.ndarray[Any, Any]], rows: Sequence[Row], title: str, file: Path) -> None:
    """Mean return of finished training episodes over control steps: a panel for each task, all algorithms in it.

    Lines are medians of seeds, bands go from the worst to the best seed, dots are final evaluations.
    """
    require_format(file)
    tasks: dict[str, dict[str, list[Row]]] = {}
    for (name, task), group in grouped([row for row in rows if len(curves.get(row["run"], ()))]).items():
        tasks.setdefault(task, {})[name] = group
    if not tasks:
        raise ValueError(_EMPTY)
    names = {learner(row): shown(row) for row in rows}
    colors = {name: COLORS[k % len(COLORS)] for k, name in enumerate(names)}
    columns = min(2, len(tasks))
    lines = -(-len(tasks) // columns)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.8 * columns + 0.4, 0.8 + 2.7 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False).flatten()
        for axes, (task, algorithms) in zip(grid, tasks.items(), strict=False):
            unit = step_unit(_longest([curves[row["run"]] for group in algorithms.values() for row in group], 1))
            for name, group in algorithms.items():
                _band(axes, [curves[row["run"]] for row in group], colors[name], unit.size)
                ends = [(curves[row["run"]][-1, 1] / unit.size, row.get("return_mean")) for row in group]
                known = [end for end in ends if end[1] is not None]
                if known:
                    axes.plot(*zip(*known, strict=True), "o", color=colors[name], markersize=3.5, clip_on=False)
            seeds = sorted({len(group) for group in algorithms.values()})
            said = str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
            title_above(axes, f"{task}, {said} seed{'s' if seeds[-1] > 1 else ''}", 3.2, 10)
            axes.set_xlabel(unit.label)
        for axes in grid[len(tasks) :]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel("episode return")
        legend_below(figure, {names[name]: Patch(color=color) for name, color in colors.items()}, 4 * columns)
        if title:
            title_over(figure, title, 11)
        save(figure, file)


def _longest(found: Sequence[np.ndarray[Any, Any]], column: int) -> float:
    """The last control step, or second, of the longest curve."""
    return max(float(curve[-1, column]) for curve in found)


def _band(axes: Axes, found: Sequence[np.ndarray[Any, Any]], color: str, unit: float) -> None:
    """Median and range of seeds, over control steps in ``unit``."""
    grid, each = _side_by_side([(c[:, 1], c[:, 3]) for c in found])
    axes.fill_between(grid / unit, each.min(0), each.max(0), color=color, alpha=0.15, linewidth=0)
    axes.plot(grid / unit, np.median(each, axis=0), color=color, linewidth=1.8)


def _curves(axes: Axes, lines: Sequence[tuple[Any, Any]], finals: Sequence[float | None]) -> None:
    for k, (x, y) in enumerate(lines):
        axes.plot(x, y, color=_LIGHT, linewidth=0.9, label="one seed, training" if k == 0 else None)
    grid, each = _side_by_side(lines)
    axes.plot(grid, np.median(each, axis=0), color=_OURS, linewidth=2.2, label="median of seeds")
    known = [(x[-1], final) for (x, _), final in zip(lines, finals, strict=True) if final is not None]
    if known:
        axes.plot(*zip(*known, strict=True), "o", color="#d55e00", markersize=4.5, zorder=3, label="final evaluation")


def _side_by_side(lines: Sequence[tuple[Any, Any]]) -> tuple[Any, Any]:
    """``K`` lines on a common axis: ``x [200]`` and ``y [K, 200]``.

    The axis ends where the first seed does; beyond that the median would jump.
    """
    grid = np.linspace(max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines), 200)
    return grid, np.stack([np.interp(grid, x, y) for x, y in lines])


class _Bar(NamedTuple):
    kind: str
    middle: float
    low: float
    high: float


def _draw(axes: Axes, bar: _Bar, place: float) -> None:
    axes.barh(place, bar.middle, height=0.34, color=_KINDS[bar.kind])
    axes.plot([bar.low, bar.high], [place, place], color="#222222", linewidth=1.5)
    axes.annotate(rounded(bar.middle), (bar.high, place), (4, 0), textcoords="offset points", va="center", fontsize=9)


def _sim_groups(report: Mapping[str, Any]) -> list[tuple[str, list[_Bar]]]:
    n = report["num_envs"]
    groups = [(f"dynamics\n{count(n, 'world')}", _pair(report, n, report))]
    if report["scaling"] is not None:
        many, rows = report["scaling"]["num_envs"], report["scaling"]["rows"]
        for row in (rows[0], rows[-1]):
            groups.append((f"dynamics, {many:,} worlds\n{count(row['threads'], 'thread')}", _pair(row, many, report)))
    groups.append((f"environment\n{count(n, 'world')}", _pair(report["env"], n, report)))
    for peer in report["peers"]:
        bar = _bar("MuJoCo, forward", peer["window_s"]["forward"], _simulated(n, report))
        groups.append((f"MuJoCo, {count(n, 'world')}\n{count(peer['threads'], 'thread')}", [bar]))
    for peer in report.get("beside", ()):
        groups.append((f"{peer['name']}\n{count(peer.get('num_envs', n), 'world')}", _of_other(peer)))
    return groups


def _pair(figures: Mapping[str, Any], num_envs: int, report: Mapping[str, Any]) -> list[_Bar]:
    parts = {"forward": "forward", "forward_backward": "forward + backward"}
    return [_bar(kind, figures["window_s"][key], _simulated(num_envs, report)) for key, kind in parts.items()]


def _of_other(peer: Mapping[str, Any]) -> list[_Bar]:
    parts = {"forward": "others, forward", "forward_backward": "others, forward + backward"}
    # Its window has steps of its own, so what it simulates follows from its rate.
    return [
        _bar(kind, spread, peer[f"{key}_sim_s_per_s"] * spread["median"])
        for key, kind in parts.items()
        if (spread := peer["window_s"].get(key)) is not None
    ]


def _simulated(num_envs: int, report: Mapping[str, Any]) -> float:
    """Simulated time of a window of ours, summed over worlds [s]."""
    return num_envs * report["horizon"] * report["dt_s"]


def _bar(kind: str, spread: Mapping[str, float], seconds: float) -> _Bar:
    return _Bar(kind, seconds / spread["median"], seconds / spread["max"], seconds / spread["min"])


def save(figure: Figure, file: Path) -> None:
    """Write a figure; the same data gives the same file."""
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(file.suffix, {})
    figure.savefig(file, dpi=160, facecolor="white", metadata=metadata)
