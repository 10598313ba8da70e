"""Analytic Policy Gradient: the gradient of a window's rewards and nothing else, also called BPTT.

Freeman et al., Brax, 2021 (arXiv:2106.13281), as Xing et al. 2024 state it in Eq. 16; Xu et al. 2022 compare with it as
BPTT. It is SHAC's objective without a critic: what follows the window counts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

import gradest
from diffsim_core import Env, EnvState, rollout

from .._algorithm import Metrics
from .._configs import APGConfig
from . import _training as training
from ._adam import Adam, Optimizer
from ._episodes import Episodes
from ._learner import Learner
from ._mlp import MLP
from ._normalize import RunningStats
from ._policy import GaussianActor, NoisyPolicy
from ._schedules import learning_rate


class APGState(NamedTuple):
    """All that an APG run is: replaced by every update, never changed."""

    env: Env
    actor: Tensor
    """Flat parameters of the actor."""
    actor_adam: Adam
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
    """Updates refused because a gradient was not finite."""
    diverged: int
    """Worlds that left the finite range, so far."""


@dataclass(frozen=True)
class APG(Learner[APGConfig, APGState]):
    """Analytic Policy Gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps and takes one Adam step up the gradient of the
    discounted rewards. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: APGConfig = field(default_factory=APGConfig)
    name: str = field(default="apg", init=False)

    def init(self, env: Env, seed: int) -> APGState:
        """The state before the first update.

        Raises:
            ValueError: the environment is not differentiable, or its observation is no tensor ``[N, no]``.
        """
        env_state, obs = training.begin(env, seed, "APG", window=self.config.horizon, processes=True)
        # Networks are drawn on the CPU, so that they are the same on every device.
        generator = torch.Generator().manual_seed(seed)
        actor = self._actor(env).init(generator, logstd=self.config.logstd_init).to(obs)
        return APGState(
            actor=actor, actor_adam=Adam.init(actor), **training.first_fields(env, env_state, obs, generator)
        )

    def _update(self, state: APGState) -> tuple[APGState, Metrics]:
        c, env, clock = self.config, state.env, training.Clock()
        generator = training.generator_of(state)
        lr = learning_rate(c, c.actor_lr, state.iteration)
        if c.restart:
            state = training.restart(state, generator)
        shift, scale = training.normalizer(c, state)

        actor = state.actor.detach().requires_grad_()
        eps = training.normal(generator, state.obs, c.horizon, env.num_envs, env.spec.num_actions)
        noisy = NoisyPolicy(self._actor(env), actor, shift, scale, eps)
        window, env_state, obs = rollout(env, noisy, state.env_state, state.obs, c.horizon)
        nothing = torch.zeros_like(window.reward)
        loss = -gradest.segment_objective(window.reward, nothing, window.terminated, window.done, gamma=c.gamma)
        clock.lap("rollout_s")

        (grad,) = torch.autograd.grad(loss, actor)
        optimizer = Optimizer(c.betas, c.max_grad_norm)
        improved, actor_adam, grad_norm = optimizer.step(state.actor, state.actor_adam, grad, lr)
        learned = {"actor": improved, "actor_adam": actor_adam}
        accepted = training.all_finite(loss.detach(), grad_norm, improved, window.obs)
        new = training.go_on(state, learned if accepted else None, window, env_state, obs, generator)
        clock.lap("backward_s")
        figures = {
            "actor_loss": loss,
            "grad_norm": grad_norm,
            "lost_gradients": noisy.lost_gradients(),
            "std_mean": noisy.gaussian().logstd.exp().mean(),
        }
        return new, training.report(new, window, figures, clock, actor_lr=lr)

    def _actor(self, env: Env) -> GaussianActor:
        sizes = (env.spec.num_obs, *self.config.actor_hidden, env.spec.num_actions)
        return GaussianActor(MLP(sizes, self.config.activation))
