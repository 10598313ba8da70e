"""Short-Horizon Actor-Critic (Xu et al. 2022)

A policy learned through windows of a differentiable simulator. Xu, Makoviychuk, Narang, Ramos, Matusik, Garg &
Macklin, Accelerated Policy Learning with Parallel Differentiable Simulation, ICLR 2022 (arXiv:2204.07137): Algorithm 1
and Eq. 5-7.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

import gradest

from ..._configs.shac import SHACConfig
from .._account import Clock, Learned
from .._learner import ValueLearner
from .._run_state import TargetState


@dataclass(frozen=True)
class SHAC(ValueLearner[SHACConfig, TargetState]):
    """Short-Horizon Actor-Critic.

    Each update rolls the stochastic policy out for ``horizon`` steps from where the last window ended,
    takes one Adam step up the gradient of the discounted rewards plus the target critic's value of the last
    observation (Eq. 5), fits the critic to TD(lambda) targets (Eq. 6 and 7) and moves the target critic
    towards it. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: SHACConfig = field(default_factory=SHACConfig)
    name: ClassVar[str] = "shac"
    state_type = TargetState
    processes: ClassVar[bool] = True

    def learn(self, state: TargetState, generator: torch.Generator, clock: Clock) -> Learned:
        c = self.config

        # The window and its value (Eq. 5).
        actor, normalize, window = self.explore(state, generator)
        steps = window.trajectory
        value_next = self.critic(state.env)(state.target, normalize(steps.final_obs))[0]
        loss = -gradest.segment_objective(steps.reward, value_next, *window.ends, gamma=c.gamma)
        clock.lap("rollout_s")

        # The critic's targets (Eq. 6 and 7). Compiled code fits it beside the backward pass.
        reward = steps.reward.detach()
        target_value = gradest.td_lambda(reward, value_next.detach(), *window.ends, gamma=c.gamma, lam=c.lam)
        target_value = window.targets(target_value, value_next.detach())
        x = normalize(steps.obs.detach())
        finish = self.begin_fit(state, x, target_value, generator)

        # One step of the actor.
        changes, metrics = self.descend(state, loss, actor, window)
        clock.lap("backward_s")

        # The critic and the target critic.
        fitted, critic_loss = finish()
        metrics |= {"critic_loss": critic_loss, "value_mean": target_value.mean()}
        clock.lap("critic_s")
        return self.learned(state, window, changes | fitted, metrics, metrics["grad_norm"], target_value, x)


ALGORITHM = SHAC
