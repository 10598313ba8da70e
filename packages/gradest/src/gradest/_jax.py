"""What needs JAX itself, loaded only once a JAX array has been handed in."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ._check import Array
from ._gate import bound


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


@jax.custom_vjp
def gate_jax(x: Array, keep: Array) -> Array:
    """See ``gate_gradient``."""
    return x


def _gate_forward(x: Array, keep: Array) -> tuple[Array, Array]:
    return x, keep


def _gate_backward(keep: Array, g: Array) -> tuple[Array, None]:
    return jnp.where(keep, g, 0.0), None


gate_jax.defvjp(_gate_forward, _gate_backward)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def bound_jax(x: Array, max_norm: float) -> Array:
    """See ``gate_norm``."""
    return x


def _bound_forward(x: Array, max_norm: float) -> tuple[Array, None]:
    return x, None


def _bound_backward(max_norm: float, _: None, g: Array) -> tuple[Array]:
    return (bound(jnp, g, max_norm),)


bound_jax.defvjp(_bound_forward, _bound_backward)
