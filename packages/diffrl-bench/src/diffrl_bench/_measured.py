"""The figures of a suite's measurements as tables: Markdown, LaTeX, or for a spreadsheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ._figures import FIGURE_KEYS
from ._record import Row
from ._results import cell, rows_to_csv
from ._summary_text import Grid, figure, latex_of, span
from ._text import table

SMOKE = "A smoke run: a few repeats that show that the suite runs. These are no results."


def command_of(row: Row) -> str:
    """What repeats a measurement."""
    return " ".join(["diffrl", "bench", *row["command"], "--json"])


def figures_grid(row: Row) -> Grid:
    """A measurement's figures: a line for each subject, a column for each quantity."""
    quantities = list(dict.fromkeys((one["quantity"], one["unit"]) for one in row["figures"]))
    found = {(one["subject"], one["quantity"], one["unit"]): one for one in row["figures"]}
    names = [one["subject"] for one in row["subjects"] if not one["missing"]]
    names = list(dict.fromkeys([*names, *(one["subject"] for one in row["figures"])]))
    lines = [(name, *(_said(found.get((name, *quantity))) for quantity in quantities)) for name in names]
    head = ("", *(f"{quantity} [{unit}]" if unit else quantity for quantity, unit in quantities))
    ends = dict.fromkeys(one["by"] for one in row["figures"] if one["by"])
    notes = (f"{command_of(row)}.", *([f"In parentheses: {', '.join(ends)}."] if ends else ()))
    return Grid(row["measurement"], notes, head, tuple(lines))


def subjects_grid(row: Row) -> Grid:
    """What a measurement's figures are of: version and settings, or why there are none."""
    lines = [
        (one["subject"], one["version"] or "-", one["missing"] or one["settings"] or "-") for one in row["subjects"]
    ]
    return Grid(f"{row['measurement']}: what was run", (), ("", "version", "settings"), tuple(lines))


def grids_of(row: Row) -> list[Grid]:
    """The tables of a finished measurement."""
    return [figures_grid(row), *([subjects_grid(row)] if row["subjects"] else [])]


def as_markdown(rows: Sequence[Row]) -> str:
    """Tables with headings; what is not finished is named."""
    blocks = [SMOKE] if any(row["smoke"] for row in rows) else []
    for row in rows:
        if row["status"] != "finished":
            blocks += [f"### {row['measurement']}", f"{row.get('error') or row['status']}."]
            continue
        first, *others = grids_of(row)
        command, *notes = first.notes
        blocks += [f"### {first.title}", " ".join([f"`{command.rstrip('.')}`", *notes]), _markdown(first)]
        blocks += [_markdown(grid) for grid in others]
    return "\n\n".join(blocks)


def as_latex(rows: Sequence[Row]) -> str:
    """Tables for the package ``booktabs``; what is not finished is a comment."""
    blocks = [f"% {SMOKE}"] if any(row["smoke"] for row in rows) else []
    for row in rows:
        if row["status"] == "finished":
            blocks += map(latex_of, grids_of(row))
        else:
            blocks.append(f"% {row['measurement']}: {row.get('error') or row['status']}")
    return "\n\n".join(blocks) + "\n"


def as_csv(rows: Sequence[Row]) -> str:
    """One line for each figure, with all digits."""
    lines: list[list[Any]] = []
    for row in rows:
        for one in row.get("figures", ()):
            lines.append([row["measurement"], *(cell(one[key]) for key in FIGURE_KEYS)])
    return rows_to_csv(["measurement", *FIGURE_KEYS], lines)


FORMATS: dict[str, Callable[[Sequence[Row]], str]] = {"md": as_markdown, "tex": as_latex, "csv": as_csv}


def measured_text(rows: Sequence[Row]) -> str:
    """Figures for a terminal, as ``diffrl bench run`` prints them."""
    blocks: list[str] = []
    for row in rows:
        if row["status"] != "finished":
            blocks.append(f"{row['measurement']}: {row.get('error') or row['status']}")
            continue
        for grid in grids_of(row):
            blocks.append("\n".join([grid.title, *grid.notes, table(grid.head, grid.lines)]))
    return "\n\n".join(blocks)


def _said(one: dict[str, Any] | None) -> str:
    if one is None:
        return "-"
    ends = "" if one["low"] is None else f" ({span((one['low'], one['high']))})"
    return figure(one["value"]) + ends


def _markdown(grid: Grid) -> str:
    lines = [[text.replace("|", "\\|") for text in line] for line in grid.lines]
    return table(grid.head, lines, markdown=True)
