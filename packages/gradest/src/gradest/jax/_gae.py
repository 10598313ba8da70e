"""``dA_t/da_t`` of a rollout given as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._gae_gradient import check_decay, gae_action_gradient, gae_objective

Array = Any


def gae_gradient(f: Callable[[Array], Array], actions: Array, done: Array, *, gamma: float, lam: float) -> Array:
    """Gradient of every step's advantage with respect to its own action, in one backward pass (GI-PPO, Eq. 15).

    Args:
        f: ``f(offset) -> advantage``: a rollout of the closed loop that adds ``offset [T, N, m]`` to the policy's
            actions and returns ``gae``, shape ``[T, N]``.
        actions: the actions without offset, shape ``[T, N, m]``; only their shape and dtype matter.
        done: bool, the episode ended or was truncated at this step, shape ``[T, N]``.
        gamma: discount given to ``gae``, in [0, 1].
        lam: lambda given to ``gae``, in [0, 1].

    Returns:
        ``dA_t/da_t``, shape ``[T, N, m]``.

    Raises:
        ValueError: an argument or the result of ``f`` has the wrong shape, dtype or range, or ``gamma * lam`` is zero.
    """
    check_decay(gamma, lam)
    gradient = jax.grad(lambda offset: gae_objective(f(offset), done))(jnp.zeros_like(actions))
    return gae_action_gradient(gradient, done, gamma=gamma, lam=lam)


def gae_gradient_by_steps(f: Callable[[Array], Array], actions: Array) -> Array:
    """``gae_gradient`` by its definition, in ``T`` backward passes: slow, but right for any ``gamma`` and ``lam``.

    Worlds must be independent, because one pass differentiates the sum of a step's advantages over all worlds.

    Args:
        f: as in ``gae_gradient``.
        actions: the actions without offset, shape ``[T, N, m]``.

    Returns:
        ``dA_t/da_t``, shape ``[T, N, m]``.
    """
    advantage, pullback = jax.vjp(f, jnp.zeros_like(actions))
    rows = jnp.eye(len(advantage), dtype=advantage.dtype)
    by_step = jax.vmap(lambda row: pullback(row[:, None] * jnp.ones_like(advantage))[0])(rows)
    steps = jnp.arange(len(advantage))
    return by_step[steps, steps]
