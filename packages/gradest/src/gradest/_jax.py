"""What needs JAX itself, loaded only once a JAX array has been handed in."""

from __future__ import annotations

from typing import Any

from jax import lax

from ._check import Array


def stop_gradient_jax(x: Array) -> Array:
    """See ``stop_gradient``."""
    return lax.stop_gradient(x)


def scan_jax(a: Array, b: Array, x0: Array, reverse: bool) -> Array:
    """See ``linear_scan``. The size of the compiled program does not grow with the window."""
    return lax.scan(_step, x0, (a, b), reverse=reverse)[1]


def scan_steps_jax(step: Any, start: Any, rows: tuple[Array, ...]) -> tuple[Array, ...]:
    """See ``scan_steps``."""
    return lax.scan(step, start, rows)[1]


def _step(x: Array, ab: tuple[Array, Array]) -> tuple[Array, Array]:
    # At module level, so that a call outside jit finds its compiled loop again.
    a_t, b_t = ab
    x = b_t + a_t * x
    return x, x
