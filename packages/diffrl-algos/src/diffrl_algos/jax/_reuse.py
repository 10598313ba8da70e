"""RPO's loss, and the epochs of a policy that descend it."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import gradest

from .._configs.rpo import RPOConfig
from ._adam import Adam, Optimizer
from ._distributions import Gaussian
from ._fit import descend
from ._networks import GaussianActor
from ._window import Window


class Rows(NamedTuple):
    """What the epochs need of each step of each world, ``[B, ...]``."""

    x: Array
    """Normalised observations."""
    u: Array
    """Actions before tanh."""
    gradient: Array
    """Of the summed returns with respect to them."""
    old: Gaussian
    """The policy that acted."""
    log_prob_old: Array
    """Log-densities of the actions under it."""

    @classmethod
    def of(cls, x: Array, window: Window, gradient: Array) -> Rows:
        """For observations ``[T, N, no]`` and the gradient ``[T, N, na]`` of the mean return."""
        u = window.u
        old = Gaussian(*(jnp.broadcast_to(part, u.shape) for part in window.policy))
        parts = cls(x, u, gradient * len(u) * u.shape[1], old, old.log_prob(u))
        return jax.lax.stop_gradient(jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:]), parts))

    def weight(self, config: RPOConfig, policy: Gaussian) -> Array:
        """Ratio of each action, 0 where it is out of range, ``[B]``."""
        limits = {"low": config.ratio_min, "high": config.ratio_max}
        return gradest.gated_ratio(policy.log_prob(self.u), self.log_prob_old, **limits)

    def loss(self, config: RPOConfig, policy: Gaussian, share: Array) -> Array:
        """Minus ``sum_j share_j w_j g_j a_j``, plus divergence, minus entropy (Zhong et al. 2025)."""
        noise = gradest.recovered_noise(self.u, *policy)
        weight = self.weight(config, policy) * share * len(share)  # of a mean
        loss = -gradest.reused_objective(*policy, noise, self.gradient, weight)
        if config.kl_coef > 0.0:
            loss += config.kl_coef * (gradest.gaussian_kl(*self.old, *policy) * share).sum()
        if config.entropy_coef > 0.0:
            loss -= config.entropy_coef * (gradest.gaussian_entropy(policy.logstd) * share).sum()
        return loss


def reuse(
    config: RPOConfig,
    actor: GaussianActor,
    flat: Array,
    adam: Adam,
    rows: Rows,
    orders: Array,
    *,
    optimizer: Optimizer,
    lr: Array | float,
) -> tuple[Array, Adam, Array]:
    """Take a step down the loss for every minibatch of every epoch, in the orders ``[epochs, B]``.

    Returns:
        Parameters, moments, and the norm of the gradient of each step before clipping, ``[epochs, minibatches]``.
    """
    size = -(-orders.shape[1] // config.actor_minibatches)

    def loss(flat: Array, rows: Rows, share: Array) -> tuple[Array, None]:
        return rows.loss(config, actor(flat, rows.x), share), None

    def epoch(carry: tuple[Array, Adam], order: Array) -> tuple[tuple[Array, Adam], Array]:
        flat, adam, (_, _, norm) = descend(loss, *carry, rows, order, size=size, optimizer=optimizer, lr=lr)
        return (flat, adam), norm

    (flat, adam), norms = jax.lax.scan(epoch, (flat, adam), orders)
    return flat, adam, norms
