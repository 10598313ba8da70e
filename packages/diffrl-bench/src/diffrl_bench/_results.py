"""Results of a suite in a folder, their curves, and their table.

results.jsonl   a record for each run, see ``_record``
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._record import CURVE_KEYS, Row
from ._record_file import NAME, read_rows
from ._text import count, rounded, table

CURVE_POINTS = 200
"""Points kept of each learning curve."""


def read_results(folder: Path) -> list[Row]:
    """The newest record of every run in a folder; none if there are no results.

    Raises:
        RecordError: a record is damaged, or records contradict each other.
    """
    return read_rows(folder / NAME)


def in_order(rows: Sequence[Row], names: Sequence[str], key: str = "run") -> list[Row]:
    """Rows in the order of a suite's runs; those of runs that it does not have, or not any more, come last."""
    place = {name: k for k, name in enumerate(names)}
    return sorted(rows, key=lambda row: place.get(row[key], len(place)))


def light(row: Row) -> Row:
    """A record without its series."""
    return {key: value for key, value in row.items() if key not in ("curve", "traces")}


def curves_of(rows: Sequence[Row]) -> dict[str, np.ndarray[Any, Any]]:
    """``[points, 4]`` for each run that has a curve: iteration, control steps, seconds of training, mean return."""
    return {row["run"]: as_points(row["curve"]) for row in rows if row.get("curve") is not None}


def as_points(curve: dict[str, list[float]]) -> np.ndarray[Any, Any]:
    """``[points, 4]`` of a record's ``curve``."""
    return np.array([curve[key] for key in CURVE_KEYS], dtype=float).T


def as_curve(points: np.ndarray[Any, Any]) -> dict[str, list[float]]:
    """The other way round, with seven digits."""
    return {key: [cell(float(value)) for value in points[:, k]] for k, key in enumerate(CURVE_KEYS)}


def curve(metrics: Path) -> np.ndarray[Any, Any]:
    """``[points, 4]`` from a run's ``metrics.jsonl``, at most ``CURVE_POINTS``, without lines that have no return."""
    points = []
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else ():
        values = json.loads(line)
        if values["return_mean"] is not None:
            points.append([float(values[key]) for key in CURVE_KEYS])
    if not points:
        return np.empty((0, len(CURVE_KEYS)))
    keep = np.unique(np.linspace(0, len(points) - 1, CURVE_POINTS).round().astype(int))
    return np.array(points)[keep]


def learner(row: Row) -> str:
    """The name that a row was given; else its algorithm, and its variant if it has one: ``shac``, ``shac (long)``."""
    if row.get("name"):
        return str(row["name"])
    return f"{row['algorithm']} ({row['variant']})" if row.get("variant") else row["algorithm"]


def problem(row: Row) -> str:
    """What a row was learned on: its task, and what tells that from another problem of it: ``ant``, ``ant, stiff``."""
    return f"{row['task']}, {row['problem']}" if row.get("problem") else row["task"]


def grouped(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """The seeds of each algorithm, or variant of it, and problem: ``{(learner, problem): rows}``."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((learner(row), problem(row)), []).append(row)
    return groups


def facts_of(rows: Sequence[Row], what: str) -> str:
    """How many of a suite's runs or measurements are finished, on what machines and of what commits, in words."""
    if not rows:
        return f"no {what} yet"
    finished = [row for row in rows if row["status"] == "finished"]
    machines = sorted({row["machine"] for row in finished if row["machine"]})
    commits = sorted({row["commit"][:7] for row in finished if row["commit"]})
    parts = [f"{len(finished)} of {count(len(rows), what)} finished", *machines]
    return "; ".join([*parts, f"{count(len(commits), 'commit')}: {', '.join(commits)}"] if commits else parts)


def summarise(rows: Sequence[Row]) -> list[Row]:
    """One row for each algorithm, variant and task: median and quartiles over seeds of the finished runs' returns."""
    return [_summary(group) for group in grouped(rows).values()]


def table_text(rows: Sequence[Row], *, markdown: bool) -> str:
    """Summary over seeds, then every run."""
    groups = [
        (
            f"{learner(g)} {problem(g)}",
            f"{g['finished']} of {g['runs']}",
            _number(g["return_median"]),
            f"{_number(g['return_q25'])} to {_number(g['return_q75'])}",
            f"{_number(g['return_min'])} to {_number(g['return_max'])}",
            f"{g['env_steps_median']:,.0f}" if g["finished"] else "-",
            _span(g["wall_s_median"], g["wall_s_max"]),
        )
        for g in summarise(rows)
    ]
    head = ("", "seeds", "return, median", "quartiles", "range", "control steps", "training s, median (longest)")
    runs = [
        (
            row["run"],
            row["status"],
            f"{_number(row.get('return_mean'))} ± {_number(row.get('return_std'))}",
            str(row.get("episodes") or "-"),
            rounded(row.get("wall_s")),
            str(row.get("threads") or "-"),
            row.get("machine") or "-",
        )
        for row in rows
    ]
    runs_head = ("run", "status", "return ± sd of episodes", "episodes", "training s", "threads", "machine")
    return "\n\n".join([table(head, groups, markdown=markdown), table(runs_head, runs, markdown=markdown)])


def _summary(rows: Sequence[Row]) -> Row:
    finished = [row for row in rows if row["status"] == "finished"]
    summary: Row = {key: rows[0][key] for key in ("algorithm", "variant", "task", "problem") if key in rows[0]}
    summary |= {"runs": len(rows), "finished": len(finished)}
    returns, walls, steps = ([row[key] for row in finished] for key in ("return_mean", "wall_s", "env_steps"))
    named = {"min": 0, "q25": 25, "median": 50, "q75": 75, "max": 100}
    for key, values in (("return", returns), ("wall_s", walls), ("env_steps", steps)):
        summary |= {f"{key}_{n}": float(np.percentile(values, q)) if values else None for n, q in named.items()}
    machines = sorted({row["machine"] for row in finished})
    return {**summary, "machine": "; ".join(machines) or None}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _span(median: float | None, longest: float | None) -> str:
    return "-" if median is None else f"{rounded(median)} ({rounded(longest)})"


def rows_to_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table for a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def cell(value: Any) -> Any:
    """A value as a cell of a spreadsheet."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(f"{value:.7g}")
    if isinstance(value, dict):
        return json.dumps(value)
    return " ".join(map(str, value)) if isinstance(value, list) else value


def write_whole(file: Path, text: str) -> None:
    """Write a file atomically."""
    part = file.with_name(file.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, file)
