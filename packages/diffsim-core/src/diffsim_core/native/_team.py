"""Threads that share a step on a CPU; the native side, and how they meet, is ``_source/team.h``."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
import warp as wp

_PATIENCE = 30_000
"""Turns of a waiting helper before it goes to sleep: about a millisecond, what a policy takes between two steps."""
_USUAL_STACK = 1 << 20
"""Bytes of local arrays that every thread has room for."""
_STACK_SIZE = threading.Lock()
"""Of Python's one setting for the threads that it starts."""
# positions in the pool, as in team.h
_JOBS, _TABLE, _POOL = 17, 18, 24


class Team:
    """The caller and ``threads - 1`` helpers, which start when first needed and sleep when there is nothing to do.

    Where the functions' local arrays need more than a thread usually has, ``stack`` bytes, a thread that has room
    works in the caller's place.
    """

    def __init__(self, lead: wp.Kernel, follow: wp.Kernel, threads: int, stack: int = 0) -> None:
        self._pool = aligned(_POOL)
        address = self._pool.ctypes.data
        self._lead = _recorded(lead, address)
        self._follow = _recorded(follow, address, _PATIENCE)
        self._threads = threads
        self._stack = stack if stack > _USUAL_STACK else 0
        self._helpers: Helpers | None = None
        self._leader: Leader | None = None

    def run(self, jobs: int, table: int, helpers: int) -> None:
        """Do as many jobs as there are in the table at this address, up to ``helpers`` of the helpers woken for it."""
        pool = self._pool
        pool[_JOBS] = jobs
        pool[_TABLE] = table
        if helpers:
            if self._helpers is None:
                self._helpers = Helpers(self._threads - 1, _Following(self._follow, pool), self._stack)
            self._helpers.wake(helpers)
        if not self._stack:
            self._lead.launch()
            return
        if self._leader is None:
            self._leader = Leader(self._stack, _Following(self._lead, pool))
        self._leader.work()


class _Following:
    """What a thread does while awake; holds the pool, which must outlive every thread that looks at it."""

    def __init__(self, command: Any, pool: Any) -> None:
        self.command = command
        self.pool = pool

    def __call__(self) -> None:
        self.command.launch()


class Helpers:
    """``number`` threads that call ``follow`` each time they are woken.

    Those that together with the caller fill every core of the process each keep to one core: woken after a pause they
    were otherwise seen to queue up on one core, beside idle ones, for a tenth of a second.
    """

    def __init__(self, number: int, follow: Callable[[], None], stack: int = 0) -> None:
        # a queue for each, because several puts to a shared one may wake a single thread
        self._calls: list[SimpleQueue[bool]] = [SimpleQueue() for _ in range(number)]
        self._asleep = [True] * number
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        for k, calls in enumerate(self._calls):
            core = cores[k + 1] if len(cores) == number + 1 else None
            arguments = (calls, self._asleep, k, core, follow)
            _start(_help, arguments, f"diffsim-{k + 1}", stack)
        weakref.finalize(self, _dismiss, self._calls)

    def wake(self, number: int) -> None:
        """Wake those of the first ``number`` helpers that sleep; nobody waits for them."""
        for k in range(number):
            if self._asleep[k]:
                self._asleep[k] = False
                self._calls[k].put(True)


class Leader:
    """A thread with a stack of that many bytes that does ``work`` for callers, who wait for it one at a time."""

    def __init__(self, stack: int, work: Callable[[], None]) -> None:
        self._calls: SimpleQueue[bool] = SimpleQueue()
        self._done: SimpleQueue[BaseException | None] = SimpleQueue()
        _start(_serve, (self._calls, self._done, work), "diffsim-0", stack)
        weakref.finalize(self, _dismiss, [self._calls])

    def work(self) -> None:
        """Have it done; what it raises is raised here."""
        self._calls.put(True)
        try:
            failed = self._done.get()
        except BaseException:  # an interrupt, say: the caller's arrays are in use until the work is done
            self._done.get()
            raise
        if failed is not None:
            raise failed


def _serve(calls: SimpleQueue[bool], done: SimpleQueue[BaseException | None], work: Callable[[], None]) -> None:
    while calls.get():
        try:
            work()
        except BaseException as failed:
            done.put(failed)
        else:
            done.put(None)


def _start(target: Callable[..., None], arguments: tuple[Any, ...], name: str, stack: int) -> None:
    """Start a thread with a stack of that many bytes; 0 for the usual one."""
    thread = threading.Thread(target=target, args=arguments, name=name, daemon=True)
    with _STACK_SIZE:
        usual = threading.stack_size(-(-stack // _USUAL_STACK) * _USUAL_STACK + _USUAL_STACK) if stack else None
        try:
            thread.start()
        finally:
            if usual is not None:
                threading.stack_size(usual)


def _help(calls: SimpleQueue[bool], asleep: list[bool], k: int, core: int | None, follow: Callable[[], None]) -> None:
    if core is not None:
        os.sched_setaffinity(0, {core})  # of this thread alone
    while calls.get():
        follow()
        # A call between these two lines is missed, which costs one step one helper.
        asleep[k] = True


def _dismiss(queues: list[SimpleQueue[bool]]) -> None:
    for calls in queues:
        calls.put(False)


def _recorded(kernel: wp.Kernel, *inputs: int) -> Any:
    return wp.launch(kernel, dim=1, inputs=list(inputs), device="cpu", record_cmd=True)


def aligned(size: int, dtype: Any = np.int64) -> Any:
    """``size`` numbers, all 0, that begin on a cache line."""
    needed = size * np.dtype(dtype).itemsize
    room = np.zeros(needed + 64, np.uint8)
    first = -room.ctypes.data % 64
    return room[first : first + needed].view(dtype)
