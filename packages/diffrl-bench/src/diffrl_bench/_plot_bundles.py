"""The figure of ``bench bundles``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from ._labels import title_over
from ._plots import STYLE, require_format, save
from ._text import count

_WIDE = 10.0
"""Ratio of variances from which an axis is logarithmic."""


def plot_bundles(report: Mapping[str, Any], file: Path) -> None:
    """By how much the variance over perturbations falls, and the total variance, each with what theory says."""
    require_format(file)
    rows = report["rows"]
    sizes = [row["branches"] for row in rows]
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        ratios = [row["ratio"] for row in rows]
        below = [max(row["ratio"] - row["ratio_low"], 0.0) for row in rows]
        above = [max(row["ratio_high"] - row["ratio"], 0.0) for row in rows]
        left.errorbar(sizes, ratios, [below, above], fmt="o", color="#d55e00", capsize=3, label="measured")
        left.plot(sizes, [row["theory"] for row in rows], color="#444444", linewidth=1, label="theory: n")
        left.set_yscale("log")
        left.set_ylabel("variance within a world lower by")
        right.plot(sizes, [row["total"] for row in rows], "o", color="#0072b2", label="measured")
        right.plot(sizes, [row["predicted"] for row in rows], color="#444444", linewidth=1, label="theory: B + W / n")
        totals = [row[name] for row in rows for name in ("total", "predicted")]
        if max(totals) > _WIDE * min(totals):
            right.set_yscale("log")
        right.set_ylabel("total variance")
        for axes in (left, right):
            axes.set_xscale("log")
            axes.set_xticks(sizes, [str(n) for n in sizes])
            axes.set_xticks([], minor=True)
            axes.set_xlabel("branches n")
            axes.legend()
        steps = report["task_options"].get("substeps")
        about = f"{report['task']}, {count(report['horizon'], 'control step')}"
        title_over(figure, about if steps is None else f"{about} of {count(steps, 'sub-step')}", 11)
        save(figure, file)
