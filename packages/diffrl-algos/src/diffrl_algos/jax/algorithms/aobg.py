"""Alpha-order batched gradient (Suh et al. 2022)

The form in JAX of ``torch/algorithms/aobg.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.aobg import AOBGConfig
from .._adam import Adam
from .._learner import Learned
from .._normalize import RunningStats
from .._on_policy import AdvantageLearner, Advantages
from .._per_world import pathwise_gradients, score_gradients
from .._state import TargetNets, Worlds
from .._window import Taps, Window


class AOBGNets(NamedTuple):
    """What AoBG learns; see ``TargetNets``."""

    actor: Array
    actor_adam: Adam
    critic: Array
    critic_adam: Adam
    target: Array
    value_stats: RunningStats
    """Statistics of all value targets so far, of size 1; with ``normalize_value`` the critic has their units."""


class Estimated(NamedTuple):
    """A window with its values, and the mixture of its two gradients."""

    window: Window
    values: Advantages
    mixed: gradest.AlphaOrderGradient


@dataclass(frozen=True)
class AOBG(AdvantageLearner[AOBGConfig]):
    """Alpha-order batched gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps and takes one Adam step up a mixture of two means
    over worlds: of the gradients of SHAC's objective, and of likelihood-ratio gradients with generalised advantages. It
    fits the critic to TD(lambda) targets and moves the target critic towards it. An update that is not finite changes
    no parameter; it is counted.
    """

    config: AOBGConfig = field(default_factory=AOBGConfig)
    name: ClassVar[str] = "aobg"

    def check(self, env: Env) -> None:
        self.config.halves(env.num_envs)
        super().check(env)

    def first(self, env: Env, obs: Array, key: Array) -> AOBGNets:
        nets: TargetNets = super().first(env, obs, key)
        return AOBGNets(*nets, RunningStats.init(1))

    def learn(self, env: Env, nets: AOBGNets, worlds: Worlds, key: Array, done: Array) -> Learned:
        of_noise, of_fit = jax.random.split(key)

        # One step of the actor.
        eps = self.noise(env, worlds, of_noise)
        (loss, (window, values, mixed)), (grad, lost) = self.gradient(env, nets, worlds, eps)
        changes, metrics = self.descend(nets, grad, lost, window, done)

        # The critic, its targets, and the target critic.
        fitted, critic_loss = self.fit_values(env, nets, values, of_fit, self.lr(done, self.config.critic_lr))
        changes |= fitted
        metrics |= {
            "actor_loss": loss,
            "critic_loss": critic_loss,
            "value_mean": values.target_value.mean(),
            "alpha": mixed.alpha,
            "first_variance": mixed.variance_first,
            "zeroth_variance": mixed.variance_zeroth,
            "bias": mixed.bias,
        }
        finite = (metrics["grad_norm"], values.target_value, values.x, values.advantage)
        return Learned(window, changes, (*finite, changes["actor"], changes["critic"]), metrics)

    def gradient(
        self, env: Env, nets: AOBGNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, Estimated], tuple[Array, Array]]:
        """The loss, which is SHAC's, for noise ``eps [T, N, na]``, and what it leaves; the mixed gradient to go down
        with respect to the parameters, and the gradient of ``Taps.lost``."""
        c = self.config

        def objective(taps: Taps) -> tuple[Array, tuple[Window, Advantages]]:
            window = self.explore(env, worlds, nets.actor, eps, taps)
            values = self.advantages(env, nets, worlds, window)
            reward = window.trajectory.reward
            value = gradest.segment_objective(reward, values.value_next, *window.ends, gamma=c.gamma)
            return value, (window, values)

        (value, (window, values)), by = jax.value_and_grad(objective, has_aux=True)(Taps.of(eps))
        first, zeroth = self.batches(env, nets.actor, window, values, eps, by.before_tanh(window.trajectory.action))
        mixed = gradest.alpha_order_gradient(
            first, zeroth, tolerance=c.tolerance, bound=c.bound, delta=c.delta, slack=c.slack
        )
        return (-value, Estimated(window, values, mixed)), (-mixed.gradient, by.lost)

    def batches(
        self, env: Env, flat: Array, window: Window, values: Advantages, eps: Array, by_action: Array
    ) -> tuple[Array, Array]:
        """The first-order gradients of some worlds, and the zeroth-order ones of the same or of others: ``[N, P]``.

        ``by_action [T, N, na]`` is the gradient of the objective, a mean over worlds, by the actions before tanh.
        """
        c, actor = self.config, self.actor(env)
        first, zeroth = c.halves(env.num_envs)
        advantage = values.advantage
        if c.discount_advantages:
            advantage = gradest.segment_discounted(advantage, window.ends[1], factor=c.gamma)
        slope, weight = by_action * env.num_envs, advantage / len(advantage)
        x, u = values.x, window.u
        return (
            pathwise_gradients(actor, flat, x[:, first], eps[:, first], slope[:, first]),
            score_gradients(actor, flat, x[:, zeroth], u[:, zeroth], weight[:, zeroth]),
        )


ALGORITHM = AOBG
