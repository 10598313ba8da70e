"""The loop over time that every estimator uses: a first-order linear recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._array import Array
from ._backend import backend_of


def linear_scan(a: Array, b: Array, x0: Array, *, reverse: bool) -> Array:
    """Solve ``x_t = b_t + a_t x_s`` for all ``t``, ``s`` being the step computed before ``t``.

    Forward (``reverse=False``) that is ``s = t - 1``, starting from ``x_{-1} = x0``; in reverse it is
    ``s = t + 1``, starting from ``x_T = x0``. Shapes: ``a`` and ``b`` ``[T, N]``, ``x0`` ``[N]``,
    result ``[T, N]``.

    Where ``a`` is zero nothing comes from the previous step, even if it is infinite or NaN.

    Everything that does not depend on the previous step belongs in ``a`` and ``b``, outside the loop: on small arrays
    the number of operations takes the time, not their size.
    """
    return backend_of(b).linear_scan(a, b, x0, reverse)


def scan_steps(step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Array, ...]) -> tuple[Array, ...]:
    """Run ``carry, outs = step(carry, rows_t)`` over the leading axis of ``rows``; the stacked ``outs``.

    For recurrences that are not linear. ``carry`` and ``outs`` are tuples of arrays.
    """
    return backend_of(rows[0]).scan_steps(step, start, rows)
