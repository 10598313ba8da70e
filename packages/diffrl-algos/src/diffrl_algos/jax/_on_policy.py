"""What PPO and AoBG share: values in units of their own, and advantages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from .._configs.advantages import AdvantageConfig
from ._learner import CriticLearner
from ._normalize import RunningStats
from ._policy import ValueFunction
from ._state import State, Worlds
from ._window import Window

ConfigT = TypeVar("ConfigT", bound=AdvantageConfig)


class Advantages(NamedTuple):
    """The values and advantages of a window. Rows of all ``[T, N]`` arrays belong together."""

    x: Array
    """``[T, N, no]`` normalised observations of the policy."""
    value_next: Array
    """``[T, N]`` value of the next observation of each step."""
    advantage: Array
    """``[T, N]`` generalised advantages."""
    target_value: Array
    """``[T, N]`` TD(lambda) targets, without gradient; see ``Window.targets``."""
    taken: Array
    """``[T, N]`` bool: steps that were taken. The advantage of the others is 0."""

    def standardised(self) -> Array:
        """Advantages shifted and scaled to mean 0 and standard deviation 1, without gradient."""
        advantage = jax.lax.stop_gradient(self.advantage)
        if advantage.size < 2:  # one row is its own mean
            return jnp.zeros_like(advantage)
        return jnp.where(self.taken, (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8), 0.0)


@dataclass(frozen=True)
class AdvantageLearner(CriticLearner[ConfigT]):
    """A learner that takes advantages from a critic with units of its own.

    Its arrays have a field ``value_stats``, the statistics of all value targets so far, of size 1. Values are those of
    the ``target`` critic where there is one.
    """

    def advantages(self, env: Env, nets: Any, worlds: Worlds, window: Window) -> Advantages:
        """The values and advantages of a window."""
        c, steps = self.config, window.trajectory
        x = worlds.normalizer(c)(steps.obs)
        value, value_next = self.values(env, nets, worlds, window)
        advantage = gradest.gae(steps.reward, value, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(advantage + value, value)
        advantage = jnp.where(steps.valid, advantage, target_value - value)
        return Advantages(x, value_next, advantage, target_value, window.taken)

    def values(self, env: Env, nets: Any, worlds: Worlds, window: Window) -> tuple[Array, Array]:
        """Values ``[T, N]`` of the observations of a window, and of those after each step."""
        critic, normalize = self.critic(env), worlds.normalizer(self.config)
        params = getattr(nets, "target", nets.critic)
        x, after = normalize(window.trajectory.obs), normalize(window.trajectory.final_obs)
        mean, std = self.units(nets.value_stats, x)
        return mean + std * critic(params, x)[0], mean + std * critic(params, after)[0]

    def fit_values(
        self, env: Env, nets: Any, values: Advantages, key: Array, lr: Array
    ) -> tuple[dict[str, Any], Array]:
        """The critic fitted to the TD(lambda) targets, in units of the targets so far; see ``fit``."""
        stats = nets.value_stats.update(values.target_value.reshape(-1, 1))
        mean, std = self.units(stats, values.x)
        fitted, loss = self.fit(env, nets, values.x, (values.target_value - mean) / std, key, lr)
        return {**fitted, "value_stats": stats}, loss

    def value(self, state: State) -> ValueFunction:
        """The critic's value of observations, for viewers."""
        normalize = state.worlds.normalizer(self.config)
        units = self.units(state.nets.value_stats, state.worlds.obs)
        return ValueFunction(self.critic(state.env), state.nets.critic, normalize, units)

    def units(self, stats: RunningStats, like: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of value targets; 0 and 1 where they are not normalised."""
        if self.config.normalize_value:
            return stats.units(like.dtype)
        return jnp.zeros((), like.dtype), jnp.ones((), like.dtype)
