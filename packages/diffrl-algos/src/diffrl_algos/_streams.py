"""Standard streams that may be missing, closed or full: what is printed for people must not end the work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO, Any


class Forgiving:
    """A text stream that is written to as long as that is possible, and no error once it is not."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._lost = False

    def write(self, text: str) -> int:
        """Write ``text``, or drop it."""
        if not self._lost:
            with self._watched():
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        if not self._lost:
            with self._watched():
                self._stream.flush()

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) and not self._stream.closed:
                raise
            self._lost = True
            discard(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def discard(stream: IO[str]) -> None:
    """Send what is still written to ``stream``, buffered text included, to the null device."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, stream.fileno())
        finally:
            os.close(null)


@contextlib.contextmanager
def usable() -> Iterator[None]:
    """The standard streams of a command, as forgiving as its work needs them.

    Those that the process was started without become the null device: the next file that is opened would take their
    place, and be written to by whoever prints. Nothing is left in them for the end of the process to fail on.
    """
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest that is free, so this one
            mode = "r" if descriptor == 0 else "w"
            setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8", closefd=False))
    with contextlib.redirect_stderr(Forgiving(sys.stderr)):  # pyright: ignore[reportArgumentType]
        try:
            yield
        finally:
            for stream in (sys.stdout, sys.stderr):
                Forgiving(stream).flush()


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """Send everything that libraries print on stdout to stderr, including native code, until the result is printed."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.stdout.flush()
        os.dup2(stdout, 1)
        os.close(stdout)


def put(text: str) -> None:
    """Print the result of a command.

    Raises:
        OSError: nobody can read it: the reader of a pipe has gone, the disk is full.
    """
    try:
        print(text, flush=True)
    except OSError as error:
        discard(sys.stdout)
        raise OSError(error.errno, f"cannot print the result: {error.strerror or error}") from None
