"""Gaussian actors and critics, with flat parameters, and how they are made from a configuration."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from diffsim_core import Env

from .._config import CriticConfig, GaussianConfig, WindowConfig
from ._distributions import Gaussian
from ._mlp import MLP


@dataclass(frozen=True)
class GaussianActor:
    """``a = tanh(mu(obs) + sigma eps)``, with ``log sigma`` a parameter or a second output of the network.

    Parameters are one flat array: the network's, then ``log sigma [na]`` if it does not depend on the state.
    """

    mlp: MLP
    state_dependent: bool
    logstd_range: tuple[float, float]
    """``log sigma`` is clamped to this."""

    @property
    def num_actions(self) -> int:
        return self.mlp.sizes[-1] // 2 if self.state_dependent else self.mlp.sizes[-1]

    def init(self, key: Array, *, logstd: float, gain: float | None) -> Array:
        """Flat initial parameters; ``logstd`` is the parameter, or the bias of the output that gives ``log sigma``."""
        network = self.mlp.init(key, gain=gain)
        if not self.state_dependent:
            return jnp.concatenate([network, jnp.full(self.num_actions, logstd, network.dtype)])
        # The biases of the last layer end the flat array, and those of log sigma end them.
        return network.at[-self.num_actions :].add(logstd)

    def __call__(self, flat: Array, x: Array) -> Gaussian:
        """Distribution of the action before tanh, for normalised observations ``x [..., no]``."""
        out = self.mlp(flat[: self.mlp.num_params], x)
        if (logstd := self.logstd(flat)) is not None:
            return Gaussian(out, logstd)
        mean, raw = jnp.split(out, 2, axis=-1)
        return Gaussian(mean, clamp(raw, *self.logstd_range))

    def logstd(self, flat: Array) -> Array | None:
        """``log sigma [na]`` where it does not depend on the state, else None."""
        return None if self.state_dependent else clamp(flat[self.mlp.num_params :], *self.logstd_range)


@dataclass(frozen=True)
class Critic:
    """``count`` networks of one shape, each started on its own; one flat array holds them one after another."""

    mlp: MLP
    count: int = 1

    def init(self, key: Array, *, gain: float | None) -> Array:
        """Flat initial parameters ``[count * mlp.num_params]``."""
        return jnp.concatenate([self.mlp.init(own, gain=gain) for own in jax.random.split(key, self.count)])

    def __call__(self, flat: Array, x: Array) -> Array:
        """``[..., no] -> [count, ...]``; differentiable."""
        # One after the other: on a CPU XLA has no fast product of all networks at once.
        return jnp.stack([self.mlp(part, x)[..., 0] for part in jnp.split(flat, self.count)])


def clamp(x: Array, low: float | Array, high: float | Array) -> Array:
    """``x`` within bounds; its derivative is 1 on them and 0 beyond, as torch's is."""
    return jnp.where((x >= low) & (x <= high), x, jax.lax.stop_gradient(jnp.clip(x, low, high)))


def over_critics(values: Array, how: str) -> Array:
    """The critics' values ``[C, T, N]`` as one ``[T, N]``: their mean, or the least of them if ``how`` is ``"min"``."""
    return values.mean(0) if how == "mean" else values.min(0)


def gaussian_actor(config: GaussianConfig, env: Env) -> GaussianActor:
    """``obs -> N(mu, sigma)``."""
    outputs = (2 if config.state_dependent_std else 1) * env.spec.num_actions
    network = _mlp(config, env.spec.num_obs, config.actor_hidden, outputs)
    return GaussianActor(network, config.state_dependent_std, (config.logstd_min, config.logstd_max))


def value_critic(config: CriticConfig, env: Env, count: int = 1) -> Critic:
    """``count`` value functions ``V(obs)``."""
    return Critic(_mlp(config, env.spec.num_obs, config.critic_hidden, 1), count)


def q_critic(config: CriticConfig, env: Env, count: int) -> Critic:
    """``count`` Q functions of observation and action, one after the other in their input."""
    return Critic(_mlp(config, env.spec.num_obs + env.spec.num_actions, config.critic_hidden, 1), count)


def _mlp(config: WindowConfig, inputs: int, hidden: tuple[int, ...], outputs: int) -> MLP:
    return MLP((inputs, *hidden, outputs), config.activation, config.layer_norm)
