"""Analytic policy gradient, backpropagation through time (Freeman et al. 2021)

The form in JAX of ``torch/algorithms/apg.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.apg import APGConfig
from .._learner import ActorLearner, Learned
from .._state import ActorNets, State, Worlds
from .._window import Taps, Window


@dataclass(frozen=True)
class APG(ActorLearner[APGConfig]):
    """Analytic Policy Gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps and takes one Adam step up the gradient of the
    discounted rewards. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: APGConfig = field(default_factory=APGConfig)
    name: ClassVar[str] = "apg"

    def learn(self, env: Env, nets: ActorNets, worlds: Worlds, key: Array, done: Array) -> Learned:
        eps = self.noise(env, worlds, key)
        (loss, window), (grad, lost) = self.gradient(env, nets, worlds, eps)
        changes, metrics = self.descend(nets, grad, lost, window, done)
        finite = (metrics["grad_norm"], loss, window.trajectory.obs)
        return Learned(window, changes, finite, {"actor_loss": loss, **metrics})

    def gradient(
        self, env: Env, nets: ActorNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, Window], tuple[Array, Array]]:
        """The loss and its window for noise ``eps [T, N, na]``; the gradients of parameters and of ``Taps.lost``."""

        def loss(flat: Array, lost: Array) -> tuple[Array, Window]:
            window = self.explore(env, worlds, flat, eps, Taps.of(eps)._replace(lost=lost))
            reward = window.trajectory.reward
            no_value = jnp.zeros_like(reward)
            return -gradest.segment_objective(reward, no_value, *window.ends, gamma=self.config.gamma), window

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(nets.actor, Taps.of(eps).lost)

    def _before(self, state: State) -> State:
        if not self.config.restart:
            return state
        key, rng = jax.random.split(jax.random.wrap_key_data(state.worlds.rng))
        env_state, obs = state.env.reset(int(jax.random.randint(key, (), 0, 2**31 - 1)))
        worlds = state.worlds._replace(env_state=env_state, obs=obs, rng=jax.random.key_data(rng))
        counters = state.counters._replace(episodes=state.counters.episodes.restarted())
        return state.replace(worlds=worlds, counters=counters)


ALGORITHM = APG
