"""``watch_task``: whether what was made of a task's functions still holds."""

from __future__ import annotations

from collections.abc import Callable

from diffsim_core._protocol import Env


def watch_task(env: Env) -> Callable[[], str | None]:
    """What the functions of a task read besides their arguments, as it is now.

    For whoever keeps what came of calling them, such as a graph of a GPU's work: it holds numbers as they were.

    Args:
        env: its ``task`` is watched, if it has one: attributes, lists, arrays, and the variables that functions read.

    Returns:
        A function that gives the name of something that has changed since; None if nothing has.
    """
    task = getattr(env, "task", None)
    if task is None:
        return lambda: None
    from diffsim_core._traced._python_state import PythonState

    return PythonState(task).changed
