"""Reparameterization Proximal Policy Optimization (Zhong et al. 2025)

SHAC's window, whose gradients serve several steps of the policy. Zhong, Wang, Li & Huang, Reparameterization Proximal
Policy Optimization, 2025 (arXiv:2508.06214v3). The page of RPO says what of it we could read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env

from ..._configs.rpo import RPOConfig
from .._account import Clock, Learned
from .._critic import Critic, over_critics
from .._learner import ValueLearner
from .._networks import value_critic
from .._policy_fit import distribution, fits_policy_natively
from .._policy_losses import ReusedGradients
from .._reuse import reuse_
from .._run_state import TargetState
from .._window import Window, gradients


@dataclass(frozen=True)
class RPO(ValueLearner[RPOConfig, TargetState]):
    """Reparameterization Proximal Policy Optimization.

    Each update rolls the stochastic policy out for ``horizon`` steps and differentiates SHAC's objective with respect
    to every action, once. It then takes ``actor_iterations`` epochs up these gradients, each weighted by the ratio of
    the action's densities if that is in range, less a divergence from the policy that acted, and fits the critics to
    TD(lambda) targets. An update that is not finite changes no parameter; it is counted.
    """

    config: RPOConfig = field(default_factory=RPOConfig)
    name: ClassVar[str] = "rpo"
    state_type = TargetState

    def learn(self, state: TargetState, generator: torch.Generator, clock: Clock) -> Learned:
        c = self.config

        # The window and SHAC's value of it.
        _, normalize, window = self.explore(state, generator, push=True)
        steps = window.trajectory
        values = self.critic(state.env)(state.target, normalize(steps.final_obs))
        value_next = over_critics(values, c.actor_value)
        objective = gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=c.gamma)
        order = self._order(steps.done, generator)
        clock.lap("rollout_s")

        # The critics' targets. Compiled code fits them beside the backward pass.
        value_next = over_critics(values.detach(), c.target_value)
        reward = steps.reward.detach()
        target_value = gradest.td_lambda(reward, value_next, *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next)
        x = normalize(steps.obs.detach())
        finish = self.begin_fit(state, x, target_value, generator)

        # The gradient of the window with respect to every action.
        loss, lost = self.loss(window, objective)
        clock.lap("backward_s")

        # The epochs of the actor.
        actor, flat, rows = self.actor(state.env), state.actor.clone(), x.flatten(0, 1)
        native, lr = fits_policy_natively(c, actor, rows.device), self.lr(state, c.actor_lr)
        options = {"minibatch": -(-len(rows) // c.actor_minibatches), "optimizer": self.optimizer, "lr": lr}
        adam, norms = reuse_(actor, flat, state.actor_adam.clone(), rows, order, loss, **options, native=native)
        after = distribution(actor, flat, rows, native=native)
        outside, kl = (loss.weight(after) == 0.0).to(flat.dtype).mean(), loss.divergence(after)
        clock.lap("actor_s")

        # The critics and the target critics.
        fitted, critic_loss = finish()
        metrics = {
            "actor_loss": -objective,
            "critic_loss": critic_loss,
            "value_mean": target_value.mean(),
            "grad_norm": norms[0, 0],
            "lost_gradients": lost,
            "kl": kl,
            # Share of the actions that had no gradient any more when the epochs ended.
            "out_of_range": outside,
            "entropy": gradest.gaussian_entropy(loss.logstd_old).mean(),
            "std_mean": window.policy.logstd.exp().mean(),
        }
        changes = {"actor": flat, "actor_adam": adam, **fitted}
        clock.lap("critic_s")
        finite = (loss.gradient, norms, kl, target_value, x)
        return self.learned(state, window, changes, metrics, *finite, host={"epochs": c.actor_iterations})

    def loss(self, window: Window, objective: Tensor) -> tuple[ReusedGradients, Tensor]:
        """The loss of the epochs, and the share of actions whose gradients were blocked."""
        c, old, u = self.config, window.policy.detach(), window.u.detach()
        by_action, lost = gradients(objective, window.push, window)
        # The objective is a mean over steps and worlds, as is that of the epochs.
        gradient = by_action.flatten(0, 1) * len(by_action) * by_action.shape[1]
        acted, reference = old.flat(), old.log_prob(u).flatten()
        loss = ReusedGradients(
            u=u.flatten(0, 1),
            gradient=gradient,
            mean_old=acted.mean,
            logstd_old=acted.logstd,
            reference=reference,
            ratio=(c.ratio_min, c.ratio_max),
            kl_coef=c.kl_coef,
            entropy_coef=c.entropy_coef,
        )
        return loss, lost

    def _order(self, like: Tensor, generator: torch.Generator) -> Tensor:
        """The rows of each epoch, ``[epochs, B]``; they are shuffled if there are minibatches."""
        c, rows, device = self.config, like.numel(), like.device
        if c.actor_minibatches == 1:
            return torch.arange(rows, device=device).expand(c.actor_iterations, -1)
        epochs = range(c.actor_iterations)
        return torch.stack([torch.randperm(rows, generator=generator, device=device) for _ in epochs])

    def critic(self, env: Env) -> Critic:
        return value_critic(self.config, env, self.config.num_critics)


ALGORITHM = RPO
