"""Short-Horizon Actor-Critic (Xu et al. 2022)

The form in JAX of ``torch/algorithms/shac.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.shac import SHACConfig
from .._learner import CriticLearner, Learned
from .._state import TargetNets, Worlds
from .._window import Taps, Window


@dataclass(frozen=True)
class SHAC(CriticLearner[SHACConfig]):
    """Short-Horizon Actor-Critic.

    Each update rolls the stochastic policy out for ``horizon`` steps from where the last window ended,
    takes one Adam step up the gradient of the discounted rewards plus the target critic's value of the last
    observation (Eq. 5), fits the critic to TD(lambda) targets (Eq. 6 and 7) and moves the target critic
    towards it. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: SHACConfig = field(default_factory=SHACConfig)
    name: ClassVar[str] = "shac"

    def learn(self, env: Env, nets: TargetNets, worlds: Worlds, key: Array, done: Array) -> Learned:
        c = self.config
        of_noise, of_fit = jax.random.split(key)

        # One step of the actor (Eq. 5).
        eps = self.noise(env, worlds, of_noise)
        (loss, (window, value_next)), (grad, lost) = self.gradient(env, nets, worlds, eps)
        changes, metrics = self.descend(nets, grad, lost, window, done)

        # The critic and its targets (Eq. 6 and 7), and the target critic.
        steps = window.trajectory
        target_value = gradest.td_lambda(steps.reward, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next)
        x = worlds.normalizer(c)(steps.obs)
        fitted, critic_loss = self.fit(env, nets, x, target_value, of_fit, self.lr(done, c.critic_lr))
        metrics |= {"actor_loss": loss, "critic_loss": critic_loss, "value_mean": target_value.mean()}
        changes |= fitted
        finite = (metrics["grad_norm"], target_value, x, changes["actor"], changes["critic"])
        return Learned(window, changes, finite, metrics)

    def gradient(
        self, env: Env, nets: TargetNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, tuple[Window, Array]], tuple[Array, Array]]:
        """The loss for noise ``eps [T, N, na]``, with its window and the values of the next observations ``[T, N]``;
        the gradients of parameters and of ``Taps.lost``."""
        normalize, critic = worlds.normalizer(self.config), self.critic(env)

        def loss(flat: Array, lost: Array) -> tuple[Array, tuple[Window, Array]]:
            window = self.explore(env, worlds, flat, eps, Taps.of(eps)._replace(lost=lost))
            steps = window.trajectory
            value_next = critic(nets.target, normalize(steps.final_obs))[0]
            objective = gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=self.config.gamma)
            return -objective, (window, value_next)

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(nets.actor, Taps.of(eps).lost)


ALGORITHM = SHAC
