"""The check for NaN in arguments, wherever numbers can be read without waiting."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ._array import Array
from ._backend import backend_of

_nan_allowed: ContextVar[bool] = ContextVar("gradest_nan_allowed", default=False)


@contextmanager
def allow_nan() -> Iterator[None]:
    """Allow NaN in the arguments of every estimator inside a ``with`` block.

    For algorithms that handle NaN themselves (by rejecting a bad update), and for loops in which the additional pass
    over each argument costs too much. The setting belongs to the current thread or task.

    ::

        with gradest.allow_nan():
            advantage = gradest.gae(reward, value, value_next, terminated, done, gamma=0.99, lam=0.95)
    """
    token = _nan_allowed.set(True)
    try:
        yield
    finally:
        _nan_allowed.reset(token)


def refuse_nan(xp: Any, result: Array | None = None, /, **arrays: Array) -> None:
    """Raise on NaN in any of the floating-point ``arrays``, whose names are those of the caller's arguments.

    If NaN in any of them would reach ``result``, pass it: the arrays are checked only if ``result`` holds NaN, and a
    pass over a mean costs nothing compared with a pass over each argument.

    Nothing is checked inside ``allow_nan``, while a framework traces, compiles or maps (numbers do not exist yet), or
    on an accelerator (the host would wait for it).

    Raises:
        ValueError: an array holds NaN; the message names it, the count and the first place.
    """
    if _is_compiling() or _nan_allowed.get():
        return
    if result is not None and not backend_of(result).holds_nan(result):
        return
    for name, array in arrays.items():
        if backend_of(array).holds_nan(array):
            _raise(xp, name, array)


def _raise(xp: Any, name: str, array: Array) -> None:
    bad = xp.isnan(array)
    count = int(xp.sum(xp.astype(bad, xp.int32)))
    index = ", ".join(str(int(i[0])) for i in xp.nonzero(bad)) if array.ndim else ""
    where = f", the first at [{index}]" if index else ""
    raise ValueError(
        f"{name} has shape {tuple(array.shape)} and holds {count} NaN{where}; expected numbers: "
        "mask NaN out first, or call inside gradest.allow_nan()"
    )


def _is_compiling() -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and torch.compiler.is_compiling()
