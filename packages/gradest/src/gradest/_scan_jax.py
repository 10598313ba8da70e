"""The linear recurrence as ``lax.scan``: the size of the compiled program does not grow with the window."""

from __future__ import annotations

from jax import lax

from ._check import Array


def scan_jax(a: Array, b: Array, x0: Array, reverse: bool) -> Array:
    """See ``linear_scan``."""
    return lax.scan(_step, x0, (a, b), reverse=reverse)[1]


def _step(x: Array, ab: tuple[Array, Array]) -> tuple[Array, Array]:
    # At module level, so that a call outside jit finds its compiled loop again.
    a_t, b_t = ab
    x = b_t + a_t * x
    return x, x
