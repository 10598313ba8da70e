"""The picture of ``diffrl bench models``: how far the models of each package come."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from ._labels import title_over
from ._models_text import CHECKS, by_package
from ._plots import STYLE, require_format, save
from ._record import Row

_LEVELS = {
    "works": "#009e73",
    "loads, not checked further": "#7fceb9",
    "loads; a check fails": "#e69f00",
    "refused": "#bbbbbb",
    "not readable by MuJoCo": "#e8e8e8",
}


def level(row: Row) -> str:
    """How far a model comes."""
    answers = [check(row) for check in CHECKS.values()]
    if False not in answers:
        return "works" if row["measured"] else "loads, not checked further"
    if answers[0]:
        return "loads; a check fails"
    unreadable = all(problem.startswith("MuJoCo cannot compile") for problem in row.get("problems", ("",)))
    return "not readable by MuJoCo" if unreadable else "refused"


def plot_models(rows: Sequence[Row], file: Path) -> None:
    """A bar for each package, with the numbers of models at each level."""
    require_format(file)
    groups = by_package(rows)
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(7.6, 1.5 + 0.24 * len(groups)), layout="constrained")
        axes = figure.add_subplot()
        names = list(groups)[::-1]
        left = [0] * len(names)
        for text, color in _LEVELS.items():
            widths = [sum(level(row) == text for row in groups[name]) for name in names]
            if not any(widths):
                continue
            axes.barh(names, widths, left=left, color=color, label=text, height=0.75)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for k, name in enumerate(names):
            good = sum(row["status"] == "loads" for row in groups[name])
            axes.text(left[k] + 0.6, k, f"{good} of {left[k]}", va="center", fontsize=7.5)
        axes.set_xlim(0, max(left) * 1.12)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlabel("models")
        axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.4, 1.0), fontsize=8)
        good = sum(row["status"] == "loads" for row in rows)
        title_over(figure, f"{good} of {len(rows)} robot models load", 11)
        save(figure, file)
