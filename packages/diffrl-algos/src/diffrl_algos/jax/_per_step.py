"""What IVW-H and DDCG share; see ``torch/_per_step.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from .._configs.per_step import PerStepConfig
from .._mixing import Samples, compares, figures, mix
from ._on_policy import Advantages
from ._state import Worlds
from ._two_orders import Estimated, MixtureLearner, OnPolicyNets
from ._window import Window

ConfigT = TypeVar("ConfigT", bound=PerStepConfig)


@dataclass(frozen=True)
class PerStepLearner(MixtureLearner[ConfigT]):
    """An algorithm that mixes the simulator's gradient of every action with the likelihood-ratio gradient."""

    def check(self, env: Env) -> None:
        title = type(self).__name__
        self.config.check_worlds(env.num_envs, title)
        if self.config.through_time:
            raise ValueError(f"through_time is true, which {title} has in torch alone; leave through_time out")
        super().check(env)

    @property
    def trials(self) -> int:
        return int(compares(self.config))

    def gradient(
        self, env: Env, nets: OnPolicyNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, Estimated], tuple[Array, Array]]:
        value, window, values, by_action, lost = self.first_order(env, nets, worlds, eps)
        samples, count, actor = self.samples(env, nets, worlds, window, values, eps), lost.size, self.actor(env)
        mixture = mix(jnp, self.config, count * by_action, lost > 0, samples)

        def outputs(flat: Array) -> Array:
            policy = actor(flat, values.x)
            return jnp.concatenate([policy.mean, jnp.broadcast_to(policy.logstd, policy.mean.shape)], axis=-1)

        _, back = jax.vjp(outputs, nets.actor)
        (gradient,) = back(mixture.gradient / count)
        return (-value, Estimated(window, values, mixture)), (-gradient, lost)

    def figures(self, mixed: gradest.StepMixture) -> dict[str, Array]:
        return figures(jnp, mixed)

    def samples(
        self, env: Env, nets: OnPolicyNets, worlds: Worlds, window: Window, values: Advantages, eps: Array
    ) -> Samples:
        """What the mixtures of a window with noise ``eps [T, N, na]`` are made of."""
        c, residual = self.config, self.residual(env, nets, worlds, window)
        if compares(c):
            # Worlds start in states of their own. What these earn without noise is no effect of the noise.
            calm = self.explore(env, worlds, nets.actor, jnp.zeros_like(eps))
            residual = residual - self.residual(env, nets, worlds, calm)
        weight = self.zeroth_weight(window, values.advantage, c.discount_advantages)
        std = jnp.broadcast_to(jnp.exp(window.policy.logstd), eps.shape)
        return Samples.of(jnp, weight, residual, eps, std, values.taken)

    def residual(self, env: Env, nets: OnPolicyNets, worlds: Worlds, window: Window) -> Array:
        """One-step advantages ``[T, N]``, weighted as SHAC's objective weighs what follows a step."""
        steps, ends = window.trajectory, window.ends
        value, value_next = self.values(env, nets, worlds, window)
        residual = gradest.gae(steps.reward, value, value_next, *ends, gamma=self.config.gamma, lam=0.0)
        return self.zeroth_weight(window, jnp.where(steps.valid, residual, 0.0), True)
