"""``beside``: a call on another core, while the caller goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Result = TypeVar("Result")


def beside(call: Callable[[], Result]) -> Callable[[], Result]:
    """Begin a call in a thread of its own; without a second core it runs when its result is asked for.

    It should spend its time where Python's lock is free, and must use nothing that the caller changes meanwhile.

    Returns:
        A function that waits for the result. An error of the call is raised there.
    """
    from diffsim_core.native import default_threads  # which loads the compiler, as do calls that are worth a thread

    if default_threads() < 2:
        return call
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # the caller's to handle, whatever it is
            future.set_exception(error)

    threading.Thread(target=run, name="diffrl-beside").start()
    return future.result
