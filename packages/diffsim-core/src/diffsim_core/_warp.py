"""Warp, started quietly: its banner and module messages go to stdout, where a program's own output belongs."""

from __future__ import annotations

import functools

import warp as wp


@functools.cache
def start_warp() -> None:
    """Initialise Warp once; a level that somebody chose in ``wp.config.log_level`` stays."""
    if wp.config.log_level == wp.LOG_INFO:
        wp.config.log_level = wp.LOG_WARNING
    wp.init()
