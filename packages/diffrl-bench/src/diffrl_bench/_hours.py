"""Core hours that the missing runs of a suite would take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from ._record import Row, settings_of
from ._record_file import Line
from ._results import learner, problem
from ._rows import planned_row
from ._side_file import told
from ._suite import PlannedRun, Suite
from ._text import count, rounded


class Hours(NamedTuple):
    """Core hours of one run, and how they are known."""

    each: float
    source: str


@dataclass(frozen=True)
class Experiment:
    """The seeds of one algorithm, or variant of it, on one task or problem."""

    learner: str
    task: str
    run: PlannedRun
    """The first seed."""
    missing: int
    """Runs that are not finished."""
    measured: Hours | None
    """From finished runs."""


def experiments(suite: Suite, rows: Sequence[Row]) -> list[Experiment]:
    """Everything that a suite trains, in its order."""
    groups: dict[tuple[str, str], list[PlannedRun]] = {}
    for run in suite.runs:
        row = planned_row(run, "unfinished")
        groups.setdefault((learner(row), problem(row)), []).append(run)
    ended = [row for row in rows if row["status"] == "finished"]
    found: list[Experiment] = []
    for (name, task), runs in groups.items():
        of_it = [row for row in ended if (learner(row), problem(row)) == (name, task)]
        seeds = {row["seed"] for row in of_it}
        missing = sum(run.seed not in seeds for run in runs)
        found.append(Experiment(name, task, runs[0], missing, _measured(of_it)))
    return found


def _measured(rows: Sequence[Row]) -> Hours | None:
    times = [float(row["cpu_s"]) for row in rows if row.get("cpu_s") is not None and not row.get("smoke")]
    if not times:
        return None
    return Hours(fmean(times) / 3600, f"the mean processor time of {count(len(times), 'finished run')}")


def hours_of(suite: Suite, rows: Sequence[Row], estimates: Sequence[Line]) -> dict[tuple[str, str], Hours]:
    """Core hours of a run of each (learner, task) of which runs are missing, where they are known.

    Finished runs come before estimates, and of estimates the newest counts. An estimate of other settings does not.
    """
    found: dict[tuple[str, str], Hours] = {}
    for one in experiments(suite, rows):
        if one.missing and (hours := one.measured or _estimated(one, estimates)) is not None:
            found[one.learner, one.task] = hours
    return found


def _estimated(one: Experiment, estimates: Sequence[Line]) -> Hours | None:
    wanted = settings_of(planned_row(one.run, "unfinished"))
    for number, row in reversed(estimates):
        if settings_of(row) == wanted:
            source = (
                f"{rounded(row['cpu_s_per_update'])} s of processor time an update, the median of {row['measured']} "
                f"after {row['warm_up']}, times {row['updates']:,} updates; line {number} of estimates.jsonl, "
                f"{told(row)}: diffrl bench run {row['suite']} --estimate"
            )
            return Hours(row["core_hours"], source)
    return None
