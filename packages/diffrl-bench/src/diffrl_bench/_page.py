"""A suite's summary as what its page shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from ._found import Found
from ._plot_bands import colors_of, draw_panel, draw_profile, panels_of
from ._plots import shown
from ._record import Row
from ._record_file import NAME, newest, read_lines
from ._references import Reference
from ._results import facts_of, learner, light
from ._side_file import told
from ._summary import Cell, Section, Summary, by_task
from ._summary_text import (
    TRANSFER,
    Grid,
    cell_columns,
    figure,
    grid_of,
    grids,
    missing_runs,
    said,
    transfer_grid,
)
from ._svg import inline_svg
from ._transfers import TRANSFERS

_FACTS = ("commit", "time", "machine", "device", "threads", "jobs", "load")
_FIGURES = ("iterations", "env_steps", "wall_s", "cpu_s")
_KINDS = {"task": "text", "learner": "text learner", "IQM": "ours", "paper": "of-paper", "note": "note"}


@dataclass(frozen=True)
class Page:
    """What a suite's page shows, in words and figures."""

    name: str
    about: str
    facts: str
    warning: str
    records: str
    files: tuple[tuple[str, str], ...]
    sections: list[dict[str, Any]]
    panels: list[tuple[str, list[tuple[str, Markup]]]]
    legend: list[tuple[str, str]]
    without: list[str]
    """Learners whose curves were not kept."""
    grids: list[dict[str, Any]]
    runs: list[dict[str, Any]]


def page_of(found: Found, summary: Summary, files: Sequence[tuple[str, str]]) -> Page:
    """The page of a suite.

    Args:
        found: its records.
        summary: of them.
        files: names and descriptions of files next to the page.
    """
    suite, folder, rows = found
    lines = {line.row["run"]: line.number for line in newest(read_lines(folder / NAME))} if rows else {}
    colors, names = colors_of(rows), {learner(row): shown(row) for row in rows}
    with_curves = {name for panel in panels_of(rows) for name in panel.groups}
    drawn = {name: color for name, color in colors.items() if name in with_curves}
    about = suite.about or suite.name
    return Page(
        name=suite.name,
        about=about if about.endswith(".") else f"{about}.",
        facts="; ".join(filter(None, [facts_of(rows, "run"), missing_runs(summary)])),
        warning=summary.warning,
        records=NAME,
        files=tuple(files),
        sections=[_section(section, lines) for section in summary.sections] + _transfers(summary),
        panels=_panels(rows, colors),
        legend=_legend(drawn, names),
        without=[names[name] for name in colors if name not in drawn],
        grids=[
            _grid(grid, summary, colors, names)
            for grid in grids(summary)[len(summary.sections) :]
            if grid.title != TRANSFER
        ],
        runs=[_run(row, lines[row["run"]]) for row in rows],
    )


def command_of(row: Row) -> str:
    """What repeats a run."""
    return " ".join(["diffrl", "train", *row["arguments"]])


def _section(section: Section, lines: Mapping[str, int]) -> dict[str, Any]:
    grid, shown_columns = grid_of(section)
    tasks = []
    for cells in by_task(section.cells).values():
        tasks.append([_cell(cell, lines, [cell_columns(cell)[k] for k in shown_columns]) for cell in cells])
    kinds = [_KINDS.get(name, "") for name in grid.head]
    return {**grid._asdict(), "id": section.metric, "tasks": tasks, "kinds": kinds}


def _cell(cell: Cell, lines: Mapping[str, int], columns: Sequence[str]) -> dict[str, Any]:
    return {
        "id": f"{cell.metric}-{cell.task}-{cell.learner}".replace(" ", "-"),
        "columns": columns,
        "seeds": [
            {
                "seed": row["seed"],
                "value": figure(cell.value_of(row)),
                "run": row["run"],
                "line": lines[row["run"]],
                "command": command_of(row),
            }
            for row in cell.rows
        ],
        "others": [f"{row['run']}: {row.get('error') or row['status']}" for row in cell.others] + _hours(cell),
        "papers": [_paper(one) for one in cell.references],
    }


def _transfers(summary: Summary) -> list[dict[str, Any]]:
    """The section of policies in MuJoCo C; none if there are no such."""
    if not summary.transfers:
        return []
    grid = transfer_grid(summary)
    tasks: dict[str, list[dict[str, Any]]] = {}
    for one, columns in zip(summary.transfers, grid.lines, strict=True):
        seeds = [_transfer(run, number, row) for run, (number, row) in one.runs]
        places = [f"Made with {place}." for place in dict.fromkeys(told(line.row) for _, line in one.runs)]
        cell = {"id": f"transfer-{one.task}-{one.learner}".replace(" ", "-"), "columns": columns, "seeds": seeds}
        tasks.setdefault(one.task, []).append({**cell, "others": places, "papers": []})
    kinds = [{"task": "text", "learner": "text learner", "in MuJoCo C": "ours"}.get(name, "") for name in grid.head]
    return [{**grid._asdict(), "id": "transfer", "tasks": list(tasks.values()), "kinds": kinds}]


def _transfer(run: str, number: int, row: Row) -> dict[str, Any]:
    here, there = (figure(row[side]["return_mean"]) for side in ("here", "mujoco"))
    said = {"seed": row["run_seed"], "value": f"{here} here and {there} in MuJoCo C", "run": run}
    command = " ".join(["diffrl", "bench", *row["arguments"]])
    return {**said, "line": f"{number} of {TRANSFERS.name}", "command": command}


def _hours(cell: Cell) -> list[str]:
    """What a run that is missing would take, and how that is known."""
    if cell.core_hours is None or cell.hours is None:
        return []
    return [f"A missing run would take {figure(cell.hours.each)} core hours: {cell.hours.source}."]


def _paper(one: Reference) -> str:
    spread = f" ({one.spread_kind})" if one.spread_kind else ""
    return f"Paper: {said(one)}{spread}, {one.place} of {one.source}: {one.about}, {one.statistic}; {one.read}."


def _panels(rows: Sequence[Row], colors: Mapping[str, str]) -> list[tuple[str, list[tuple[str, Markup]]]]:
    found: dict[str, list[tuple[str, Markup]]] = {}
    for number, panel in enumerate(panels_of(rows)):
        label = f"Episode return on {panel.task} over {panel.axis.name}: {', '.join(panel.groups)}"
        svg = inline_svg(lambda axes, panel=panel: draw_panel(axes, panel, colors), f"p{number}", label)
        found.setdefault(panel.task, []).append((f"return over {panel.axis.name}", Markup(svg)))
    return list(found.items())


def _legend(colors: Mapping[str, str], names: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names and colours as a page has them: what is black on paper is white in the dark."""
    return [(names[name], "currentColor" if color == "#000000" else color) for name, color in colors.items()]


def _grid(grid: Grid, summary: Summary, colors: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    svg, legend = None, []
    if grid.title == "Over all tasks":
        label = f"Performance profiles of {', '.join(one.learner for one in summary.overall)}"
        svg = Markup(inline_svg(lambda axes: draw_profile(axes, summary, colors), "profile", label))
        legend = _legend({one.learner: colors[one.learner] for one in summary.overall}, names)
    text = [k for k, name in enumerate(grid.head) if k == 0 or name in ("pair", "what", "unit", "read from")]
    return {**grid._asdict(), "id": grid.title.lower().replace(" ", "-"), "svg": svg, "text": text, "legend": legend}


def _run(row: Row, line: int) -> dict[str, Any]:
    result = row.get("error") or row["status"]
    if row["status"] == "finished":
        result = f"return {figure(row['return_mean'])} after {figure(row['wall_s'])} s"
    facts = [("command", command_of(row)), ("record", f"line {line} of {NAME}")]
    facts += [(key, _word(row, key)) for key in (*_FACTS, *_FIGURES) if key in row]
    versions = [f"{name} {found}" for name, found in (row.get("versions") or {}).items() if found]
    facts.append(("versions", ", ".join(versions)))
    facts += [("config_hash", _word(row, "config_hash"))] if "config_hash" in row else []
    return {"name": row["run"], "said": result, "facts": [fact for fact in facts if fact[1]], "row": light(row)}


def _word(row: Row, key: str) -> str:
    value = row[key]
    if value is None:
        return "not recorded" if key in row.get("missing", ()) else "-"
    return figure(value) if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
