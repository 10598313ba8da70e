"""Analytic policy gradient, backpropagation through time (Freeman et al. 2021)

The gradient of a window's rewards and nothing else, also called BPTT. Freeman et al., Brax, 2021 (arXiv:2106.13281), as
Xing et al. 2024 state it in Eq. 16; Xu et al. 2022 compare with it as BPTT. It is SHAC's objective without a critic:
rewards after the window do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

import gradest

from ..._configs.apg import APGConfig
from .._account import Clock, Learned
from .._learner import ActorLearner
from .._run_state import ActorState


@dataclass(frozen=True)
class APG(ActorLearner[APGConfig, ActorState]):
    """Analytic Policy Gradient.

    Each update rolls the stochastic policy out for ``horizon`` steps and takes one Adam step up the gradient of the
    discounted rewards. An update whose gradient is not finite changes no parameter; it is counted.
    """

    config: APGConfig = field(default_factory=APGConfig)
    name: ClassVar[str] = "apg"
    state_type = ActorState
    processes: ClassVar[bool] = True

    def learn(self, state: ActorState, generator: torch.Generator, clock: Clock) -> Learned:
        c = self.config
        run = state.run.restart(generator) if c.restart else state.run
        actor, _, window = self.explore(state, generator, run=run)
        steps = window.trajectory
        no_value = torch.zeros_like(steps.reward)
        loss = -gradest.segment_objective(steps.reward, no_value, *window.ends, gamma=c.gamma)
        clock.lap("rollout_s")
        changes, metrics = self.descend(state, loss, actor, window)
        clock.lap("backward_s")
        return self.learned(
            state, window, changes, metrics, metrics["grad_norm"], loss.detach(), steps.obs, episodes=run.episodes
        )


ALGORITHM = APG
