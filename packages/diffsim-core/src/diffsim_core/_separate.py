"""The notice of an environment that takes its steps as separate operations, though one operation was asked for."""

from __future__ import annotations

import warnings


def tell_separate(task: str, why: str) -> None:
    """Warn that steps of a task are separate operations, and why."""
    message = f"task {task!r} takes its steps as separate operations, because {why}; results are the same, updates are"
    warnings.warn(f"{message} slower", stacklevel=5)
