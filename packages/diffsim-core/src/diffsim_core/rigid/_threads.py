"""Helper threads for work of a millisecond: handing it out must not cost a fifth of it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

Work = Callable[[], None]


class Helpers:
    """``number`` threads that run a function at the same time as the caller.

    ``concurrent.futures`` takes some 0.3 ms to start and collect three helpers; two queues take a third of that.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._todo: SimpleQueue[Work | None] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        for k in range(number):
            arguments = (self._todo, self._done)
            threading.Thread(target=_help, args=arguments, name=f"diffsim-{k + 1}", daemon=True).start()
        weakref.finalize(self, _dismiss, self._todo, number)

    def run(self, work: Work, helpers: int) -> None:
        """Run ``work`` here and in ``helpers`` of the threads; return when all are back, and raise what one raised."""
        for _ in range(helpers):
            self._todo.put(work)
        try:
            work()
        finally:
            errors = [self._done.get() for _ in range(helpers)]
        for error in errors:
            if error is not None:
                raise error


def _help(todo: SimpleQueue[Work | None], done: SimpleQueue[BaseException | None]) -> None:
    while (work := todo.get()) is not None:
        try:
            work()
        except BaseException as error:  # handed to the caller, who raises it
            done.put(error)
        else:
            done.put(None)


def _dismiss(todo: SimpleQueue[Work | None], number: int) -> None:
    for _ in range(number):
        todo.put(None)
