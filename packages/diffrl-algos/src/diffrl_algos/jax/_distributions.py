"""Gaussian action distributions, as they are and squashed to (-1, 1) by tanh."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

_LOG_2PI = math.log(2.0 * math.pi)


class Gaussian(NamedTuple):
    """Independent normal variables ``u`` along the last axis; actions are ``a = tanh(u)``.

    Densities of actions are given at ``u`` and never at ``a``: ``atanh`` of a float32 near one has no digits left.
    """

    mean: Array
    """``[..., na]``."""
    logstd: Array
    """``[..., na]``, or anything that broadcasts to it."""

    def log_prob(self, u: Array) -> Array:
        """``log N(u; mean, std)``, shape ``[...]``."""
        z = (u - self.mean) * jnp.exp(-self.logstd)
        return -(0.5 * z * z + self.logstd + 0.5 * _LOG_2PI).sum(-1)

    def squashed_log_prob(self, u: Array) -> Array:
        """Log-density of the action ``a = tanh(u)``, shape ``[...]`` (Haarnoja et al. 2018, appendix C)."""
        return self.log_prob(u) - (2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))).sum(-1)

    def entropy(self) -> Array:
        """Entropy of ``u`` [nat], shape ``[...]``."""
        return (jnp.broadcast_to(self.logstd, self.mean.shape) + 0.5 * (_LOG_2PI + 1.0)).sum(-1)

    def kl(self, other: Gaussian) -> Array:
        """``KL(self || other)`` [nat], shape ``[...]``; of the squashed variables too."""
        ratio = jnp.exp(2.0 * (self.logstd - other.logstd))
        shift = (self.mean - other.mean) * jnp.exp(-other.logstd)
        return (0.5 * (ratio + shift * shift - 1.0) + other.logstd - self.logstd).sum(-1)
