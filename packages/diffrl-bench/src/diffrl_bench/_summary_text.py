"""A suite's summary as tables: Markdown, LaTeX, or for a spreadsheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ._references import Reference
from ._results import rows_to_csv
from ._statistics import LEVEL, Interval
from ._summary import Cell, Section, Summary
from ._text import count, table

FORMATS = ("md", "tex", "csv")
TRANSFER = "Transfer to MuJoCo C"
_LEVEL = f"{LEVEL:.0%}".replace("%", " %")
_HEAD = ("task", "learner", "seeds", "IQM", f"{_LEVEL} interval", "range", "mean", "paper", "note")


class Grid(NamedTuple):
    """A table in words."""

    title: str
    notes: tuple[str, ...]
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def figure(value: float | None) -> str:
    """A number as tables show it: ``8,474``, ``12.3``, ``-3.4e-11``; ``-`` for None."""
    if value is None:
        return "-"
    if value == 0.0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def span(interval: Interval | tuple[float, float] | None) -> str:
    """``7,900 to 8,100``; ``-`` for None."""
    return "-" if interval is None else f"{figure(interval[0])} to {figure(interval[1])}"


def said(one: Reference) -> str:
    """What a paper says: ``8,610 ± 40``."""
    return figure(one.value) + ("" if one.spread is None else f" ± {figure(one.spread)}")


def grids(summary: Summary, *, wide: bool = False) -> list[Grid]:
    """All tables of a summary; ``wide`` gives each task a column."""
    found = [wide_grid(section) if wide else grid_of(section)[0] for section in summary.sections]
    if summary.transfers:
        found.append(transfer_grid(summary))
    if summary.overall:
        found.append(_of_overall(summary))
    if summary.pairs:
        found.append(_of_pairs(summary))
    if summary.statements:
        found.append(_of_statements(summary))
    return found


def as_markdown(summary: Summary, *, wide: bool = False) -> str:
    """Tables with headings; ``wide`` as in ``grids``."""
    missing = missing_runs(summary)
    blocks = [summary.warning, f"{missing}." if missing else ""]
    for grid in grids(summary, wide=wide):
        lines = [[cell.replace("|", "\\|") for cell in line] for line in grid.lines]
        blocks += [f"### {grid.title}", " ".join(grid.notes), table(grid.head, lines, markdown=True)]
    return "\n\n".join(block for block in blocks if block)


def as_latex(summary: Summary, *, wide: bool = False) -> str:
    """Tables for the package ``booktabs``; ``wide`` as in ``grids``."""
    warning = [f"% {summary.warning}"] if summary.warning else []
    return "\n\n".join([*warning, *map(latex_of, grids(summary, wide=wide))]) + "\n"


def as_csv(summary: Summary) -> str:
    """One line for each cell, with all digits."""
    columns = ("metric", "task", "learner", "seeds", "iqm", "low", "high", "mean", "min", "q25", "median", "q75", "max")
    lines = []
    for section in summary.sections:
        for cell in section.cells:
            interval = cell.interval or (None, None)
            spread = cell.spread or (None,) * 5
            papers = [value for one in cell.references for value in (one.paper, one.place, one.value)]
            lines.append(
                [section.metric, cell.task, cell.learner, len(cell.rows), cell.iqm, *interval, cell.mean, *spread]
                + [cell.note, cell.core_hours, *papers]
            )
    longest = max((len(line) for line in lines), default=0)
    extra = [
        f"{name} {k + 1}" for k in range((longest - len(columns) - 2) // 3) for name in ("paper", "place", "value")
    ]
    lines = [line + [None] * (longest - len(line)) for line in lines]
    return rows_to_csv([*columns, "note", "missing core hours", *extra], lines)


def cell_columns(cell: Cell) -> tuple[str, ...]:
    """A cell as a line of its section's table."""
    papers = "; ".join(f"{said(one)} ({one.paper}, {one.place})" for one in cell.references)
    return (
        cell.task,
        cell.learner,
        f"{len(cell.rows)} of {cell.planned}" if cell.planned else str(len(cell.rows) or "-"),
        figure(cell.iqm),
        span(cell.interval),
        span(None if cell.spread is None else (cell.spread.low, cell.spread.high)),
        figure(cell.mean),
        papers or "-",
        "; ".join(filter(None, [cell.note, would_take(cell)])) or "-",
    )


def would_take(cell: Cell) -> str:
    """What the missing runs of a cell would take: ``5 runs would take 1.2 core hours``; empty if it is not known."""
    if cell.core_hours is None:
        return ""
    runs = count(cell.missing, "more run" if cell.rows else "run")
    return f"{runs} would take {figure(cell.core_hours)} core hours"


def missing_runs(summary: Summary) -> str:
    """What all missing runs of a suite would take; empty if none is missing."""
    runs, hours, known = summary.missing
    if not runs:
        return ""
    if hours is None:
        return f"{count(runs, 'run')} missing; diffrl bench run SUITE --estimate says what they would take"
    return f"{count(runs, 'run')} missing, which would take {'' if known else 'at least '}{figure(hours)} core hours"


def grid_of(section: Section) -> tuple[Grid, list[int]]:
    """A section's table, without columns in which nothing is; and the columns of ``cell_columns`` that it has."""
    lines = [cell_columns(cell) for cell in section.cells]
    shown = [k for k in range(len(_HEAD)) if k < 4 or any(line[k] != "-" for line in lines)]
    head = tuple(_HEAD[k] for k in shown)
    return Grid(*_described(section), head, tuple(tuple(line[k] for k in shown) for line in lines)), shown


def wide_grid(section: Section) -> Grid:
    """A section's table with a line for each learner and a column for each task."""
    tasks = list(dict.fromkeys(cell.task for cell in section.cells))
    learners = dict.fromkeys(cell.learner for cell in section.cells)
    found = {(cell.learner, cell.task): _short(cell) for cell in section.cells}
    lines = [(name, *(found.get((name, task), "-") for task in tasks)) for name in learners]
    title, notes = _described(section)
    note = f"IQM [its {_LEVEL} interval; seeds], or with too few seeds for one (their range; seeds)."
    return Grid(title, (*notes, note), ("learner", *tasks), tuple(lines))


def _short(cell: Cell) -> str:
    """A cell in a few words: ``4,936 (4,928 to 4,943; 2), paper 4,900``; ``-`` if it has nothing."""
    ours = figure(cell.iqm)
    if cell.interval is not None:
        ours += f" [{span(cell.interval)}; {len(cell.rows)}]"
    elif cell.spread is not None:
        ours += f" ({span((cell.spread.low, cell.spread.high))}; {len(cell.rows)})" if len(cell.rows) > 1 else " (1)"
    return ", ".join([ours, *(f"{one.paper} {said(one)}" for one in cell.references)])


def _described(section: Section) -> tuple[str, tuple[str, ...]]:
    """Title and notes of a section's table."""
    metric = section.what
    unit = f" [{metric.unit}]" if metric.unit not in ("", "return") else ""
    papers = [
        f"{paper.partition(',')[0]}: {statistic}."
        for paper, statistic in dict.fromkeys(
            (f"{one.paper}", f"{one.place}, {one.statistic}; {one.read}")
            for cell in section.cells
            for one in cell.references
        )
    ]
    return metric.title + unit, (f"{metric.about[0].upper()}{metric.about[1:]}.", *papers)


def transfer_grid(summary: Summary) -> Grid:
    """What the policies keep in MuJoCo C, a line for each of ``summary.transfers``."""
    lines = [
        (
            one.task,
            one.learner,
            str(len(one.runs)),
            figure(one.here),
            figure(one.mujoco),
            *("-" if part is None else f"{part:.0%}".replace("%", " %") for part in (one.return_kept, one.speed_kept)),
        )
        for one in summary.transfers
    ]
    notes = (
        "The same policies, unchanged, in MuJoCo C on the task's own model file: means over episodes, then over seeds.",
        "Kept is MuJoCo's value over ours; a negative one has no share.",
    )
    head = ("task", "learner", "seeds", "return here", "in MuJoCo C", "return kept", "speed kept")
    return Grid(TRANSFER, notes, head, tuple(lines))


def _of_overall(summary: Summary) -> Grid:
    lines = [(one.learner, figure(one.iqm), span(one.interval)) for one in summary.overall]
    note = "Final returns of all tasks together; on each, 0 is the worst run of any learner and 1 the best."
    return Grid("Over all tasks", (note,), ("learner", "IQM of scores", f"{_LEVEL} interval"), tuple(lines))


def _of_pairs(summary: Summary) -> Grid:
    lines = [
        (
            pair.task,
            f"{pair.learner} against {pair.base}",
            f"{pair.seeds[0]} and {pair.seeds[1]}",
            f"{pair.improvement:.2f}",
            "-" if pair.interval is None else f"{pair.interval.low:.2f} to {pair.interval.high:.2f}",
            f"{pair.p:.2g}",
            f"{pair.p_holm:.2g}",
        )
        for pair in summary.pairs
    ]
    notes = (
        "Probability that a run of the one ends better than a run of the other.",
        "p is of the exact permutation test of ranks, and after Holm for all comparisons of a task.",
    )
    head = ("task", "pair", "seeds", "P(better)", f"{_LEVEL} interval", "p", "p, Holm")
    return Grid("Pairs", notes, head, tuple(lines))


def _of_statements(summary: Summary) -> Grid:
    lines = [
        (f"{one.paper}, {one.place}", one.about, figure(one.value), one.unit, one.read) for one in summary.statements
    ]
    return Grid("What the texts say", (), ("place", "what", "value", "unit", "read from"), tuple(lines))


_ESCAPES = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
_ESCAPES |= {character: f"\\{character}" for character in "&%$#_{}"}


def latex_of(grid: Grid) -> str:
    """A table for the package ``booktabs``."""
    kinds = "ll" + "r" * (len(grid.head) - 2)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{' '.join(map(_escaped, (grid.title + '.', *grid.notes)))}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        _row(grid.head),
        r"\midrule",
        *map(_row, grid.lines),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)
