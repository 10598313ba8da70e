"""Policy gradients of single worlds, for mixtures; see ``torch/_per_world.py``."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from gradest.jax import per_sample_gradients

from ._networks import GaussianActor


def pathwise_gradients(actor: GaussianActor, flat: Array, x: Array, eps: Array, by_action: Array) -> Array:
    """The gradient of each world's objective through its actions, ``[N, P]``.

    It is that of ``sum_t <dJ/du_t, u_t>`` with ``dJ/du_t`` held constant, for normalised observations ``x [T, N, no]``,
    noise ``eps [T, N, na]`` and ``by_action [T, N, na]``, which is ``dJ/du`` of actions before tanh.
    """

    def moved(flat: Array, x: Array, eps: Array, slope: Array) -> Array:
        policy = actor(flat, x)
        return (slope * (policy.mean + eps * jnp.exp(policy.logstd))).sum()

    return per_sample_gradients(moved, flat, *_by_world(x, eps, by_action))


def score_gradients(actor: GaussianActor, flat: Array, x: Array, u: Array, weight: Array) -> Array:
    """``sum_t weight_t grad log pi(u_t | x_t)`` of each world, ``[N, P]``.

    For normalised observations ``x [T, N, no]``, actions before tanh ``u [T, N, na]`` and ``weight [T, N]``.
    """

    def score(flat: Array, x: Array, u: Array, weight: Array) -> Array:
        return (weight * actor(flat, x).log_prob(u)).sum()

    return per_sample_gradients(score, flat, *_by_world(x, u, weight))


def _by_world(*parts: Array) -> tuple[Array, ...]:
    """``[T, N, ...] -> [N, T, ...]``."""
    return tuple(jax.lax.stop_gradient(part).swapaxes(0, 1) for part in parts)
