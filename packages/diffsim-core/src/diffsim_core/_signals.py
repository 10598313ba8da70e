"""Signals that ask a program to end."""

from __future__ import annotations

import signal

ENDING = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if name in signal.Signals.__members__
)
"""Ctrl-C, the end of a job, of a terminal, and Ctrl-Break, as far as the system has them."""
