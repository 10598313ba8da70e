"""The one loop over time that every estimator here is made of: a first-order linear recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace, is_jax_array, is_torch_array

from ._check import Array


def linear_scan(a: Array, b: Array, x0: Array, *, reverse: bool) -> Array:
    """Solve ``x_t = b_t + a_t x_s`` for all ``t``, ``s`` being the step computed before ``t``.

    Forward (``reverse=False``) that is ``s = t - 1``, starting from ``x_{-1} = x0``; in reverse it is
    ``s = t + 1``, starting from ``x_T = x0``. Shapes: ``a`` and ``b`` ``[T, N]``, ``x0`` ``[N]``,
    result ``[T, N]``.

    Everything that does not depend on the previous step belongs in ``a`` and ``b``, outside the loop:
    on small arrays the time goes into the number of operations, not into their size.
    """
    if is_jax_array(b):
        from ._jax import scan_jax

        return scan_jax(a, b, x0, reverse)
    if is_torch_array(b):
        return _scan_torch(a, b, x0, reverse)
    return _scan_numpy(a, b, x0, reverse)


def scan_steps(step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Array, ...]) -> tuple[Array, ...]:
    """Run ``carry, outs = step(carry, rows_t)`` over the leading axis of ``rows``; the stacked ``outs``.

    For what is no linear recurrence. ``carry`` and ``outs`` are tuples of arrays.
    """
    if is_jax_array(rows[0]):
        from ._jax import scan_steps_jax

        return scan_steps_jax(step, start, rows)
    carry, outs = start, []
    for t in range(rows[0].shape[0]):
        carry, out = step(carry, tuple(row[t, ...] for row in rows))
        outs.append(out)
    stack = array_namespace(rows[0]).stack
    return tuple(stack(list(column), axis=0) for column in zip(*outs, strict=True))


def _scan_numpy(a: Array, b: Array, x0: Array, reverse: bool) -> Array:
    out = a.copy()
    x = x0
    for row, b_t in zip(out[::-1], b[::-1], strict=True) if reverse else zip(out, b, strict=True):
        row *= x
        row += b_t
        x = row
    return out


def _scan_torch(a: Array, b: Array, x0: Array, reverse: bool) -> Array:
    # unbind is one operation for all rows; addcmul is the whole step in one.
    rows_a, rows_b = a.unbind(0), b.unbind(0)
    order = range(len(rows_b) - 1, -1, -1) if reverse else range(len(rows_b))
    out, x = list(rows_b), x0
    for t in order:
        out[t] = x = rows_b[t].addcmul(rows_a[t], x)
    return array_namespace(x0).stack(out)
