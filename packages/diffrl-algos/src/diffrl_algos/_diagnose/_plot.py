"""The figure of a diagnosis: verdicts by step and lookahead, the gait below, and the figures behind them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .._titles import title_of
from ._diagnosis import Diagnosis, Finding
from ._recommend import about
from ._verdict import MEANINGS, Verdict

COLORS: dict[Verdict, str] = {
    "trustworthy": "#009e73",
    "biased": "#d55e00",
    "noisy": "#f0c808",
    "lost": "#222222",
    "flat": "#b9d7ea",
    "unclear": "#d9d9d9",
}
_FIRST, _ZEROTH = "#0072b2", "#8c8c8c"
_FLOOR = 1e-4
"""Least signal to noise that is drawn; what is below, or below 0 by chance, is a triangle there."""
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "diffrl-diagnose",
}


def plot_diagnosis(d: Diagnosis, file: Path) -> None:
    """Draw to a file; its ending says how."""
    parts = [name for name in d.steps[0].contacts if any(step.contacts[name] for step in d.steps)]
    with rc_context(_STYLE):
        heights = [0.28 * len(d.lookaheads) + 0.2, 1.2, *([0.19 * len(parts)] if parts else []), 1.6]
        heights.append(max(0.22 * len(d.states), 1.2))
        figure = Figure(figsize=(9.0, sum(heights) + 4.0), layout="constrained")
        figure.suptitle(_title(d), fontsize=11, x=0.01, ha="left", parse_math=False)
        grid = figure.add_gridspec(len(heights), 6, height_ratios=heights)
        verdicts = figure.add_subplot(grid[0, :])
        _by_step(verdicts, d)
        _over_steps(lowest := figure.add_subplot(grid[1, :], sharex=verdicts), d)
        if parts:
            _contacts(lowest := figure.add_subplot(grid[2, :], sharex=verdicts), d, parts)
        lowest.set_xlabel(f"control step of the episodes, {d.dt:.3g} s each")
        row = len(heights) - 2
        _cosines(figure.add_subplot(grid[row, :2]), d)
        _ratios(figure.add_subplot(grid[row, 2:4]), d)
        _gains(figure.add_subplot(grid[row, 4:]), d)
        _by_state(figure.add_subplot(grid[row + 1, :2]), d)
        _reasons(figure.add_subplot(grid[row + 1, 2:]), d)
        found = [
            *d.overall,
            *(f for step in d.steps for f in step.findings),
            *(f for r in d.states.values() for f in r),
        ]
        used = {f.verdict for f in found}
        figure.legend(
            handles=[Patch(color=COLORS[word], label=f"{word}: {MEANINGS[word]}") for word in MEANINGS if word in used],
            loc="outside lower left",
            ncols=2,
            fontsize=8,
        )
        figure.savefig(file, dpi=130, metadata={"Date": None} if file.suffix == ".svg" else None)


def _title(d: Diagnosis) -> str:
    best = d.recommendation
    horizon = "" if best.horizon is None else f", horizon {best.horizon}"
    task = f"Can the gradients of {d.about['task']} be trusted?  ({d.about['policy']})"
    lines = [task, *([textwrap.shorten(d.options, 110)] if d.options else [])]
    return "\n".join([*lines, f"Train with {title_of(best.algorithm)}{horizon}: {about(best.algorithm)}"])


def _cells(ax: Axes, rows: Sequence[Sequence[Finding]], x: Any, y: Any) -> None:
    """A coloured cell for each finding ``[Y][X]``, between the edges ``x`` and ``y``."""
    words = list(COLORS)
    values = np.array([[words.index(found.verdict) for found in row] for row in rows])
    norm = BoundaryNorm(np.arange(len(words) + 1) - 0.5, len(words))
    colors = ListedColormap([COLORS[word] for word in words])
    ax.pcolormesh(x, y, values, cmap=colors, norm=norm, edgecolors="white", linewidth=0.6)
    for side in ("left", "bottom"):
        ax.spines[side].set_visible(False)
    ax.tick_params(length=0)


def _by_step(ax: Axes, d: Diagnosis) -> None:
    rows = np.arange(len(d.lookaheads) + 1)
    _cells(ax, [d.column(h) for h in d.lookaheads], _edges([step.step for step in d.steps]), rows)
    ax.set_yticks(rows[:-1] + 0.5, [str(h) for h in d.lookaheads])
    ax.set_ylabel("lookahead")
    ax.set_title("The gradient of an action at each step, of the sum of rewards over 1, 2, 4, ... steps from there")
    ax.tick_params(labelbottom=False)


def _over_steps(ax: Axes, d: Diagnosis) -> None:
    at = [step.step for step in d.steps]
    _signal(ax, at, d.column(d.shown), d)
    batch = d.thresholds.batch
    ax.set_title(f"Signal to noise of one roll-out over {d.shown} steps (dotted: what a batch of {batch} needs)")
    ax.set_ylim(bottom=_FLOOR / 30)  # room for the legend under what is drawn
    ax.legend(loc="lower left", fontsize=8, ncols=2)
    if d.steps[0].contacts:
        ax.tick_params(labelbottom=False)


def _contacts(ax: Axes, d: Diagnosis, parts: Sequence[str]) -> None:
    share = np.array([[step.contacts[name] for step in d.steps] for name in parts])
    edges = _edges([step.step for step in d.steps])
    ax.pcolormesh(edges, np.arange(len(parts) + 1), share, cmap="Greys", vmin=0, vmax=1, edgecolors="white")
    ax.set_yticks(np.arange(len(parts)) + 0.5, parts)
    ax.set_title(f"On the ground: share of the {d.about['num_envs']} states at the step (white none, black all)")
    ax.tick_params(length=0)


def _cosines(ax: Axes, d: Diagnosis) -> None:
    for h, found in zip(d.lookaheads, d.overall, strict=True):
        m = found.measure
        if m.cosine is not None:
            error = 0.0 if m.cosine_error is None else m.cosine_error
            ax.errorbar(h, m.cosine, yerr=error, color=COLORS[found.verdict], marker="o", markersize=5, capsize=2)
    ax.axhline(d.thresholds.cosine, color="black", linewidth=0.8, linestyle=":")
    ax.set_ylim(-1.1, 1.1)
    _lookaheads(ax, d)
    ax.set_title("Direction, all steps")
    ax.set_ylabel("cosine with the zeroth order")


def _ratios(ax: Axes, d: Diagnosis) -> None:
    _signal(ax, d.lookaheads, d.overall, d)
    _lookaheads(ax, d)
    ax.set_title("Noise, all steps")


def _gains(ax: Axes, d: Diagnosis) -> None:
    """What a step along the gradient gained, and what it promised where that is not far from it."""
    for h, found in zip(d.lookaheads, d.overall, strict=True):
        m = found.measure
        if m.gained is not None:
            ax.errorbar(
                h, m.gained, yerr=m.gained_error, color=COLORS[found.verdict], marker="o", markersize=5, capsize=2
            )
    promised = np.array([np.nan if f.measure.promised is None else f.measure.promised for f in d.overall])
    low, high = ax.get_ylim()
    near = np.abs(promised) <= 2.0 * max(abs(low), abs(high))
    label = "promised by the gradient" if near.any() else None
    ax.plot(d.lookaheads, np.where(near, promised, np.nan), color="black", lw=0.9, linestyle="--", label=label)
    ax.axhline(0.0, color="black", linewidth=0.8)
    room = 0.35 * (max(high, 0.0) - min(low, 0.0) or 1.0)
    ax.set_ylim(min(low, 0.0) - 0.1 * room, max(high, 0.0) + room)
    _lookaheads(ax, d)
    ax.set_title("Gain by a step, all steps")
    ax.set_ylabel("change of the return")
    if label:
        ax.legend(fontsize=8, loc="upper left")


def _by_state(ax: Axes, d: Diagnosis) -> None:
    names = list(d.states)[::-1]
    edges = np.arange(len(d.lookaheads) + 1)
    _cells(ax, [d.states[name] for name in names], edges, np.arange(len(names) + 1))
    ax.set_xticks(edges[:-1] + 0.5, [str(h) for h in d.lookaheads])
    ax.set_yticks(np.arange(len(names)) + 0.5, names, fontsize=8)
    ax.set_xlabel("lookahead [steps]")
    ax.set_title("By state")


def _reasons(ax: Axes, d: Diagnosis) -> None:
    best = d.recommendation
    lines = [f"because {reason}" for reason in best.reasons] + [f"in doubt: {doubt}" for doubt in best.doubts]
    lines += [f"or {title_of(name)}: {why}" for name, why in best.alternatives]
    wrapped = "\n".join("\n  ".join(textwrap.wrap(line, 74)) for line in lines)
    ax.text(0.0, 1.0, wrapped, va="top", fontsize=8, parse_math=False, transform=ax.transAxes)
    ax.set_title("Why")
    ax.axis("off")


def _signal(ax: Axes, x: Sequence[int], found: Sequence[Finding], d: Diagnosis) -> None:
    """Signal to noise of both orders, the first with dots in the colour of its verdict."""
    for name, color, label in (
        ("snr", _FIRST, "first order, through the simulator"),
        ("snr_zeroth", _ZEROTH, "zeroth order, likelihood ratio"),
    ):
        y = np.array([np.nan if (v := getattr(f.measure, name)) is None else max(v, _FLOOR) for f in found])
        ax.plot(x, np.where(y > _FLOOR, y, np.nan), color=color, label=label, linewidth=1.2)
        if name == "snr":
            for below, marker in ((False, "o"), (True, "v")):
                at: list[int] = np.flatnonzero((y <= _FLOOR) == below).tolist()
                colors = [COLORS[found[k].verdict] for k in at]
                ax.scatter(np.array(x)[at], y[at], c=colors, s=24, marker=marker, zorder=3, edgecolors="white", lw=0.4)
    ax.axhline(1 / d.thresholds.batch, color="black", linewidth=0.8, linestyle=":")
    ax.set_yscale("log")
    ax.set_ylim(bottom=_FLOOR / 4)
    ax.set_ylabel("signal / noise")


def _lookaheads(ax: Axes, d: Diagnosis) -> None:
    ax.set_xscale("log", base=2)
    ax.minorticks_off()
    ax.set_xticks(d.lookaheads, [str(h) for h in d.lookaheads])
    ax.set_xlim(d.lookaheads[0] / 1.3, d.lookaheads[-1] * 1.3)
    ax.set_xlabel("lookahead [steps]")


def _edges(at: Sequence[int]) -> np.ndarray[Any, Any]:
    """Edges of cells around the steps."""
    middle = (np.array(at[1:], dtype=float) + np.array(at[:-1])) / 2
    half = (at[1] - at[0]) / 2 if len(at) > 1 else 0.5
    return np.array([at[0] - half, *middle, at[-1] + half])
