"""How much of a suite is done, and how long the rest takes at the rates that were measured."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from ._suite import PlannedRun

_COUNTED = {"iterations": "iteration", "seconds": "wall_s"}
"""What a line of ``metrics.jsonl`` calls a budget, where that is another name."""
_TAIL_BYTES = 64 * 2**10
"""Read of the end of ``metrics.jsonl``: some hundred updates."""


class Progress(NamedTuple):
    """How far a training is."""

    fraction: float = 0.0
    """Part of its budget that is used, from 0 to 1."""
    seconds: float | None = None
    """Time of training that the whole budget takes at the rate of the last updates [s]; None where it is not known."""


def progress_of(folder: Path) -> Progress:
    """How far the training in a run folder is, from its budget and the last lines of its ``metrics.jsonl``."""
    try:
        budget = json.loads((folder / "run.json").read_text(encoding="utf-8"))["budget"]
        with (folder / "metrics.jsonl").open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
        (name, most), *_ = ((str(name), float(value)) for name, value in budget.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Progress()
    return _rate(_points(lines, _COUNTED.get(name, name), most))


def _points(lines: Iterable[str], key: str, most: float) -> list[tuple[float, float]]:
    """``(used part, seconds of training)`` of each line that is whole."""
    points = []
    for line in lines:
        try:
            values = json.loads(line)
            points.append((float(values[key]) / most, float(values["wall_s"])))
        except (ValueError, KeyError, TypeError):
            continue  # the first and the last line may be torn
    return points


def _rate(points: Sequence[tuple[float, float]]) -> Progress:
    if not points:
        return Progress()
    (begin, began), (part, now) = points[0], points[-1]
    if part > begin:
        return Progress(min(part, 1.0), (now - began) / (part - begin))
    return Progress(min(part, 1.0), now / part if part > 0 else None)


def seconds_left(
    plan: Sequence[PlannedRun],
    seconds: Mapping[str, float],
    running: Mapping[str, Progress],
    waiting: Mapping[str, Progress],
    slots: int,
) -> float | None:
    """Time until the last run ends [s]; None while nothing is known about one of them.

    A run of which nothing is known takes what others of its algorithm, task and variant take, or else what others of
    its task do, or else all. Runs that wait begin in their order as soon as a slot is free.

    Args:
        plan: all runs.
        seconds: time of finished runs, by name [s].
        running: how far the running ones are.
        waiting: how far those are that wait; some may have begun before.
        slots: runs at a time.
    """
    of = {run.name: run for run in plan}
    measured = {name: one.seconds for name, one in {**running, **waiting}.items() if one.seconds is not None}
    known = {name: value for name, value in {**seconds, **measured}.items() if name in of}

    def left(name: str, progress: Progress) -> float | None:
        whole = known[name] if name in known else _expected(of[name], [(of[other], known[other]) for other in known])
        return None if whole is None else (1 - progress.fraction) * whole

    ends = [left(name, one) for name, one in running.items()]
    times = [left(name, one) for name, one in waiting.items()]
    if None in ends or None in times:
        return None
    return last_end([end for end in ends if end is not None], [time for time in times if time is not None], slots)


def _expected(run: PlannedRun, known: Sequence[tuple[PlannedRun, float]]) -> float | None:
    """The mean time of the runs that are most like this one."""
    kinds: list[Callable[[PlannedRun], Any]] = [
        lambda one: (one.algorithm, one.task, one.problem, one.variant),
        lambda one: (one.task, one.problem),
        lambda one: one.task,
        lambda one: None,
    ]
    for kind in kinds:
        if times := [seconds for other, seconds in known if kind(other) == kind(run)]:
            return fmean(times)
    return None


def last_end(ends: Sequence[float], times: Sequence[float], slots: int) -> float:
    """When the last one ends, where some end at ``ends`` and others of these ``times`` follow them in free slots."""
    free = [*ends, *[0.0] * (max(1, slots) - len(ends))]
    heapq.heapify(free)
    last = max(ends, default=0.0)
    for time in times:
        end = heapq.heappop(free) + time
        heapq.heappush(free, end)
        last = max(last, end)
    return last
