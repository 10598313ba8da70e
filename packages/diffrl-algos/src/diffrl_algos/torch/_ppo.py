"""Proximal Policy Optimization: the model-free baseline, on the same networks, windows and bootstraps.

Schulman, Wolski, Dhariwal, Radford & Klimov, Proximal Policy Optimization Algorithms, 2017 (arXiv:1707.06347), Eq. 7,
with generalised advantages (Schulman et al. 2016) and a learning rate that follows the divergence of the policies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, Trajectory, rollout

from .._algorithm import Metrics
from .._configs import PPOConfig
from . import _distributed as distributed
from . import _training as training
from ._adam import Adam, Optimizer
from ._attempts import attempt
from ._critic import Critic, ValueFunction, fit_critic
from ._distributions import Gaussian
from ._episodes import Episodes
from ._mlp import MLP
from ._normalize import RunningStats, value_units
from ._policy import GaussianActor, GaussianPolicy, NoisyPolicy
from ._schedules import follow_divergence, learning_rate
from ._state import from_arrays, to_arrays


class PPOState(NamedTuple):
    """All that a PPO run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the critic, whose values are in units of ``value_stats``."""
    critic_adam: Adam
    value_stats: RunningStats
    """Statistics of all value targets so far, of size 1."""
    adapted_lr: Tensor
    """Learning rate of the actor as the divergence or failed attempts have moved it, a float64 scalar."""
    stats: RunningStats
    """Statistics of all observations before the next window; frozen while a window is rolled out."""
    env_state: EnvState
    obs: Tensor
    """``[N, no]``, what the policy sees next."""
    rng: Tensor
    """State of the random generator, bytes."""
    episodes: Episodes
    iteration: int
    env_steps: int
    refused: int
    """Updates refused because something in them was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


class _Batch(NamedTuple):
    """What the actor learns from, a row for each step of each world."""

    x: Tensor
    """Normalised observations."""
    u: Tensor
    """Actions before tanh."""
    log_prob: Tensor
    """Their log-densities under the policy that took them."""
    advantage: Tensor


@dataclass(frozen=True)
class PPO:
    """Proximal Policy Optimization. Needs no gradient of the environment.

    Each update rolls the stochastic policy out for ``horizon`` steps, takes ``actor_iterations`` passes over the window
    up the clipped surrogate (Eq. 7) of generalised advantages, and fits the critic to their TD(lambda) targets. An
    update that is not finite changes no parameter; it is counted.
    """

    config: PPOConfig = field(default_factory=PPOConfig)
    name: str = field(default="ppo", init=False)

    def init(self, env: Env, seed: int) -> PPOState:
        """The state before the first update.

        Raises:
            ValueError: the environment's observation is no tensor ``[N, no]``.
        """
        c = self.config
        env_state, obs = training.begin(env, seed, "PPO", gradients=False, processes=True)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        nets = _Networks.of(c, env)
        actor = nets.actor.init(generator, logstd=c.logstd_init).to(obs)
        critic = nets.critic.init(generator, gain=math.sqrt(2.0)).to(obs)
        return PPOState(
            actor=actor,
            actor_adam=Adam.init(actor),
            critic=critic,
            critic_adam=Adam.init(critic),
            value_stats=RunningStats.init(1, obs.device),
            adapted_lr=torch.full((), c.actor_lr, dtype=torch.float64),
            **training.first_fields(env, env_state, obs, generator),
        )

    def update(self, state: PPOState) -> tuple[PPOState, Metrics]:
        """One window, ``actor_iterations`` passes of the actor and ``critic_iterations`` of the critic."""
        with training.settings(self.config):
            return self._update(state)

    def _update(self, state: PPOState) -> tuple[PPOState, Metrics]:
        c, env, nets, clock = self.config, state.env, _Networks.of(self.config, state.env), training.Clock()
        generator, optimizer = training.generator_of(state), Optimizer(c.betas, c.max_grad_norm, c.weight_decay)
        shift, scale = training.normalizer(c, state)

        # The window and its advantages.
        with torch.no_grad():
            eps = training.normal(generator, state.obs, c.horizon, env.num_envs, env.spec.num_actions)
            noisy = NoisyPolicy(nets.actor, state.actor, shift, scale, eps)
            window, env_state, obs = rollout(env, noisy, state.env_state, state.obs, c.horizon)
            window = window._replace(reward=window.reward.detach())
            before, u = noisy.gaussian(), noisy.samples()
            x = torch.addcmul(shift, window.obs, scale)
            value, target_value = self._values(nets.critic, state, window, x, shift, scale)
            advantage = target_value - value
            parts = (x, u, before.log_prob(u), advantage)
            batch = _Batch(*(distributed.worlds(part, 1).flatten(0, 1) for part in parts))
            mean, std = batch.advantage.mean(), batch.advantage.std()
            batch = batch._replace(advantage=(batch.advantage - mean) / (std + 1e-8))
        clock.lap("rollout_s")

        # The actor.
        moved = c.adaptive_lr or c.attempts > 1
        lr = float(state.adapted_lr) if moved else learning_rate(c, c.actor_lr, state.iteration)
        first_lr, figures = lr, dict[str, Tensor]()

        def once(flat: Tensor, adam: Adam, rate: float) -> tuple[Adam, Tensor, Tensor]:
            nonlocal figures, lr
            losses = []
            for _ in range(c.actor_iterations):
                adam, figures = self._pass(nets.actor, flat, adam, batch, optimizer, rate, generator)
                losses.append(distributed.mean(figures["actor_loss"]))
                with torch.no_grad():
                    after = nets.actor(nets.actor.split(flat), x)
                    figures["kl"] = distributed.mean(before.kl(after).mean())
                if c.adaptive_lr:
                    lr = rate = follow_divergence(rate, float(figures["kl"]), c.kl_target)
            return adam, losses[0], losses[-1]

        if c.attempts > 1:
            phase = attempt(once, state.actor, state.actor_adam, lr, most=c.attempts, compound=False)
            improved, actor_adam, lr = phase.params, phase.adam, phase.rate
            if not phase.succeeded:
                figures["kl"] = torch.zeros_like(figures["kl"])
        else:
            improved = state.actor.clone()
            actor_adam, *_ = once(improved, state.actor_adam.clone(), lr)
        clock.lap("actor_s")

        # The critic.
        value_stats = state.value_stats.update(target_value.reshape(-1, 1))
        mean, std = value_units(value_stats, target_value, c.normalize_value)
        fitted, critic_adam, critic_loss = fit_critic(
            nets.critic,
            state.critic,
            state.critic_adam,
            x.flatten(0, 1),
            ((target_value - mean) / std).flatten(),
            config=c,
            optimizer=optimizer,
            lr=c.critic_lr * lr / c.actor_lr if c.adaptive_lr else learning_rate(c, c.critic_lr, state.iteration),
            generator=generator,
        )
        learned = {
            "actor": improved,
            "actor_adam": actor_adam,
            "critic": fitted,
            "critic_adam": critic_adam,
            "value_stats": value_stats,
            "adapted_lr": torch.full_like(state.adapted_lr, lr),
        }
        accepted = training.all_finite(improved, figures["kl"], target_value, fitted, batch.x)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("critic_s")
        figures |= {
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "std_mean": before.logstd.exp().mean(),
        }
        return new, training.report(new, window, figures, clock, actor_lr=first_lr)

    def policy(self, state: PPOState, *, deterministic: bool = True, seed: int = 0) -> GaussianPolicy:
        """The policy of ``state``, with the observation statistics up to now."""
        shift, scale = training.normalizer(self.config, state)
        generator = None if deterministic else torch.Generator(state.obs.device).manual_seed(seed)
        return GaussianPolicy(_Networks.of(self.config, state.env).actor, state.actor, shift, scale, generator)

    def value(self, state: PPOState) -> ValueFunction:
        """The critic's value of observations, for viewers."""
        shift, scale = training.normalizer(self.config, state)
        units = value_units(state.value_stats, state.obs, self.config.normalize_value)
        return ValueFunction(_Networks.of(self.config, state.env).critic, state.critic, shift, scale, *units)

    def to_arrays(self, state: PPOState) -> dict[str, np.ndarray]:
        return to_arrays(state)

    def from_arrays(self, state: PPOState, arrays: Mapping[str, np.ndarray]) -> PPOState:
        return from_arrays(state, arrays)

    def _values(
        self, critic: Critic, state: PPOState, window: Trajectory, x: Tensor, shift: Tensor, scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``V(s_t)`` and the TD(lambda) targets, both ``[T, N]``."""
        c = self.config
        mean, std = value_units(state.value_stats, x, c.normalize_value)
        value = mean + std * critic(state.critic, x)[0]
        value_next = mean + std * critic(state.critic, torch.addcmul(shift, window.final_obs, scale))[0]
        ends = (window.terminated, window.done)
        return value, value + gradest.gae(window.reward, value, value_next, *ends, gamma=c.gamma, lam=c.lam)

    def _pass(
        self,
        actor: GaussianActor,
        flat: Tensor,
        adam: Adam,
        batch: _Batch,
        optimizer: Optimizer,
        lr: float,
        generator: torch.Generator,
    ) -> tuple[Adam, dict[str, Tensor]]:
        """One pass over the window in random pieces, in place on ``flat`` and ``adam``; its mean loss and more."""
        c, figures, losses = self.config, dict[str, Tensor](), list[Tensor]()
        order = torch.randperm(len(batch.x), generator=generator, device=batch.x.device)
        for rows in order.split(-(-len(order) // c.actor_minibatches)):
            (rows,) = distributed.piece(rows)
            x, u, log_prob_old, advantage = (part[rows] for part in batch)
            params = flat.detach().requires_grad_()
            policy: Gaussian = actor(actor.split(params), x)
            log_prob = policy.log_prob(u)
            loss = -gradest.clipped_surrogate(log_prob, log_prob_old, advantage, clip=c.clip)
            (grad,) = torch.autograd.grad(loss - c.entropy_coef * policy.entropy().mean(), params)
            outside = gradest.out_of_range_ratio(log_prob.detach(), log_prob_old, clip=c.clip)
            adam, grad_norm = optimizer.step_(flat, adam, grad, lr)
            figures = {"grad_norm": grad_norm, "clipped": outside}
            losses.append(loss.detach())
        return adam, {"actor_loss": distributed.mean(torch.stack(losses).mean()), **figures}


class _Networks(NamedTuple):
    actor: GaussianActor
    critic: Critic

    @classmethod
    def of(cls, config: PPOConfig, env: Env) -> _Networks:
        num_obs, num_actions = env.spec.num_obs, env.spec.num_actions
        outputs = 2 * num_actions if config.state_dependent_std else num_actions
        actor = MLP((num_obs, *config.actor_hidden, outputs), config.activation, config.layer_norm)
        critic = MLP((num_obs, *config.critic_hidden, 1), config.activation, config.layer_norm)
        return cls(GaussianActor(actor, config.state_dependent_std), Critic(critic))
