"""The ``diffrl`` command."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with ``argv``, by default the arguments of the process; returns the exit code."""
    try:
        from .._signals import stop_on_signals

        with stop_on_signals():  # before what takes a second to load, which is loaded here
            from ._main import main as command

            return command(argv)
    except KeyboardInterrupt as stop:
        name = getattr(stop, "name", "SIGINT")  # as of an ``Interrupted``, which may not be loaded yet
        print(f"diffrl: stopped by {name}", file=sys.stderr)
        return 128 + signal.Signals[name]
