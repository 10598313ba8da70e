"""Gymnasium's asynchronous worlds, whose processes leave the signals of a terminal or a batch system to the main one.

Those reach every process of a group. Workers that died of them would take along the step that is under way in the main
process, which may want to finish it and save its work. They end when the main process closes them, or ends itself.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.util import Finalize
from typing import Any

import gymnasium
from gymnasium.vector import AsyncVectorEnv
from gymnasium.vector.async_vector_env import AsyncState

from diffsim_core._signals import ENDING


class Workers(AsyncVectorEnv):
    """``AsyncVectorEnv`` with a process for each function of ``make``, started by spawn, not fork.

    A forked copy of a process with threads (torch's, JAX's) may deadlock.

    Raises:
        ConnectionError: in a step or a reset, a process has ended.
    """

    def __init__(self, make: Sequence[Callable[[], gymnasium.Env[Any, Any]]], **options: Any) -> None:
        self.processes: list[Any] = []
        try:
            with _blocked():
                super().__init__([_Shielded(one) for one in make], context="spawn", **options)
        except BaseException:
            _kill(self.processes)
            raise
        for process in self.processes:
            process.terminate = process.kill  # what Gymnasium ends them by; SIGTERM they ignore
        # Before multiprocessing ends what is left by SIGTERM and waits for it.
        Finalize(self, _kill, args=(self.processes,), exitpriority=10)

    def step_wait(self, timeout: float | None = None) -> Any:
        with self._watched():
            return super().step_wait(timeout)

    def step_async(self, actions: Any) -> None:
        with self._watched():
            super().step_async(actions)

    def reset_wait(self, timeout: float | None = None) -> Any:
        with self._watched():
            return super().reset_wait(timeout)

    def reset_async(self, seed: Any = None, options: Any = None) -> None:
        with self._watched():
            super().reset_async(seed=seed, options=options)

    def close_extras(self, timeout: float | None = None, terminate: bool = False) -> None:
        super().close_extras(timeout, terminate or not all(process.is_alive() for process in self.processes))

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError):
            ended = [f"{k} (exit code {p.exitcode})" for k, p in enumerate(self.processes) if p.exitcode is not None]
            _kill(self.processes)
            self._state = AsyncState.DEFAULT  # nothing is awaited any more, so that closing does not
            raise ConnectionError(
                f"the processes of worlds {', '.join(ended) or 'unknown'} have ended: killed, or out of memory"
            ) from None


class _Shielded:
    """Makes an environment; in a process of its own that process ignores the signals that end the main one."""

    def __init__(self, make: Callable[[], gymnasium.Env[Any, Any]]) -> None:
        self._make, self._main = make, os.getpid()

    def __call__(self) -> gymnasium.Env[Any, Any]:
        if os.getpid() != self._main:
            for number in ENDING:
                signal.signal(number, signal.SIG_IGN)
            if hasattr(signal, "pthread_sigmask"):
                signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return self._make()


@contextlib.contextmanager
def _blocked() -> Iterator[None]:
    """Block the signals in this thread and so in the processes that it starts, until these ignore them themselves."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        # It unblocks them when it starts, so it has to run before the first worker starts.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(processes: Sequence[Any]) -> None:
    for process in processes:
        with contextlib.suppress(ValueError):  # it is closed
            if process.is_alive():
                process.kill()
