"""Start of Warp without its banner and module messages, which would mix with a program's output on stdout."""

from __future__ import annotations

import functools

import warp as wp


@functools.cache
def start_warp() -> None:
    """Initialise Warp once; a level that the user set in ``wp.config.log_level`` stays."""
    if wp.config.log_level == wp.LOG_INFO:
        wp.config.log_level = wp.LOG_WARNING
    wp.init()
