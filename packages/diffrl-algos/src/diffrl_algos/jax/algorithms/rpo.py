"""Reparameterization Proximal Policy Optimization (Zhong et al. 2025)

The form in JAX of ``torch/algorithms/rpo.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.rpo import RPOConfig
from .._fit import orders
from .._learner import CriticLearner, Learned
from .._networks import Critic, over_critics, value_critic
from .._reuse import Rows, reuse
from .._state import TargetNets, Worlds
from .._window import Taps, Window


@dataclass(frozen=True)
class RPO(CriticLearner[RPOConfig]):
    """Reparameterization Proximal Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps and differentiates SHAC's objective with respect
    to every action, once. It then takes ``actor_iterations`` epochs up these gradients, each weighted by the ratio of
    the action's densities if that is in range, less a divergence from the policy that acted, and fits the critics to
    TD(lambda) targets. An update that is not finite changes no parameter; it is counted.
    """

    config: RPOConfig = field(default_factory=RPOConfig)
    name: ClassVar[str] = "rpo"

    def learn(self, env: Env, nets: TargetNets, worlds: Worlds, key: Array, done: Array) -> Learned:
        c, network = self.config, self.actor(env)
        of_noise, of_epochs, of_fit = jax.random.split(key, 3)

        # The window, and its gradient with respect to every action.
        eps = self.noise(env, worlds, of_noise)
        (objective, (window, values)), (gradient, lost) = self.gradient(env, nets, worlds, eps)
        x = worlds.normalizer(c)(window.trajectory.obs)

        # The epochs of the actor.
        rows, lr = Rows.of(x, window, gradient), self.lr(done, c.actor_lr)
        order = orders(of_epochs, c.actor_iterations, len(rows.x), shuffle=c.actor_minibatches > 1)
        options = {"optimizer": self.optimizer, "lr": lr}
        actor, adam, norms = reuse(c, network, nets.actor, nets.actor_adam, rows, order, **options)
        after = network(actor, rows.x)
        kl = gradest.gaussian_kl(*rows.old, *after).mean()

        # The critics and their targets, and the target critics.
        value_next = over_critics(values, c.target_value)
        target_value = gradest.td_lambda(window.trajectory.reward, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next)
        fitted, critic_loss = self.fit(env, nets, x, target_value, of_fit, self.lr(done, c.critic_lr))
        metrics = {
            "actor_loss": -objective,
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "grad_norm": norms[0, 0],
            "lost_gradients": lost.mean(),
            "kl": kl,
            "out_of_range": (rows.weight(c, after) == 0.0).mean(dtype=kl.dtype),
            "entropy": gradest.gaussian_entropy(rows.old.logstd).mean(),
            "std_mean": jnp.exp(window.policy.logstd).mean(),
            "actor_lr": lr,
            "epochs": jnp.asarray(c.actor_iterations, kl.dtype),
        }
        changes = {"actor": actor, "actor_adam": adam, **fitted}
        return Learned(window, changes, (gradient, norms, kl, target_value, x, actor, changes["critic"]), metrics)

    def gradient(
        self, env: Env, nets: TargetNets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, tuple[Window, Array]], tuple[Array, Array]]:
        """SHAC's objective for noise ``eps [T, N, na]``, with its window and the critics' values ``[C, T, N]`` of the
        next observations; its gradients with respect to the actions before tanh and ``Taps.lost``."""
        c, normalize, critic = self.config, worlds.normalizer(self.config), self.critic(env)

        def objective(taps: Taps) -> tuple[Array, tuple[Window, Array]]:
            window = self.explore(env, worlds, nets.actor, eps, taps)
            steps = window.trajectory
            values = critic(nets.target, normalize(steps.final_obs))
            value_next = over_critics(values, c.actor_value)
            return gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=c.gamma), (window, values)

        (value, (window, values)), by = jax.value_and_grad(objective, has_aux=True)(Taps.of(eps))
        return (value, (window, values)), (by.before_tanh(window.trajectory.action), by.lost)

    def critic(self, env: Env) -> Critic:
        return value_critic(self.config, env, self.config.num_critics)


ALGORITHM = RPO
