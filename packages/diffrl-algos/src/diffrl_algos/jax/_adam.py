"""Adam and AdamW of optax over one flat array, with clipping."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import Array

EPS = 1e-8


class Adam(NamedTuple):
    """Moments of Adam for one flat parameter array ``[P]``."""

    m: Array
    """First moment ``[P]``."""
    v: Array
    """Second moment ``[P]``."""
    step: Array
    """Steps taken, int32."""

    @classmethod
    def init(cls, params: Array) -> Adam:
        return cls(jnp.zeros_like(params), jnp.zeros_like(params), jnp.zeros((), jnp.int32))


class Optimizer(NamedTuple):
    """Clipping and Adam(W) with fixed constants; the moments are the caller's."""

    betas: tuple[float, float]
    max_norm: float
    """Gradients longer than this are scaled down to it."""
    weight_decay: float = 0.0

    def step(self, params: Array, adam: Adam, grad: Array, lr: Array | float) -> tuple[Array, Adam, Array]:
        """One step; also the gradient's norm before clipping."""
        norm = jnp.linalg.norm(grad)
        grad = grad * jnp.minimum(self.max_norm / (norm + 1e-6), 1.0)
        rule = optax.scale_by_adam(*self.betas, eps=EPS)
        before = optax.ScaleByAdamState(count=adam.step, mu=adam.m, nu=adam.v)
        direction, after = rule.update(grad, before)
        if self.weight_decay:
            params = params * (1.0 - lr * self.weight_decay)
        params = params - lr * jnp.asarray(direction)
        return params, Adam(after.mu, after.nu, after.count), norm  # pyright: ignore[reportAttributeAccessIssue]
