"""Trainings that go on side by side, whose updates are computed together."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from . import _processes

if TYPE_CHECKING:
    from ._algorithm import Metrics
    from ._train import TrainResult

Training = Generator[Any, "tuple[Any, Metrics] | None", "TrainResult"]
"""A training that waits for its next update: it gives the state before, and is sent what ``update`` makes of it, or
None, which interrupts it."""


class Clock:
    """Time of training, without evaluations; those of trainings that go on together count for none of them."""

    def __init__(self) -> None:
        self.left_out = 0.0
        """Time of evaluations [s]."""

    def now(self) -> float:
        """Time [s] from any beginning."""
        return time.perf_counter() - self.left_out


def train_together(
    trainings: Sequence[Training],
    update: Callable[[Sequence[Any]], Sequence[tuple[Any, Metrics]]],
    interrupt: Callable[[], bool],
) -> list[TrainResult]:
    """Let trainings go on side by side, all by one update, until the last of them has ended.

    Args:
        trainings: see ``begin_training``.
        update: all states to what an algorithm's ``update`` gives for each. Where a training has ended, its last state
            stays in its place, so that the number is always the same, and what comes of it is not used.
        interrupt: asked before every update; True ends all of them.

    Raises:
        BaseException: what an update or a training raises, after all of them have saved what they can.
    """
    states: list[Any] = [None] * len(trainings)
    results: dict[int, TrainResult] = {}

    def advance(k: int, updated: Any) -> None:
        try:
            states[k] = trainings[k].send(updated)
        except StopIteration as end:
            results[k] = end.value
            states[k] = results[k].state

    try:
        for k in range(len(trainings)):
            advance(k, None)
        while len(results) < len(trainings):
            stop = _processes.any_of(interrupt())
            for k, updated in enumerate([None] * len(trainings) if stop else update(states)):
                if k not in results:
                    advance(k, updated)
    except BaseException as error:
        for training in trainings:
            _end(training, error)
        raise
    return [results[k] for k in range(len(trainings))]


def _end(training: Training, error: BaseException) -> None:
    """End a training by an error, which it raises again, even if it has ended already."""
    try:
        training.throw(error)
    except BaseException as other:
        if other is not error:
            raise
