"""What the records of a suite say: interquartile means with intervals, next to papers' numbers, and pairs of learners.

A table, a figure and a page show the same summary. What was not run, or failed, is a cell without runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ._hours import Hours, experiments, hours_of
from ._metrics import FINAL, Metric, metric_of
from ._record import Row
from ._record_file import Line
from ._references import Reference
from ._results import learner, problem
from ._rows import planned_row
from ._statistics import (
    Interval,
    Spread,
    holm,
    improvement,
    improvement_interval,
    iqm,
    iqm_interval,
    permutation_p,
    spread,
    too_few,
)
from ._suite import Suite
from ._transfers import Transferred, transfers_of

SMOKE = "A smoke run: a few updates that show that the suite runs. These are no results."


@dataclass(frozen=True)
class Cell:
    """One learner on one task: its finished runs, and what papers say."""

    learner: str
    task: str
    metric: str
    rows: tuple[Row, ...]
    """Finished runs that have the metric."""
    others: tuple[Row, ...]
    """Runs that failed, go on, or ended without the metric."""
    planned: int
    """Runs of the suite."""
    references: tuple[Reference, ...]
    missing: int = 0
    """Runs of the suite that are not finished."""
    hours: Hours | None = None
    """Core hours of one of them, where they are known."""

    @cached_property
    def values(self) -> list[float]:
        return [value for row in self.rows if (value := self.value_of(row)) is not None]

    def value_of(self, row: Row) -> float | None:
        """The metric of a run; None if it does not have it."""
        return metric_of(self.metric).of(row)

    @cached_property
    def iqm(self) -> float | None:
        return iqm(self.values) if self.rows else None

    @cached_property
    def mean(self) -> float | None:
        return float(np.mean(self.values)) if self.rows else None

    @cached_property
    def interval(self) -> Interval | None:
        return iqm_interval([self.values]) if self.rows else None

    @cached_property
    def spread(self) -> Spread | None:
        return spread(self.values) if self.rows else None

    @property
    def note(self) -> str:
        """Why something is missing; empty if nothing is."""
        if self.rows:
            return too_few([len(self.rows)]) if self.interval is None else ""
        failed = [row for row in self.others if row["status"] == "failed"]
        if failed:
            return f"failed: {failed[0]['error']}"
        if any(row["status"] == "finished" for row in self.others):
            return "missing: no run has it"
        if self.others:
            return "missing: not finished"
        return "missing: not run" if self.planned else "missing: not in the suite"

    @property
    def core_hours(self) -> float | None:
        """What all missing runs would take; None if none is missing, or that is not known."""
        return self.missing * self.hours.each if self.missing and self.hours is not None else None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "learner": self.learner,
            "task": self.task,
            "metric": self.metric,
            "seeds": len(self.rows),
            "planned": self.planned,
            "runs": [row["run"] for row in self.rows],
            "iqm": self.iqm,
            "interval": _listed(self.interval),
            "mean": self.mean,
            "spread": None if self.spread is None else self.spread._asdict(),
            "papers": [_paper(one) for one in self.references],
            "note": self.note,
            "missing": self.missing,
            "missing_core_hours": self.core_hours,
        }


@dataclass(frozen=True)
class Section:
    """All cells of one metric."""

    metric: str
    cells: tuple[Cell, ...]

    @property
    def what(self) -> Metric:
        """What the metric is, in words."""
        return metric_of(self.metric)

    @property
    def papers(self) -> list[str]:
        """Papers and tables of the references: ``GI-PPO, Table 1``."""
        return list(dict.fromkeys(f"{one.paper}, {one.place}" for cell in self.cells for one in cell.references))


@dataclass(frozen=True)
class Pair:
    """A learner against the first one of a task, by final returns."""

    task: str
    learner: str
    base: str
    seeds: tuple[int, int]
    improvement: float
    """Probability that a run of ``learner`` is better than one of ``base``."""
    interval: Interval | None
    p: float
    """Of the exact permutation test of ranks."""
    p_holm: float
    """Adjusted for the number of learners that the task compares with its first one."""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "seeds": list(self.seeds), "interval": _listed(self.interval)}


@dataclass(frozen=True)
class Overall:
    """A learner over all tasks of a suite, by normalised final returns."""

    learner: str
    scores: tuple[tuple[float, ...], ...]
    """Of each task: 0 is the worst run of any learner on it, 1 the best."""
    iqm: float
    interval: Interval | None

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {"learner": self.learner, "iqm": self.iqm, "interval": _listed(self.interval)}


class Missing(NamedTuple):
    """Runs that are not finished."""

    runs: int
    core_hours: float | None
    """Of those of which they are known."""
    all_known: bool


@dataclass(frozen=True)
class Summary:
    """A suite's results, or what a smoke run of it left."""

    suite: Suite
    rows: tuple[Row, ...]
    sections: tuple[Section, ...]
    pairs: tuple[Pair, ...]
    overall: tuple[Overall, ...]
    """Learners that ran on every task, best first; empty if there is one task or one such learner."""
    statements: tuple[Reference, ...]
    """Numbers of papers that are not of a table."""
    transfers: tuple[Transferred, ...] = ()
    """What policies keep in MuJoCo C."""

    @property
    def missing(self) -> Missing:
        """All runs of the suite that are not finished."""
        final = next(section for section in self.sections if section.metric == FINAL)
        cells = [cell for cell in final.cells if cell.missing]
        known = [cell.core_hours for cell in cells if cell.core_hours is not None]
        return Missing(sum(cell.missing for cell in cells), sum(known) if known else None, len(known) == len(cells))

    @property
    def warning(self) -> str:
        """Why these are no results; empty if they are."""
        return SMOKE if any(row.get("smoke") for row in self.rows) else ""

    def to_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "suite": self.suite.name,
            "warning": self.warning,
            "missing": self.missing._asdict(),
            "cells": [cell.to_json() for section in self.sections for cell in section.cells],
            "pairs": [pair.to_json() for pair in self.pairs],
            "overall": [one.to_json() for one in self.overall],
            "statements": [_paper(one) for one in self.statements],
            "transfers": [one.to_json() for one in self.transfers],
        }


def summarise_suite(
    suite: Suite, rows: Sequence[Row], estimates: Sequence[Line] = (), transfers: Sequence[Line] = ()
) -> Summary:
    """The summary of records; every run of the suite and every number of its references has a cell.

    Args:
        suite: its runs.
        rows: their records.
        estimates: lines of ``estimates.jsonl``, for the core hours of missing runs.
        transfers: lines of ``transfers.jsonl``.
    """
    first = dict.fromkeys([*(one.metric for one in suite.references if one.metric), FINAL])
    metrics = dict.fromkeys([*first, *suite.metrics])
    lacking = {(one.task, one.learner): one.missing for one in experiments(suite, rows)}
    hours = hours_of(suite, rows, estimates)
    sections: list[Section] = []
    for metric in metrics:
        cells = _cells(suite, rows, metric)
        if metric in first:  # not to say what is missing again and again
            cells = [
                replace(one, missing=lacking.get((one.task, one.learner), 0), hours=hours.get((one.learner, one.task)))
                for one in cells
            ]
        sections.append(Section(metric, tuple(cells)))
    final = [cell for cell in sections[list(metrics).index(FINAL)].cells if cell.rows]
    return Summary(
        suite,
        tuple(rows),
        tuple(sections),
        tuple(_pairs(final)),
        tuple(sorted(_overall(final), key=lambda one: -one.iqm)),
        tuple(one for one in suite.references if not one.metric),
        tuple(transfers_of(rows, transfers)),
    )


def by_task(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Cells of each task."""
    found: dict[str, list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.task, []).append(cell)
    return found


def normalised(cells: Sequence[Cell]) -> list[list[float]]:
    """Values of each of a task's cells, from 0, the smallest of all, to 1, the largest."""
    every = [value for cell in cells for value in cell.values]
    low, width = min(every), max(every) - min(every)
    return [[(value - low) / width if width else 0.5 for value in cell.values] for cell in cells]


def _cells(suite: Suite, rows: Sequence[Row], metric: str) -> list[Cell]:
    groups: dict[tuple[str, str], tuple[list[Row], list[Row], list[Reference]]] = {}
    planned: dict[tuple[str, str], int] = {}
    for run in suite.runs:
        row = planned_row(run, "unfinished")
        key = (problem(row), learner(row))
        planned[key] = planned.get(key, 0) + 1
    of = metric_of(metric).of
    told = [one for one in suite.references if one.metric == metric]
    for key in [*planned, *((problem(row), learner(row)) for row in rows), *((one.task, one.learner) for one in told)]:
        groups.setdefault(key, ([], [], []))
    for row in rows:
        ended = row["status"] == "finished" and of(row) is not None
        finished, others, _ = groups[problem(row), learner(row)]
        (finished if ended else others).append(row)
    for one in told:
        groups[one.task, one.learner][2].append(one)
    cells = [
        Cell(name, task, metric, tuple(ended), tuple(others), planned.get((task, name), 0), tuple(references))
        for (task, name), (ended, others, references) in groups.items()
    ]
    return [cell for of_task in by_task(cells).values() for cell in of_task]


def _pairs(cells: Sequence[Cell]) -> list[Pair]:
    found = []
    for task, (base, *others) in by_task(cells).items():
        p_values = [permutation_p(cell.values, base.values) for cell in others]
        for cell, p, adjusted in zip(others, p_values, holm(p_values), strict=True):
            both = [(cell.values, base.values)]
            interval = improvement_interval(both)
            seeds = (len(cell.values), len(base.values))
            found.append(Pair(task, cell.learner, base.learner, seeds, improvement(both), interval, p, adjusted))
    return found


def _overall(cells: Sequence[Cell]) -> list[Overall]:
    tasks = by_task(cells)
    scores: dict[str, list[list[float]]] = {}
    for group in tasks.values():
        for cell, values in zip(group, normalised(group), strict=True):
            scores.setdefault(cell.learner, []).append(values)
    whole = {name: each for name, each in scores.items() if len(each) == len(tasks)}
    if len(tasks) < 2 or len(whole) < 2:
        return []
    return [
        Overall(name, tuple(map(tuple, each)), iqm([v for one in each for v in one]), iqm_interval(each))
        for name, each in whole.items()
    ]


def _listed(interval: Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _paper(one: Reference) -> Mapping[str, Any]:
    return {key: value for key, value in one.__dict__.items() if value not in ("", None)}
