"""The policies that users get: trained actors with the observation statistics they were trained with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from ._networks import Critic, GaussianActor
from ._normalize import Normalizer


@dataclass
class GaussianPolicy:
    """A trained actor: observations ``[N, no]`` to actions ``[N, na]``."""

    actor: GaussianActor
    params: Array
    normalize: Normalizer
    key: Array | None = None
    """Source of the noise; None for the deterministic policy ``tanh(mu(obs))``."""
    calls: int = 0

    def __call__(self, obs: Array) -> Array:
        key = None if self.key is None else jax.random.fold_in(self.key, self.calls)
        self.calls += 1
        return _act(self.actor, self.params, self.normalize, obs, key)


@dataclass(frozen=True)
class ValueFunction:
    """Trained critics: ``obs [N, no] -> [N]``, their mean."""

    critic: Critic
    params: Array
    normalize: Normalizer
    units: tuple[Array | float, Array | float] = (0.0, 1.0)
    """Mean and standard deviation that the networks' numbers are in."""

    def __call__(self, obs: Array) -> Array:
        return _value(self.critic, self.params, self.normalize, self.units, obs)


@partial(jax.jit, static_argnums=0)
def _act(actor: GaussianActor, params: Array, normalize: Normalizer, obs: Array, key: Array | None) -> Array:
    mean, logstd = actor(params, normalize(obs))
    return jnp.tanh(mean if key is None else mean + jnp.exp(logstd) * jax.random.normal(key, mean.shape, obs.dtype))


@partial(jax.jit, static_argnums=0)
def _value(
    critic: Critic, params: Array, normalize: Normalizer, units: tuple[Array | float, Array | float], obs: Array
) -> Array:
    mean, std = units
    return mean + std * critic(params, normalize(obs)).mean(0)
