"""The backend of NumPy, and the loops that it shares with torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._array import Array


class NumpyBackend:
    """See ``Backend``. There are no gradients, so gates are the identity."""

    name = "NumPy"

    @property
    def xp(self) -> Any:
        import array_api_compat.numpy as xp  # which loads much of NumPy that `import gradest` does not need

        return xp

    def stop_gradient(self, x: Array) -> Array:
        return x

    def to_numpy(self, x: Array) -> np.ndarray[Any, Any]:
        return np.asarray(x)

    def from_numpy(self, values: Any, like: Array) -> Array:
        return np.asarray(values, dtype=like.dtype)

    def linear_scan(self, a: Array, b: Array, x0: Array, reverse: bool) -> Array:
        out, linked, x = a.copy(), a != 0, x0
        rows = (out[::-1], b[::-1], linked[::-1]) if reverse else (out, b, linked)
        for row, b_t, linked_t in zip(*rows, strict=True):
            np.multiply(row, x, out=row, where=linked_t)
            row += b_t
            x = row
        return out

    def scan_steps(
        self, step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        return loop_steps(np, step, start, rows)

    def gate(self, x: Array, keep: Array) -> Array:
        return x

    def bound(self, x: Array, max_norm: float) -> Array:
        return x

    def clamp(self, x: Array, low: float | None, high: float | None) -> Array:
        return np.clip(x, low, high)

    def cumsum(self, x: Array, axis: int) -> Array:
        return np.cumsum(x, axis, dtype=x.dtype)

    def largest(self, x: Array) -> Array:
        # two passes, but no temporary array
        high, low = np.max(x, axis=-1), -np.min(x, axis=-1)
        return np.where(high > low, high, low)

    def holds_nan(self, x: Array) -> bool:
        # one pass, no temporary array: a maximum is NaN where any element is
        top = np.max(x)
        return bool(top != top)


def loop_steps(
    xp: Any, step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Array, ...]
) -> tuple[Array, ...]:
    """``scan_steps`` as a Python loop."""
    carry, outs = start, []
    for t in range(rows[0].shape[0]):
        carry, out = step(carry, tuple(row[t, ...] for row in rows))
        outs.append(out)
    return tuple(xp.stack(list(column), 0) for column in zip(*outs, strict=True))


NUMPY = NumpyBackend()
