"""Fits by Adam(W) over minibatches as one ``lax.scan``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from .._config import CriticConfig
from ._adam import Adam, Optimizer
from ._networks import Critic


def orders(key: Array, passes: int, rows: int, *, shuffle: bool = True) -> Array:
    """The order of the rows in each pass, int32 ``[passes, rows]``."""
    if not shuffle:
        return jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (passes, rows))
    # One sort of random numbers; jax.random.permutation sorts several times, which takes a tenth of an update on a CPU.
    return jnp.argsort(jax.random.bits(key, (passes, rows)), axis=-1).astype(jnp.int32)


def minibatches(order: Array, size: int) -> tuple[Array, Array]:
    """Rows of each minibatch ``[..., B, size]`` and their weights in its mean, which fill up a last one with zeros."""
    rows = order.shape[-1]
    count = -(-rows // size)
    pad = [(0, 0)] * (order.ndim - 1) + [(0, count * size - rows)]
    parts = jnp.pad(order, pad).reshape(*order.shape[:-1], count, size)
    inside = (jnp.arange(count * size) < rows).reshape(count, size)
    share = inside / inside.sum(-1, keepdims=True)
    return parts, jnp.broadcast_to(share, parts.shape)


def descend(
    loss: Callable[[Array, Any, Array], tuple[Array, Any]],
    flat: Array,
    adam: Adam,
    data: Any,
    order: Array,
    *,
    size: int,
    optimizer: Optimizer,
    lr: Array | float,
) -> tuple[Array, Adam, Any]:
    """Take a step down a loss for every minibatch of a pass.

    Args:
        loss: ``loss(flat, rows of data, share) -> (scalar, what to keep)``, for shares ``[size]`` in the mean.
        flat: parameters.
        adam: their moments.
        data: arrays ``[rows, ...]``.
        order: of the rows, ``[rows]``.
        size: rows of a minibatch; the last one may have fewer.
        optimizer: clipping and constants of Adam.
        lr: learning rate.

    Returns:
        Parameters, moments, and for each minibatch the loss before its step, what was kept, and the gradient's norm.
    """

    def step(carry: tuple[Array, Adam], batch: tuple[Array, Array]) -> tuple[tuple[Array, Adam], Any]:
        flat, adam = carry
        rows, share = batch
        some = jax.tree.map(lambda part: part[rows], data)
        (value, kept), grad = jax.value_and_grad(loss, has_aux=True)(flat, some, share.astype(flat.dtype))
        flat, adam, norm = optimizer.step(flat, adam, grad, lr)
        return (flat, adam), (value, kept, norm)

    (flat, adam), seen = jax.lax.scan(step, (flat, adam), minibatches(order, size))
    return flat, adam, seen


def fit_critic(
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
    """Fit every network to the same targets; the objective is ``sum_i mean((V_i(x) - y)^2)``.

    Args:
        critic: what to fit.
        flat: its parameters.
        adam: their moments.
        x: inputs ``[B, no]``.
        y: targets ``[B]``.
        order: rows of each pass, ``[passes, B]``, see ``orders``.
        config: number of minibatches.
        optimizer: clipping and constants of Adam.
        lr: learning rate.

    Returns:
        New parameters, new moments, and the mean squared error of the last pass as it went, a scalar.
    """
    size = -(-len(y) // config.critic_minibatches)

    def loss(flat: Array, rows: tuple[Array, Array], share: Array) -> tuple[Array, Array]:
        x_b, y_b = rows
        squares = ((critic(flat, x_b) - y_b) ** 2 * share).sum(-1)
        return squares.sum(), squares.mean()

    def one_pass(carry: tuple[Array, Adam], rows: Array) -> tuple[tuple[Array, Adam], Array]:
        flat, adam, (_, errors, _) = descend(loss, *carry, (x, y), rows, size=size, optimizer=optimizer, lr=lr)
        counts = jnp.minimum(size, len(y) - size * jnp.arange(len(errors)))
        return (flat, adam), (errors * counts).sum() / len(y)

    (flat, adam), errors = jax.lax.scan(one_pass, (flat, adam), order)
    return flat, adam, errors[-1]
