"""Fits of critics by compiled code, called from inside of a function of XLA on a CPU.

XLA multiplies the small matrices of a critic at a third of the speed that ``_native/_source/`` reaches.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from diffsim_core._jax_handler import Memory, register

from .._config import CriticConfig
from .._native.fit import fit_of
from ._adam import EPS, Adam, Optimizer
from ._networks import Critic


def fit_natively(
    critic: Critic,
    flat: Array,
    adam: Adam,
    x: Array,
    y: Array,
    order: Array,
    *,
    config: CriticConfig,
    optimizer: Optimizer,
    lr: Array | float,
) -> tuple[Array, Adam, Array]:
    """``fit_critic`` by compiled code, for float32 and float64 on a CPU; it has no derivative."""
    passes, rows = order.shape
    size = -(-rows // config.critic_minibatches)
    steps = passes * -(-rows // size)
    target = _target(critic, str(flat.dtype), size)
    like = jax.ShapeDtypeStruct(flat.shape, flat.dtype)
    results = (like, like, like, jax.ShapeDtypeStruct((1,), flat.dtype))
    call = jax.ffi.ffi_call(target, results, vmap_method="sequential")  # of several seeds one after the other
    numbers = _constants(optimizer, adam.step, steps, jnp.asarray(lr, flat.dtype))
    fitted, m, v, loss = call(flat, adam.m, adam.v, x, y, order.astype(jnp.int32), numbers)
    return fitted, Adam(m, v, adam.step + steps), loss[0]


@functools.lru_cache(maxsize=64)
def _target(critic: Critic, dtype: str, size: int) -> str:
    """The name under which XLA finds the fit of such critics by minibatches of ``size`` rows."""

    def run(memory: Sequence[Memory]) -> None:
        flat, m, v, x, y, order, numbers, *results, loss = memory
        # The program works in place.
        for given, result in zip((flat, m, v), results, strict=True):
            ctypes.memmove(result.ptr, given.ptr, math.prod(given.shape) * np.dtype(dtype).itemsize)
        passes, rows = order.shape
        arrays = (*results, x, y, order, numbers, loss)
        program, _ = fit_of(critic.mlp, critic.count, dtype)
        program.run(1, 1, [*(array.ptr for array in arrays), passes, rows, size])

    return register("fit", run)


def _constants(optimizer: Optimizer, step: Array, steps: int, lr: Array) -> Array:
    """What ``adam.h`` needs of the optimiser, and of each of the next ``steps``."""
    b1, b2 = optimizer.betas
    decay = 1.0 - lr * optimizer.weight_decay
    first: list[Any] = [b1, 1.0 - b1, b2, 1.0 - b2, EPS, optimizer.max_norm, decay]
    taken = step + 1 + jnp.arange(steps)
    # In this way small differences from 1 keep their digits.
    root, rate = (-jnp.expm1(taken * math.log(beta)) if beta else jnp.ones(steps) for beta in (b2, b1))
    each = jnp.stack([jnp.sqrt(root), lr / rate], axis=1).astype(lr.dtype)
    return jnp.concatenate([jnp.stack([jnp.asarray(number, lr.dtype) for number in first]), each.ravel()])
