"""Times inside a call: spans that exclude the spans within them, so that they add up to the whole."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ._stopwatch import Clock


class Spans:
    """A stack of labels. Time counts for the label on top, and for the rest while the stack is empty."""

    def __init__(self, clock: Clock | None = None, floor: str = "rest_of_report") -> None:
        self._clock = clock or Clock()
        self._floor = floor
        self.begin()

    def begin(self) -> None:
        """Start again from zero."""
        self.totals: dict[str, float] = {}
        """Seconds under each label."""
        self.calls: dict[str, int] = {}
        """Number of times that each label was entered."""
        self._stack: list[str] = []
        self._thread = threading.get_ident()
        self._last = self._now()

    def end(self) -> float:
        """Stop, and return the seconds since ``begin``, which is the sum of the totals."""
        self._book()
        return sum(self.totals.values())

    def settle(self, label: str) -> None:
        """Count for ``label`` the time outside all spans since ``begin`` or the last call."""
        self._book()
        self.totals[label] = self.totals.get(label, 0.0) + self.totals.pop(self._floor, 0.0)

    @contextlib.contextmanager
    def span(self, label: str) -> Iterator[None]:
        """Count the block for ``label``, without the spans within it."""
        self._book()
        self._stack.append(label)
        self.calls[label] = self.calls.get(label, 0) + 1
        try:
            yield
        finally:
            self._book()
            self._stack.pop()

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with a span around each call in the thread that began; other threads run beside it."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            with self.span(label):
                return function(*args, **kwargs)

        return timed

    def _book(self) -> None:
        now = self._now()
        label = self._stack[-1] if self._stack else self._floor
        self.totals[label] = self.totals.get(label, 0.0) + now - self._last
        self._last = now

    def _now(self) -> float:
        self._clock.wait()
        return self._clock.wall()


@contextlib.contextmanager
def replaced(*changes: tuple[Any, str, Callable[[Any], Any]]) -> Iterator[None]:
    """Replace attributes of objects, classes or modules within a context: ``(owner, name, old -> new)``.

    Raises:
        ValueError: an owner has no such attribute.
    """
    missing = object()
    undo: list[tuple[Any, str, Any]] = []
    try:
        for owner, name, change in changes:
            if not hasattr(owner, name):
                raise ValueError(
                    f"{owner!r} has no {name!r}; install a diffrl-bench of the version of the measured package"
                )
            undo.append((owner, name, vars(owner).get(name, missing)))
            setattr(owner, name, change(getattr(owner, name)))
        yield
    finally:
        for owner, name, before in reversed(undo):
            if before is missing:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
