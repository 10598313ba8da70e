"""``diffrl list``: list algorithms, tasks or presets. It imports no array library, but for options in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .._errors import unknown
from .._fields import field_types
from .._imports import import_module
from .._presets import list_presets, list_readings, preset_size
from .._registry import get_algorithm, list_algorithms
from ._parser import Parser, Result, add_import

_KINDS = ("algos", "tasks", "presets")
_MORE = {
    "tasks": "\nand gym:ID for an environment of Gymnasium, without gradients, brax:NAME for one of Brax, and "
    "playground:NAME for one of MuJoCo Playground"
}


def run(arguments: Sequence[str]) -> Result:
    parser = Parser("list", "List algorithms, tasks or presets.")
    parser.add_argument("kind", metavar="algos|tasks|presets")
    add_import(parser)
    args = parser.parse(arguments)
    for name in args.imports:
        import_module(name)
    if args.kind not in _KINDS:
        raise unknown("kind of list", args.kind, _KINDS)
    rows = {"algos": _algos, "tasks": _tasks, "presets": _presets}[args.kind]()
    if args.json and args.kind in _OPTIONS:
        rows = [{**row, "options": _OPTIONS[args.kind](row["name"])} for row in rows]
    text = "\n".join(f"{row['name']:<20} {row.get('summary', '')}".rstrip() for row in rows)
    return Result(rows, text + _MORE.get(args.kind, ""), args.json)


def _algos() -> list[dict[str, str]]:
    return [{"name": e.name, "summary": e.summary, "arrays": e.arrays} for e in list_algorithms()]


def _tasks() -> list[dict[str, str]]:
    import diffsim_core

    return [{"name": name} for name in diffsim_core.list_tasks()]


def _of_algorithm(name: str) -> list[dict[str, Any]]:
    return [option.to_json() for option in field_types(get_algorithm(name).config_class()).values()]


def _of_task(name: str) -> list[dict[str, Any]] | None:
    """The options of a task; None if what it needs is not installed."""
    import diffsim_core

    try:
        return [option.to_json() for option in diffsim_core.task_options(name).known.values()]
    except ImportError:
        return None


_OPTIONS = {"algos": _of_algorithm, "tasks": _of_task}
"""What ``--json`` adds. It imports the tasks or the algorithms, which the list alone does not."""


def _presets() -> list[dict[str, Any]]:
    import diffsim_core

    rows, pairs, known = [], list_presets(), diffsim_core.list_tasks()
    for algorithm, name in pairs:
        updates, worlds = preset_size(algorithm, name)
        summary = f"{updates} updates of {worlds} worlds"
        tasks = [name] if name in known else []
        tasks += [t for t in known if diffsim_core.task_family(t) == name and (algorithm, t) not in pairs]
        if tasks != [name]:
            summary += f", for the family {name}{': ' if tasks else ''}{', '.join(tasks)}"
        row = {"name": f"{algorithm}-{name}", "algorithm": algorithm, "task": name, "tasks": tasks, "summary": summary}
        rows.append(row)
    for algorithm, reading in list_readings():
        row = {"name": f"{algorithm} --reading {reading}", "algorithm": algorithm, "reading": reading, "tasks": known}
        rows.append({**row, "summary": "for every task"})
    return rows
