"""Signals that ask a command to end: obeyed at once, or, where something must not be cut off, after it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from diffsim_core._signals import ENDING as ENDING


class Interrupted(KeyboardInterrupt):
    """A signal ended the command. The message says what is left and how to go on."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(message or f"stopped by {name}")
        self.name = name
        """Name of the signal."""


def exit_code(name: str | None) -> int:
    """The exit code of a command that a signal ended, as shells have it: 130 for SIGINT; 0 without a signal."""
    return 0 if name is None else 128 + signal.Signals[name]


class StopSignals:
    """What ``stop_on_signals`` knows."""

    def __init__(self) -> None:
        self.received: str | None = None
        """Name of the first signal that has not been answered, or None."""
        self._held = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Signals are only noted in this block, in ``received``; a second Ctrl-C raises ``Interrupted`` even here."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    def obey(self) -> None:
        """Raise ``Interrupted`` for a signal that has ended nothing: it was held, or a destructor swallowed it."""
        if self.received is not None:
            raise Interrupted(self.received, f"{self.received} was lost on its way; something may have been cut off")

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler."""
        again = self.received is not None
        self.received = self.received or signal.Signals(number).name
        if not self._held or (again and number == signal.SIGINT):
            raise Interrupted(self.received)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopSignals]:
    """Turn Ctrl-C, SIGTERM and SIGHUP into ``Interrupted``, or, where they are held, into a note.

    Inside another such block it gives what that one has: Python ignores what is raised in a destructor or a callback of
    a library, and a signal that was lost so is then still known further in, and further out.

    A SIGHUP that is ignored (``nohup``) stays ignored. Outside the main thread, signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield StopSignals()
        return
    owners = (getattr(signal.getsignal(number), "__self__", None) for number in ENDING)
    stop = next((owner for owner in owners if isinstance(owner, StopSignals)), None) or StopSignals()
    hangup = getattr(signal, "SIGHUP", None)
    numbers = [n for n in ENDING if not (n == hangup and signal.getsignal(n) == signal.SIG_IGN)]
    before = {number: signal.signal(number, stop.note) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
