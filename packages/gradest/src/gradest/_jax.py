"""The backend of JAX, loaded once a JAX array was given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from ._array import Array
from ._length import bound


def _step(x: Array, ab: tuple[Array, Array]) -> tuple[Array, Array]:
    # At module level, so that a call outside jit finds its compiled loop again.
    a_t, b_t = ab
    x = b_t + a_t * jnp.where(a_t == 0, 0.0, x)
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


class JaxBackend:
    """See ``Backend``."""

    name = "JAX"
    xp: Any = jnp

    def stop_gradient(self, x: Array) -> Array:
        return lax.stop_gradient(x)

    def to_numpy(self, x: Array) -> np.ndarray[Any, Any]:
        return np.asarray(x)

    def from_numpy(self, values: Any, like: Array) -> Array:
        return jnp.asarray(values, dtype=like.dtype)

    def linear_scan(self, a: Array, b: Array, x0: Array, reverse: bool) -> Array:
        # the compiled program does not grow with the window
        return lax.scan(_step, x0, (a, b), reverse=reverse)[1]

    def scan_steps(
        self, step: Callable[[Any, Any], tuple[Any, Any]], start: Any, rows: tuple[Array, ...]
    ) -> tuple[Array, ...]:
        return lax.scan(step, start, rows)[1]

    def gate(self, x: Array, keep: Array) -> Array:
        return gate_jax(x, keep)

    def bound(self, x: Array, max_norm: float) -> Array:
        return bound_jax(x, max_norm)

    def clamp(self, x: Array, low: float | None, high: float | None) -> Array:
        return jnp.clip(x, low, high)

    def cumsum(self, x: Array, axis: int) -> Array:
        return jnp.cumsum(x, axis, dtype=x.dtype)

    def largest(self, x: Array) -> Array:
        # XLA makes no temporary array for this
        return jnp.max(jnp.abs(x), axis=-1)

    def holds_nan(self, x: Array) -> bool:
        if isinstance(x, Tracer) or any(one.platform != "cpu" for one in x.devices()):
            return False
        top = jnp.max(x)
        return bool(top != top)


JAX = JaxBackend()
