"""The notice of an environment that takes its steps as separate operations, though one operation was asked for."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

_TOLD: dict[Any, Any] = {}
"""Registry of Python's filter of warnings, for one of each in a process, however many environments a task has."""


def tell_separate(task: Any, why: str) -> None:
    """Warn once that steps of a task are separate operations, and why; the place is that of the task's class."""
    message = f"task {task.name!r} takes its steps as separate operations, because {why}; results are the same, updates"
    try:
        file, line = inspect.getsourcefile(type(task)) or "", inspect.getsourcelines(type(task))[1]
    except (OSError, TypeError):  # of a class that was typed in
        file, line = type(task).__module__, 1
    warnings.warn_explicit(f"{message} are slower", UserWarning, file, line, registry=_TOLD)
