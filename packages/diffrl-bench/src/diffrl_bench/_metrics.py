"""What tables sum up over seeds: fields of a record, and values that follow from them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ._record import Row

FINAL = "return_mean"
_AT = re.compile(r"return_at_([1-9]\d*)")


class Metric(NamedTuple):
    """A value of a finished run."""

    title: str
    unit: str
    about: str
    of: Callable[[Row], float | None]
    """None if the run does not have it."""


def _field(name: str, title: str, unit: str, about: str) -> tuple[str, Metric]:
    return name, Metric(title, unit, about, lambda row: row.get(name))


def _update_cpu_ms(row: Row) -> float | None:
    return None if row.get("cpu_s") is None or not row["iterations"] else 1e3 * row["cpu_s"] / row["iterations"]


_METRICS = dict(
    [
        _field(FINAL, "Final return", "return", "deterministic policy at the end of a run, new worlds"),
        _field(
            "return_best",
            "Best return",
            "return",
            "largest mean return of the last 100 training episodes of a run, over all updates",
        ),
        _field("wall_s", "Training time", "s", "wall time of training, without start and evaluation"),
        _field("forward_s", "Simulation, reward and observations", "s", "one update"),
        _field("backward_s", "Gradient and update of the policy", "s", "one update"),
        _field("critic_s", "Training of the critic", "s", "one update"),
        (
            "update_cpu_ms",
            Metric(
                "Processor time of an update",
                "ms",
                "processor time of a whole run, start and evaluation included, divided by its updates",
                _update_cpu_ms,
            ),
        ),
    ]
)


def metric_of(name: str) -> Metric:
    """The metric of a name; ``return_at_K`` is the training return after ``K`` updates.

    Raises:
        ValueError: there is none of that name.
    """
    if name in _METRICS:
        return _METRICS[name]
    if found := _AT.fullmatch(name):
        updates = int(found[1])
        about = "mean return of the last 100 training episodes by then, of the stochastic policy"
        return Metric(f"Return after {updates:,} updates", "return", about, lambda row: _return_at(row, updates))
    raise ValueError(f"unknown metric {name!r}; known: {', '.join(_METRICS)}, and return_at_K after K updates")


def _return_at(row: Row, updates: int) -> float | None:
    """The curve's last return until an update; None if the run ended before it, or no episode had."""
    if row["iterations"] < updates or row.get("curve") is None:
        return None
    points = zip(row["curve"]["iteration"], row["curve"]["return_mean"], strict=True)
    return next((value for iteration, value in reversed(list(points)) if iteration <= updates), None)
