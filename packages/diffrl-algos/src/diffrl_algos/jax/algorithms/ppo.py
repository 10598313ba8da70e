"""Proximal Policy Optimization, without gradients of the simulator (Schulman et al. 2017)

The form in JAX of ``torch/algorithms/ppo.py``, where the sources are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

import gradest
from diffsim_core import Env

from ..._configs.ppo import PPOConfig
from .._adam import Adam
from .._distributions import Gaussian
from .._fit import descend, orders
from .._learner import Learned
from .._networks import GaussianActor
from .._normalize import RunningStats
from .._on_policy import AdvantageLearner
from .._state import TargetNets, Worlds
from .._window import Window


class PPONets(NamedTuple):
    """What PPO learns; see ``TargetNets``."""

    actor: Array
    actor_adam: Adam
    critic: Array
    critic_adam: Adam
    value_stats: RunningStats
    """Statistics of all value targets so far, of size 1; the critic gives values in their units."""
    adapted_lr: Array
    """Learning rate of the actor as adapted to the divergence, a scalar."""


class Batch(NamedTuple):
    """The actor's data, one row for each step of each world."""

    x: Array
    """Normalised observations."""
    u: Array
    """Actions before tanh."""
    log_prob: Array
    """Their log-densities under the policy that acted."""
    advantage: Array
    """Standardised."""


@dataclass(frozen=True)
class PPO(AdvantageLearner[PPOConfig]):
    """Proximal Policy Optimization. Needs no gradient of the environment.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes ``actor_iterations`` epochs over the window
    up the clipped surrogate (Eq. 7) of generalised advantages, and fits the critic to their TD(lambda) targets. An
    update that is not finite changes no parameter; it is counted.
    """

    config: PPOConfig = field(default_factory=PPOConfig)
    name: ClassVar[str] = "ppo"
    gradients: ClassVar[bool] = False

    def check(self, env: Env) -> None:
        if self.config.attempts > 1:
            raise ValueError(
                f"attempts is {self.config.attempts}, and PPO in JAX makes one; leave it out, or use torch"
            )
        super().check(env)

    def first(self, env: Env, obs: Array, key: Array) -> PPONets:
        nets: TargetNets = super().first(env, obs, key)
        rate = jnp.asarray(self.config.actor_lr, jnp.result_type(float))
        return PPONets(*nets[:4], RunningStats.init(1), rate)

    def learn(self, env: Env, nets: PPONets, worlds: Worlds, key: Array, done: Array) -> Learned:
        c, actor = self.config, self.actor(env)
        of_noise, of_epochs, of_fit = jax.random.split(key, 3)

        # The window and its advantages.
        window = self.explore(env, worlds, nets.actor, self.noise(env, worlds, of_noise))
        values = self.advantages(env, nets, worlds, window)
        x, target_value = values.x, values.target_value
        batch = self.batch_of(x, window, values.standardised())

        # The actor: after each epoch the rate adapts to the divergence.
        lr = nets.adapted_lr if c.adaptive_lr else self.lr(done, c.actor_lr)
        order = orders(of_epochs, c.actor_iterations, len(batch.x))

        def epoch(carry: tuple[Array, Adam, Array], rows: Array) -> tuple[tuple[Array, Adam, Array], dict[str, Array]]:
            flat, adam, lr = carry
            flat, adam, metrics = self.epoch(actor, flat, adam, batch, rows, lr)
            kl = window.policy.kl(actor(flat, x)).mean()
            return (flat, adam, _adapted(lr, kl, c.kl_target) if c.adaptive_lr else lr), {**metrics, "kl": kl}

        (flat, adam, last_lr), seen = jax.lax.scan(epoch, (nets.actor, nets.actor_adam, lr), order)
        metrics = {name: values[-1] for name, values in seen.items()}

        # The critic, in units of the targets so far.
        critic_lr = c.critic_lr * last_lr / c.actor_lr if c.adaptive_lr else self.lr(done, c.critic_lr)
        fitted, critic_loss = self.fit_values(env, nets, values, of_fit, critic_lr)
        changes: dict[str, Any] = {
            "actor": flat,
            "actor_adam": adam,
            "adapted_lr": last_lr.astype(nets.adapted_lr.dtype),
        }
        changes |= fitted
        metrics |= {
            "actor_lr": lr,
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "std_mean": jnp.exp(window.policy.logstd).mean(),
        }
        finite = (metrics["kl"], target_value, x, flat, fitted["critic"])
        return Learned(window, changes, finite, metrics)

    @staticmethod
    def batch_of(x: Array, window: Window, advantage: Array) -> Batch:
        """The rows of a window, for observations ``[T, N, no]`` and advantages ``[T, N]``."""
        parts = (x, window.u, window.policy.log_prob(window.u), advantage)
        return Batch(*(part.reshape(-1, *part.shape[2:]) for part in parts))

    def epoch(
        self, actor: GaussianActor, flat: Array, adam: Adam, batch: Batch, order: Array, lr: Array
    ) -> tuple[Array, Adam, dict[str, Array]]:
        """One epoch over minibatches in the given order ``[B]``; the mean loss and the last step's figures."""
        c = self.config

        def loss(flat: Array, rows: Batch, share: Array) -> tuple[Array, Array]:
            policy: Gaussian = actor(flat, rows.x)
            log_ratio = policy.log_prob(rows.u) - rows.log_prob
            # The surrogate of each row by itself, so that rows which fill up a minibatch weigh nothing.
            each = jax.vmap(lambda new, old, gain: gradest.clipped_surrogate(new, old, gain, clip=c.clip))
            terms = each((log_ratio + rows.log_prob)[:, None], rows.log_prob[:, None], rows.advantage[:, None])
            value = -(terms * share).sum()
            outside = (jnp.abs(jnp.expm1(log_ratio)) > c.clip) * share
            return value - c.entropy_coef * (policy.entropy() * share).sum(), jnp.stack([value, outside.sum()])

        size = -(-len(order) // c.actor_minibatches)
        options: dict[str, Any] = {"size": size, "optimizer": self.optimizer, "lr": lr}
        flat, adam, (_, kept, norm) = descend(loss, flat, adam, batch, order, **options)
        return flat, adam, {"actor_loss": kept[:, 0].mean(), "clipped": kept[-1, 1], "grad_norm": norm[-1]}


def _adapted(lr: Array, kl: Array, target: float) -> Array:
    """``adapt_to_divergence`` of torch's schedules. A divergence that is not a number counts as too large."""
    lower, higher = jnp.maximum(lr / 1.5, 1e-6), jnp.minimum(lr * 1.5, 1e-2)
    return jnp.where(kl <= 2.0 * target, jnp.where(kl < 0.5 * target, higher, lr), lower)


ALGORITHM = PPO
