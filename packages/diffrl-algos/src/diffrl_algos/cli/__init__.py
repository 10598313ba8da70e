"""The ``diffrl`` command."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command with ``argv``, by default the arguments of the process; returns the exit code."""
    try:
        from ._main import main as command
    except KeyboardInterrupt:  # what takes a second to load is loaded here
        print("diffrl: interrupted", file=sys.stderr)
        return 130
    return command(argv)
