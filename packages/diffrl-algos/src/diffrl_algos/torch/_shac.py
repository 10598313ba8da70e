"""Short-Horizon Actor-Critic: learn a policy through windows of a differentiable simulator.

Xu, Makoviychuk, Narang, Ramos, Matusik, Garg & Macklin, Accelerated Policy Learning with Parallel
Differentiable Simulation, ICLR 2022 (arXiv:2204.07137): Algorithm 1 and Eq. 5-7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, rollout

from .._algorithm import Metrics
from .._configs import SHACConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import Critic, fit_critic
from ._episodes import Episodes
from ._learner import ValueLearner
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import GaussianActor, NoisyPolicy
from ._schedules import learning_rate


class SHACState(NamedTuple):
    """All that a SHAC run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the critic."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters of the target critic, which is what values are taken from."""
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
    """Updates refused because a gradient or a value target was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class SHAC(ValueLearner[SHACConfig, SHACState]):
    """Short-Horizon Actor-Critic.

    Each update rolls the stochastic policy out for ``horizon`` steps from where the last window ended,
    takes one Adam step up the gradient of the discounted rewards plus the target critic's value of what
    follows (Eq. 5), then fits the critic to TD(lambda) targets (Eq. 6 and 7) and moves the target critic
    towards it. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: SHACConfig = field(default_factory=SHACConfig)
    name: str = field(default="shac", init=False)

    def init(self, env: Env, seed: int) -> SHACState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is no tensor ``[N, no]``.
        """
        c = self.config
        env_state, obs = training.begin(env, seed, "SHAC", window=self.config.horizon, processes=True)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        nets = self._networks(env)
        actor = nets.actor.init(generator, logstd=c.logstd_init).to(obs)
        critic = nets.critic.init(generator, gain=math.sqrt(2.0)).to(obs)
        return SHACState(
            actor=actor,
            actor_adam=Adam.init(actor),
            critic=critic,
            critic_adam=Adam.init(critic),
            target=critic.clone(),
            **training.first_fields(env, env_state, obs, generator),
        )

    def _update(self, state: SHACState) -> tuple[SHACState, Metrics]:
        c, env, nets, clock = self.config, state.env, self._networks(state.env), training.Clock()
        generator, optimizer = training.generator_of(state), Optimizer(c.betas, c.max_grad_norm)
        actor_lr, critic_lr = (learning_rate(c, start, state.iteration) for start in (c.actor_lr, c.critic_lr))
        shift, scale = training.normalizer(c, state)

        # The window, and what it is worth (Eq. 5).
        actor = state.actor.detach().requires_grad_()
        eps = training.normal(generator, state.obs, c.horizon, env.num_envs, env.spec.num_actions)
        noisy = NoisyPolicy(nets.actor, actor, shift, scale, eps)
        window, env_state, obs = rollout(env, noisy, state.env_state, state.obs, c.horizon)
        value_next = nets.critic(state.target, torch.addcmul(shift, window.final_obs, scale))[0]
        ends = (window.terminated, window.done)
        loss = -gradest.segment_objective(window.reward, value_next, *ends, gamma=c.gamma)
        clock.lap("rollout_s")

        # One step of the actor.
        (grad,) = torch.autograd.grad(loss, actor)
        improved, actor_adam, grad_norm = optimizer.step(state.actor, state.actor_adam, grad, actor_lr)
        clock.lap("backward_s")

        # The critic (Eq. 6 and 7), and the target critic after it.
        reward = window.reward.detach()
        target_value = gradest.td_lambda(reward, value_next.detach(), *ends, gamma=c.gamma, lam=c.lam)
        x = torch.addcmul(shift, window.obs.detach().flatten(0, 1), scale)
        fitted, critic_adam, critic_loss = fit_critic(
            nets.critic,
            state.critic,
            state.critic_adam,
            x,
            target_value.flatten(),
            config=c,
            optimizer=optimizer,
            lr=critic_lr,
            generator=generator,
        )
        learned = {
            "actor": improved,
            "actor_adam": actor_adam,
            "critic": fitted,
            "critic_adam": critic_adam,
            "target": torch.lerp(fitted, state.target, c.target_alpha),
        }
        accepted = training.all_finite(grad_norm, improved, target_value, fitted, x)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("critic_s")
        figures = {
            "actor_loss": loss,
            "critic_loss": critic_loss,
            "grad_norm": grad_norm,
            "lost_gradients": noisy.lost_gradients(),
            "value_mean": target_value.mean(),
            "std_mean": noisy.gaussian().logstd.exp().mean(),
        }
        return new, training.report(new, window, figures, clock, actor_lr=actor_lr)

    def _actor(self, env: Env) -> GaussianActor:
        return GaussianActor(MLP((env.spec.num_obs, *self.config.actor_hidden, env.spec.num_actions)))

    def _critic(self, env: Env) -> Critic:
        return Critic(MLP((env.spec.num_obs, *self.config.critic_hidden, 1)))
