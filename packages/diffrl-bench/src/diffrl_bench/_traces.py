"""Metrics of a suite's runs over their updates, and the best return of each run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._record import Row
from ._results import cell

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


def traces_of(metrics: Path, names: Sequence[str]) -> dict[str, list[float | None]]:
    """Metrics of a run for its record, thinned, and ``iteration``.

    A metric that an algorithm does not have, or not yet, is null.
    """
    lines = _lines(metrics)
    keep = np.unique(np.linspace(0, len(lines) - 1, TRACE_POINTS).round().astype(int)) if lines else []
    return {name: [_rounded(lines[k].get(name)) for k in keep] for name in ("iteration", *names)}


def read_traces(rows: Sequence[Row]) -> Traces:
    """The metrics that records hold.

    Raises:
        ValueError: none holds any.
    """
    found = {row["run"]: row["traces"] for row in rows if row.get("traces")}
    if not found:
        raise ValueError("no result has traces; run a suite that keeps traces first: diffrl bench run")
    return {run: {name: np.array(values, dtype=float) for name, values in each.items()} for run, each in found.items()}


def _rounded(value: float | None) -> float | None:
    return cell(float(value)) if value is not None and math.isfinite(value) else None


def _lines(metrics: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()] if metrics.exists() else []
