"""Adaptive-Gradient Policy Optimization (Gao et al. 2024)

The form in JAX of ``torch/algorithms/agpo.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.agpo import AGPOConfig
from ..._outliers import outlier_rule
from .._adam import Adam
from .._learner import CriticLearner, Learned
from .._networks import Critic, q_critic
from .._state import TargetNets, Worlds
from .._window import Taps, Window


class AGPONets(NamedTuple):
    """What AGPO learns; see ``TargetNets``."""

    actor: Array
    actor_adam: Adam
    critic: Array
    critic_adam: Adam
    target: Array
    previous: Array
    """Flat parameters of the actor one update ago, which the divergence may be measured from."""


class Judged(NamedTuple):
    """A window with the values of its actions, and how its gradients are to be mixed."""

    window: Window
    q: Array
    """``[T, N]`` of the actions that were taken."""
    q_next: Array
    """``[T, N]`` of actions of the policy after each step."""
    alpha: Array
    """``[T]``, Eq. 3."""
    credit: gradest.CreditWeights
    entropy: Array
    """``[T]`` of the actions of each step."""
    kl: Array
    """From the policy of the update before."""


@dataclass(frozen=True)
class AGPO(CriticLearner[AGPOConfig]):
    """Adaptive-Gradient Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps and finds, for each of them, how the simulator's
    gradient and the Q function's are to be mixed (Eq. 1-3; ``ratio``). It takes one Adam step along the gradient that
    ``gradest.credit_weights`` describes (Eq. 4 where ``truncation`` is bootstrap, drop or restart), and fits the Q
    functions to their targets. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: AGPOConfig = field(default_factory=AGPOConfig)
    name: ClassVar[str] = "agpo"

    def check(self, env: Env) -> None:
        if env.num_envs < 2 and self.config.ratio != "fixed":
            raise ValueError(
                f"num_envs is {env.num_envs}, and AGPO takes variances over worlds; give it at least 2, or ratio=fixed"
            )
        super().check(env)

    def first(self, env: Env, obs: Array, key: Array) -> AGPONets:
        nets: TargetNets = super().first(env, obs, key)
        return AGPONets(*nets, nets.actor)

    def learn(self, env: Env, nets: AGPONets, worlds: Worlds, key: Array, done: Array) -> Learned:
        c = self.config
        of_noise, of_fit = jax.random.split(key)

        # One step of the actor.
        eps = self.noise(env, worlds, of_noise, 2)
        (loss, judged), (grad, lost) = self.gradient(env, nets, worlds, eps)
        window, steps = judged.window, judged.window.trajectory
        changes, metrics = self.descend(nets, grad, lost, window, done)

        # The Q functions, their targets and their moving average.
        reward = c.reward_scale * steps.reward
        target_value = gradest.td_lambda(reward, judged.q_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, judged.q)
        inputs = jnp.concatenate([worlds.normalizer(c)(steps.obs), steps.action], axis=-1)
        optimizer = self.optimizer._replace(max_norm=c.critic_max_grad_norm)
        fitted, critic_loss = self.fit(
            env, nets, inputs, target_value, of_fit, self.lr(done, c.critic_lr), optimizer=optimizer
        )

        horizon = {"threshold": c.threshold, "truncation": c.truncation}
        metrics |= {
            "actor_loss": loss,
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "entropy": judged.entropy.mean(),
            "kl": judged.kl,
            "alpha_mean": judged.alpha.mean(),
            "beta_mean": judged.credit.beta.mean(),
            "effective_horizon": gradest.effective_horizon(judged.alpha, window.ends[1], **horizon),
        }
        changes |= {"previous": nets.actor, **fitted}
        finite = (metrics["grad_norm"], target_value, inputs, changes["actor"], changes["critic"])
        return Learned(window, changes, finite, metrics)

    def gradient(
        self, env: Env, nets: AGPONets, worlds: Worlds, eps: Array
    ) -> tuple[tuple[Array, Judged], tuple[Array, Array]]:
        """The loss for noise ``eps [2, T, N, na]`` of the actions and of those after each step, and what it leaves; the
        gradients of parameters and of ``Taps.lost``.

        The window is rolled out once and gone back through twice: with all links closed, for the gradient of every
        step with respect to its own action; and as far as the credit goes that follows from these.
        """
        c, actor, critic = self.config, self.actor(env), self.critic(env)
        normalize = worlds.normalizer(c)
        rule = outlier_rule(c, c.horizon * env.num_envs, jnp.where)

        def roll(flat: Array, taps: Taps) -> tuple[tuple[Array, ...], Window]:
            window = self.explore(env, worlds, flat, eps[0], taps, links=True, rule=rule)
            steps = window.trajectory
            policy = actor(flat, normalize(steps.final_obs))
            next_action = jnp.tanh(policy.mean + eps[1] * jnp.exp(policy.logstd))
            q, q_next = (
                critic(nets.target, jnp.concatenate(part, axis=-1)).min(0)
                for part in ((normalize(steps.obs), steps.action), (normalize(steps.final_obs), next_action))
            )
            return (steps.reward, q, q_next, window.links), window

        (reward, q, q_next, links), back, window = jax.vjp(roll, nets.actor, Taps.of(eps[0]), has_aux=True)
        closed = jnp.zeros_like(links)
        steps = window.trajectory
        alpha = self._ratio(nets, worlds, critic, window, lambda by: back((*by, closed))[1].push)
        credit = gradest.credit_weights(
            alpha, *window.ends, gamma=c.gamma, threshold=c.threshold, truncation=c.truncation
        )

        def objective(reward: Array, q: Array, q_next: Array) -> Array:
            return gradest.credit_mean(credit, c.reward_scale * reward, q, q_next)

        value, by_outputs = jax.value_and_grad(objective, (0, 1, 2))(reward, q, q_next)
        opened = jnp.concatenate([closed[:1], credit.link[:-1].astype(links.dtype)])
        grad, by_taps = back((*by_outputs, opened))

        def regularisers(flat: Array) -> tuple[Array, tuple[Array, Array]]:
            x = jax.lax.stop_gradient(normalize(steps.obs))
            policy = actor(flat, x)
            entropy = -policy.squashed_log_prob(policy.mean + eps[0] * jnp.exp(policy.logstd)).mean(-1)
            kl = policy.kl(actor(nets.previous, x)).mean()
            # The Q functions need actions with spread to learn from; the simulator does not.
            weight = c.entropy_coef * (c.entropy_floor + (1.0 - c.entropy_floor) * (1.0 - alpha))
            # Without the test, a divergence that overflows would spoil the gradient by zero times infinity.
            penalty = c.kl_coef * kl if c.kl_coef > 0 and c.kl_reference == "previous" else 0.0
            return (weight * entropy).mean() - penalty, (entropy, kl)

        (extra, (entropy, kl)), by_extra = jax.value_and_grad(regularisers, has_aux=True)(nets.actor)
        judged = Judged(window, q, q_next, alpha, credit, entropy, kl)
        return (-(value + extra), judged), (-(grad + by_extra), by_taps.lost)

    def _ratio(self, nets: AGPONets, worlds: Worlds, critic: Critic, window: Window, back: Any) -> Array:
        """Mixture ratio ``alpha [T]`` of every step (Eq. 3, or ours).

        ``back`` gives the gradient of each step's action from cotangents of ``(reward, q, q_next)``.
        """
        c, steps = self.config, window.trajectory
        if c.ratio == "fixed":
            return jnp.full(steps.reward.shape[:1], c.fixed_ratio, steps.reward.dtype)
        follows = jnp.where(steps.terminated, 0.0, c.gamma).astype(steps.reward.dtype)
        nothing = jnp.zeros_like(steps.reward)
        first = back((jnp.full_like(steps.reward, c.reward_scale), nothing, follows))
        x = worlds.normalizer(c)(steps.obs)

        def value(action: Array) -> Array:
            return critic(nets.target, jnp.concatenate([x, action], axis=-1)).min(0).sum()

        # Worlds that end with a step are left out: a new episode follows there, or nothing.
        return gradest.adaptive_ratio(
            first,
            jax.grad(value)(steps.action),
            ~steps.done,
            variance=c.variance,
            nonfinite=c.nonfinite,
            tolerance=c.tolerance if c.ratio == "tolerant" else None,
        )

    def critic(self, env: Env) -> Critic:
        return q_critic(self.config, env, self.config.num_critics)

    def gains(self) -> tuple[float | None, float | None]:
        return None, 1.0


ALGORITHM = AGPO
