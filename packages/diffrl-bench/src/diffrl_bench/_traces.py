"""Metrics of a suite's runs over their updates, and the best return of each run.

traces.csv     the metrics that the suite names under ``traces``, thinned
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._results import cell, rows_to_csv, write_whole

TRACE_POINTS = 100
"""Points kept of each run."""

Traces = dict[str, dict[str, np.ndarray[Any, Any]]]
"""``{run: {metric: [points]}}``; ``iteration`` is one of the metrics."""


def best_return(metrics: Path) -> float | None:
    """The largest ``return_mean`` of a run's ``metrics.jsonl``; None if no episode finished.

    ``return_mean`` is the mean of the last 100 training episodes, with the stochastic policy.
    """
    values = [line["return_mean"] for line in _lines(metrics) if line["return_mean"] is not None]
    return max(values) if values else None


def write_traces(folder: Path, runs: Mapping[str, Path], names: Sequence[str]) -> None:
    """Collect metrics of run folders into ``traces.csv``; the metrics of other runs in it stay."""
    columns = ["iteration", *names]
    found = read_traces(folder) if (folder / "traces.csv").exists() else {}
    for run, path in runs.items():
        lines = _lines(path / "metrics.jsonl")
        keep = np.unique(np.linspace(0, len(lines) - 1, TRACE_POINTS).round().astype(int)) if lines else []
        kept = [lines[k] for k in keep]
        # A metric that an algorithm does not have, or not yet, becomes NaN.
        found[run] = {
            name: np.array([np.nan if line.get(name) is None else float(line[name]) for line in kept])
            for name in columns
        }
    rows = [[run, *map(cell, point)] for run in sorted(found) for point in _points(found[run], columns)]
    write_whole(folder / "traces.csv", rows_to_csv(["run", *columns], rows))


def read_traces(folder: Path) -> Traces:
    """The metrics that ``write_traces`` wrote.

    Raises:
        ValueError: there is no ``traces.csv``, or it is damaged.
    """
    file = folder / "traces.csv"
    if not file.exists():
        raise ValueError(f"{file} does not exist; run a suite that has traces first: diffrl bench run")
    lists: dict[str, dict[str, list[float]]] = {}
    try:
        for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))):
            run = lists.setdefault(row.pop("run"), {})
            for name, value in row.items():
                run.setdefault(name, []).append(float(value))
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{file} is damaged or was not written by diffrl bench run") from None
    return {run: {name: np.array(values) for name, values in columns.items()} for run, columns in lists.items()}


def _points(run: Mapping[str, np.ndarray[Any, Any]], columns: Sequence[str]) -> list[list[float]]:
    return np.stack([run[name] for name in columns], axis=1).tolist()


def _lines(metrics: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()] if metrics.exists() else []
