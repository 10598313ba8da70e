"""Timing that is robust on a busy machine: consecutive laps, wall and processor time, interleaved repeats."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple


class Lap(NamedTuple):
    """Duration of one part."""

    wall: float
    """Wall-clock time [s]."""
    cpu: float
    """Processor time of the whole process, all threads together [s]."""


def _nothing() -> None:
    """Do nothing: a CPU has no queue to wait for."""


@dataclass(frozen=True)
class Clock:
    """The source of times; tests use their own."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    wait: Callable[[], Any] = _nothing
    """Called before each reading: on a GPU, waits for the work enqueued so far."""

    def read(self) -> Lap:
        """Both times, after everything enqueued is done."""
        self.wait()
        return Lap(self.wall(), self.cpu())


class Stopwatch:
    """Measures consecutive parts of one repeat: ``restart``, work, ``lap("forward")``, work, ``lap("backward")``."""

    def __init__(self, clock: Clock) -> None:
        self.laps: dict[str, Lap] = {}
        self._clock = clock
        self._last = clock.read()

    def restart(self) -> None:
        """Begin a part here; the time since the last lap does not count."""
        self._last = self._clock.read()

    def lap(self, part: str) -> None:
        """End the part that began at the last lap or restart."""
        now = self._clock.read()
        self.laps[part] = Lap(now.wall - self._last.wall, now.cpu - self._last.cpu)
        self._last = now


Progress = Callable[[str, float], None]
"""Told the name of a part of the work, and how much of it is done, from 0 to 1."""


def unseen(part: str, done: float) -> None:
    """Progress that nobody looks at."""


Laps = dict[str, list[Lap]]
"""Laps of each part of one case, one for each repeat."""


def interleave(
    cases: Mapping[str, Callable[[Stopwatch], None]],
    *,
    repeats: int,
    warm_up: int = 2,
    clock: Clock | None = None,
    progress: Progress = unseen,
    part: str = "repeats",
) -> dict[str, Laps]:
    """Run every case once in each repeat, so that a disturbance of the machine affects all cases alike.

    Each repeat begins with another case, so that no case always follows the same one. Python's cyclic garbage collector
    is off meanwhile.

    Args:
        cases: the cases to time; each calls ``restart`` and ``lap`` of the stopwatch that it is given.
        repeats: repeats that count.
        warm_up: repeats before them that do not count.
        clock: source of times, by default the computer's.
        progress: told before each case how much is done.
        part: name of this work for ``progress``.
    """
    clock = clock or Clock()
    names = list(cases)
    found: dict[str, Laps] = {name: {} for name in names}
    with _no_garbage_collection():
        for repeat in range(-warm_up, repeats):
            shift = repeat % len(names)
            for k, name in enumerate(names[shift:] + names[:shift]):
                progress(part, (repeat + warm_up + k / len(names)) / (repeats + warm_up))
                watch = Stopwatch(clock)
                cases[name](watch)
                if repeat >= 0:
                    for lap_name, lap in watch.laps.items():
                        found[name].setdefault(lap_name, []).append(lap)
    return found


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, smallest and largest value, ready for JSON."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def busy_cores(laps: Sequence[Lap]) -> float:
    """Processor time divided by wall time: the mean number of busy cores."""
    wall = sum(lap.wall for lap in laps)
    return sum(lap.cpu for lap in laps) / wall if wall > 0 else 0.0


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    before = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
