"""Soft Analytic Policy Optimization (Xing et al. 2024)

The form in JAX of ``torch/algorithms/sapo.py``, where the sources are; without encoders.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.sapo import SAPOConfig
from .._adam import Adam, Optimizer
from .._learner import CriticLearner, Learned
from .._networks import Critic, over_critics, value_critic
from .._return_scale import ReturnScale
from .._state import TargetNets, Worlds
from .._window import Taps, Window


class SAPONets(NamedTuple):
    """What SAPO learns; see ``TargetNets``."""

    actor: Array
    actor_adam: Adam
    critic: Array
    critic_adam: Adam
    target: Array
    log_temperature: Array
    """``[1]``."""
    temperature_adam: Adam
    returns: ReturnScale
    """Scale of the returns, for ``normalize_return``; it is not updated without."""


class Seen(NamedTuple):
    """What the loss of a window leaves, for noise that it was given."""

    window: Window
    reward: Array
    """``[T, N]`` rewards of the critics' targets, in the unit of the returns."""
    values: Array
    """``[C, T, N]`` values of the next observations."""
    entropy: Array
    """``[T, N]`` of the actions, one sample of each."""
    returns: ReturnScale


@dataclass(frozen=True)
class SAPO(CriticLearner[SAPOConfig]):
    """Soft Analytic Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes one step up the gradient of the
    discounted rewards and entropies plus the critics' soft value of the last observation (Eq. 8 and 9), moves the
    temperature (Eq. 21), and fits the critics to soft TD(lambda) targets (Eq. 10). An update whose gradient is not
    finite changes no parameter; it is counted.
    """

    config: SAPOConfig = field(default_factory=SAPOConfig)
    name: ClassVar[str] = "sapo"

    def first(self, env: Env, obs: Array, key: Array) -> SAPONets:
        temperature = jnp.log(jnp.full(1, self.config.temperature_init, obs.dtype))
        nets: TargetNets = super().first(env, obs, key)
        return SAPONets(*nets, temperature, Adam.init(temperature), ReturnScale.init(env.num_envs))

    def learn(self, env: Env, nets: SAPONets, worlds: Worlds, key: Array, done: Array) -> Learned:
        c = self.config
        of_noise, of_fit = jax.random.split(key)

        # One step of the actor (Eq. 8 and 9), and of the temperature towards the target entropy (Eq. 21).
        eps = self.noise(env, worlds, of_noise)
        (loss, seen), (grad, lost) = self.gradient(env, nets, worlds, eps, done)
        changes, metrics = self.descend(nets, grad, lost, seen.window, done)
        excess = seen.entropy.mean() - self._target_entropy(env, done)
        changes |= {**self._adapted(nets, excess), "returns": seen.returns}

        # The critics and their targets (Eq. 10).
        window, value_next = seen.window, over_critics(seen.values, c.target_value)
        target_value = gradest.td_lambda(seen.reward, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next)
        x = worlds.normalizer(c)(window.trajectory.obs)
        fitted, critic_loss = self.fit(env, nets, x, target_value, of_fit, self.lr(done, c.critic_lr))
        changes |= fitted
        metrics |= {
            "actor_loss": loss,
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "value_spread": (seen.values.max(0) - seen.values.min(0)).mean(),
            "entropy": seen.entropy.mean(),
            "temperature": jnp.exp(nets.log_temperature[0]),
            **({"return_unit": seen.returns.unit(loss.dtype)} if c.normalize_return else {}),
        }
        networks = (changes["actor"], changes["critic"], changes["log_temperature"])
        return Learned(window, changes, (metrics["grad_norm"], target_value, x, *networks), metrics)

    def gradient(
        self, env: Env, nets: SAPONets, worlds: Worlds, eps: Array, done: Array
    ) -> tuple[tuple[Array, Seen], tuple[Array, Array]]:
        """The loss for noise ``eps [T, N, na]``, and what it leaves; the gradients of parameters and ``Taps.lost``."""
        c, normalize, critic = self.config, worlds.normalizer(self.config), self.critic(env)
        target_entropy = self._target_entropy(env, done)

        def loss(flat: Array, lost: Array) -> tuple[Array, Seen]:
            window = self.explore(env, worlds, flat, eps, Taps.of(eps)._replace(lost=lost))
            steps = window.trajectory
            entropy = -window.policy.squashed_log_prob(window.u)
            bonus = (entropy - target_entropy) / (-2.0 * target_entropy) if c.normalize_entropy else entropy
            returns, reward = nets.returns, steps.reward
            if c.normalize_return:
                returns = returns.update(reward, steps.done, c.gamma)
                reward = reward / returns.unit(reward.dtype)
            soft = gradest.soft_reward(reward, bonus, temperature=jnp.exp(nets.log_temperature[0]))
            values = critic(nets.target, normalize(steps.final_obs))
            value_next, gain = over_critics(values, c.actor_value), soft if c.actor_entropy else reward
            objective = gradest.segment_objective(gain, value_next, *window.ends, gamma=c.gamma)
            return -objective, Seen(window, soft if c.soft_value else reward, values, entropy, returns)

        return jax.value_and_grad(loss, (0, 1), has_aux=True)(nets.actor, Taps.of(eps).lost)

    def critic(self, env: Env) -> Critic:
        return value_critic(self.config, env, self.config.num_critics)

    def gains(self) -> tuple[float | None, float | None]:
        return self.config.init_gain if self.config.actor_init == "orthogonal" else None, self.config.init_gain

    def _target_entropy(self, env: Env, done: Array) -> Array:
        """Of all actions of a step, in this update [nat]."""
        c = self.config
        return -env.spec.num_actions * c.target_entropy * (1.0 + (c.target_entropy_growth - 1.0) * done)

    def _adapted(self, nets: SAPONets, excess: Array) -> dict[str, Any]:
        """The temperature after one step down ``temperature * excess``, for the entropy above its target."""
        c = self.config
        if not c.auto_temperature:
            return {"log_temperature": nets.log_temperature}
        slope = jnp.exp(nets.log_temperature) * excess
        # No decay: the temperature has no natural size.
        optimizer = Optimizer(c.betas, c.max_grad_norm)
        moved, adam, _ = optimizer.step(nets.log_temperature, nets.temperature_adam, slope, c.temperature_lr)
        return {"log_temperature": moved, "temperature_adam": adam}


ALGORITHM = SAPO
