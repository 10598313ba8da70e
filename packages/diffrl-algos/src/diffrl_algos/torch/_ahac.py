"""Adaptive Horizon Actor-Critic: SHAC whose windows are as long as the steps inside them are smooth.

Georgiev, Srinivasan, Xu, Heiden & Garg, Adaptive Horizon Actor-Critic for Policy Learning in Contact-Rich
Differentiable Simulation, ICML 2024 (arXiv:2405.17784). docs/algorithms/ahac.md says which formula is taken from where.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, rollout

from .._algorithm import Metrics
from .._configs import AHACConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._critic import Critic, fit_critic
from ._episodes import Episodes
from ._learner import ValueLearner
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import GaussianActor, NoisyPolicy
from ._schedules import learning_rate
from ._stiffness import StiffnessProbe

_SETTLED = 5
"""Changes of the critics' error that are looked at (released code)."""


class AHACState(NamedTuple):
    """All that an AHAC run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
    critic: Tensor
    """Flat parameters of the critics, one after another."""
    critic_adam: Adam
    target: Tensor
    """Flat parameters that values are taken from: the critics themselves where ``target_alpha`` is 0."""
    horizon: Tensor
    """Length of the next window before it is rounded, a float64 scalar [control steps]."""
    multipliers: Tensor
    """Of the constraint on each step of a window, float64 ``[horizon_max]``."""
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
    """Updates refused because a gradient, a value target or the stiffness was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class AHAC(ValueLearner[AHACConfig, AHACState]):
    """Adaptive Horizon Actor-Critic.

    Each update rolls the stochastic policy out for as many steps as the horizon says, measures how stiff each of them
    is, takes one Adam step up the gradient of the discounted rewards plus the least of the critics' values of what
    follows, moves the horizon, and fits the critics to TD(lambda) targets until their error settles. An update whose
    gradient is not finite changes no parameter, nor the horizon; it is counted.
    """

    config: AHACConfig = field(default_factory=AHACConfig)
    name: str = field(default="ahac", init=False)

    def init(self, env: Env, seed: int) -> AHACState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is no tensor ``[N, no]``.
        """
        c = self.config
        env_state, obs = training.begin(env, seed, "AHAC", window=self.config.horizon_max)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        nets = self._networks(env)
        actor = nets.actor.init(generator, logstd=c.logstd_init).to(obs)
        critic = nets.critic.init(generator, gain=math.sqrt(2.0)).to(obs)
        return AHACState(
            actor=actor,
            actor_adam=Adam.init(actor),
            critic=critic,
            critic_adam=Adam.init(critic),
            target=critic.clone(),
            horizon=torch.tensor(c.horizon, dtype=torch.float64),
            multipliers=torch.zeros(c.horizon_max, dtype=torch.float64),
            **training.first_fields(env, env_state, obs, generator),
        )

    def _update(self, state: AHACState) -> tuple[AHACState, Metrics]:
        c, env, nets, clock = self.config, state.env, self._networks(state.env), training.Clock()
        generator, optimizer = training.generator_of(state), Optimizer(c.betas, c.max_grad_norm)
        actor_lr, critic_lr = (learning_rate(c, start, state.iteration) for start in (c.actor_lr, c.critic_lr))
        shift, scale = training.normalizer(c, state)
        steps = round(float(state.horizon))

        # The window, and what it is worth.
        actor = state.actor.detach().requires_grad_()
        eps = training.normal(generator, state.obs, steps, env.num_envs, env.spec.num_actions)
        noisy, probe = NoisyPolicy(nets.actor, actor, shift, scale, eps), StiffnessProbe(env, generator)
        window, env_state, obs = rollout(probe, noisy, state.env_state, state.obs, steps)
        values = nets.critic(state.target, torch.addcmul(shift, window.final_obs, scale))
        value_next = values.amin(0)
        ends = (window.terminated, window.done)
        loss = -gradest.segment_objective(window.reward, value_next, *ends, gamma=c.gamma)
        clock.lap("rollout_s")

        # One step of the actor, and of the horizon.
        (grad,) = torch.autograd.grad(loss, actor)
        improved, actor_adam, grad_norm = optimizer.step(state.actor, state.actor_adam, grad, actor_lr)
        stiffness = probe.stiffness()
        horizon, multipliers = self._adapt(state, stiffness.cpu().double())
        clock.lap("backward_s")

        # The critics, until they have settled.
        reward = window.reward.detach()
        target_value = gradest.td_lambda(reward, value_next.detach(), *ends, gamma=c.gamma, lam=c.lam)
        x = torch.addcmul(shift, window.obs.detach().flatten(0, 1), scale)
        fitted, critic_adam, errors = self._fit(
            state, nets.critic, x, target_value.flatten(), optimizer, critic_lr, generator
        )
        learned = {
            "actor": improved,
            "actor_adam": actor_adam,
            "critic": fitted,
            "critic_adam": critic_adam,
            "target": torch.lerp(fitted, state.target, c.target_alpha),
            "horizon": horizon,
            "multipliers": multipliers,
        }
        accepted = training.all_finite(grad_norm, improved, target_value, fitted, x, stiffness)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("critic_s")
        figures = {
            "actor_loss": loss,
            "grad_norm": grad_norm,
            "lost_gradients": noisy.lost_gradients(),
            "value_mean": target_value.mean(),
            "value_spread": (values.amax(0) - values.amin(0)).mean(),
            "std_mean": noisy.gaussian().logstd.exp().mean(),
            "stiffness_mean": stiffness.mean(),
            "stiffness_max": stiffness.amax(),
        }
        more = {"horizon": steps, "critic_passes": len(errors), "critic_loss": errors[-1], "actor_lr": actor_lr}
        return new, training.report(new, window, figures, clock, **more)

    def _adapt(self, state: AHACState, stiffness: Tensor) -> gradest.HorizonStep:
        """The horizon after a window of that stiffness ``[T]``."""
        c, multipliers = self.config, state.multipliers
        return gradest.adapt_horizon(
            state.horizon,
            multipliers[:1].expand_as(multipliers) if c.shared_multiplier else multipliers,
            stiffness,
            threshold=c.stiffness_max,
            lr=learning_rate(c, c.horizon_lr, state.iteration),
            low=c.horizon_min,
            high=c.horizon_max,
            stiff=c.stiff,
        )

    def _fit(
        self,
        state: AHACState,
        critic: Critic,
        x: Tensor,
        y: Tensor,
        optimizer: Optimizer,
        lr: float,
        generator: torch.Generator,
    ) -> tuple[Tensor, Adam, list[float]]:
        """Passes until the error changes little: parameters, moments, and the error of every pass."""
        c = self.config
        one = dataclasses.replace(c, critic_iterations=1)
        flat, adam, errors = state.critic, state.critic_adam, []
        for _ in range(c.critic_iterations):
            flat, adam, error = fit_critic(
                critic, flat, adam, x, y, config=one, optimizer=optimizer, lr=lr, generator=generator
            )
            errors.append(float(error))
            changes = np.abs(np.diff(errors[-_SETTLED - 1 :]))
            if len(changes) == _SETTLED and changes.mean() < c.critic_tolerance:
                break
        return flat, adam, errors

    def _actor(self, env: Env) -> GaussianActor:
        return GaussianActor(MLP((env.spec.num_obs, *self.config.actor_hidden, env.spec.num_actions)))

    def _critic(self, env: Env) -> Critic:
        return Critic(MLP((env.spec.num_obs, *self.config.critic_hidden, 1)), self.config.num_critics)
