"""What algorithms share that mix first- and zeroth-order gradients of SHAC's objective."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from .._configs.advantages import AdvantageConfig
from ._adam import Adam
from ._learner import Learned
from ._normalize import RunningStats
from ._on_policy import AdvantageLearner, Advantages
from ._state import TargetNets, Worlds
from ._window import Taps, Window

ConfigT = TypeVar("ConfigT", bound=AdvantageConfig)


class OnPolicyNets(NamedTuple):
    """What such an algorithm learns; see ``TargetNets``."""

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
    mixed: Any


class FirstOrder(NamedTuple):
    """SHAC's objective of a window, and its gradients by the actions."""

    value: Array
    """The objective, a mean over worlds and steps."""
    window: Window
    values: Advantages
    by_action: Array
    """``[T, N, na]``, by the actions before tanh; 0 where it was blocked."""
    lost: Array
    """``[T, N]``, 1 where it was."""


@dataclass(frozen=True)
class MixtureLearner(AdvantageLearner[ConfigT]):
    """An algorithm that is its mixture of two gradients: a window, a step of Adam along it, and a fit of the critic."""

    def first(self, env: Env, obs: Array, key: Array) -> OnPolicyNets:
        nets: TargetNets = super().first(env, obs, key)
        return OnPolicyNets(*nets, RunningStats.init(1))

    @abstractmethod
    def gradient(
        self, env: Env, nets: OnPolicyNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, Estimated], tuple[Array, Array]]:
        """The loss, which is SHAC's, for noise ``eps [T, N, na]``, and what it leaves; the mixed gradient to go down
        with respect to the parameters, and the gradient of ``Taps.lost``."""

    @abstractmethod
    def figures(self, mixed: Any) -> dict[str, Array]:
        """Metrics of a mixture."""

    def learn(self, env: Env, nets: OnPolicyNets, worlds: Worlds, key: Array, done: Array) -> Learned:
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
            **self.figures(mixed),
        }
        finite = (metrics["grad_norm"], values.target_value, values.x, values.advantage)
        return Learned(window, changes, (*finite, changes["actor"], changes["critic"]), metrics)

    def first_order(self, env: Env, nets: OnPolicyNets, worlds: Worlds, eps: Array) -> FirstOrder:
        """SHAC's objective for noise ``eps [T, N, na]``; one pass back through the simulator gives all gradients."""

        def objective(taps: Taps) -> tuple[Array, tuple[Window, Advantages]]:
            window = self.explore(env, worlds, nets.actor, eps, taps)
            values = self.advantages(env, nets, worlds, window)
            reward = window.trajectory.reward
            value = gradest.segment_objective(reward, values.value_next, *window.ends, gamma=self.config.gamma)
            return value, (window, values)

        (value, (window, values)), by = jax.value_and_grad(objective, has_aux=True)(Taps.of(eps))
        # The taps are behind the gate and tanh, so both are still to be passed.
        slope = jnp.where(by.lost[..., None] > 0, 0.0, by.push) * (1.0 - window.trajectory.action**2)
        return FirstOrder(value, window, values, slope, by.lost)

    def zeroth_weight(self, window: Window, advantage: Array, discount: bool) -> Array:
        """Advantages ``[T, N]`` as they weigh scores: with ``discount`` those of SHAC's objective."""
        if discount:
            return gradest.segment_discounted(advantage, window.ends[1], factor=self.config.gamma)
        return advantage
