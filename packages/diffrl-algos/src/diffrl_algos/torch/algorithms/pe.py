"""Policy enhancement by one simulated step of gradient (Qiao et al. 2021)

Qiao, Liang, Koltun & Lin 2021. Bellman's equation splits the critic's derivative with respect to the action: the
simulator has the derivatives of the reward and of the next state exactly, and only the value of the next state is
learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

import gradest

from ..._configs.advantages import OnPolicyConfig
from .._on_policy import Advantages, OnPolicyState
from .._policy_gradient import PolicyGradient
from .._window import Window, cut_every, gradients


@dataclass(frozen=True, kw_only=True)
class PEConfig(OnPolicyConfig):
    """Policy enhancement (Qiao et al. 2021): the value of an action from one simulated step of gradient."""


@dataclass(frozen=True)
class PE(PolicyGradient[PEConfig]):
    """Policy enhancement: up ``r(s, a) + gamma V(s')`` at every state of a window, through one step each."""

    config: PEConfig = field(default_factory=PEConfig)
    name: ClassVar[str] = "pe"
    between = cut_every(1)

    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # With an end after every step, each step is a segment of its own: r + gamma V(s').
        terminated, done = window.ends
        returns = gradest.reparameterised_objective(
            window.trajectory.reward, values.value_next, terminated, torch.ones_like(done), gamma=self.config.gamma
        )
        objective = returns.sum() / done.numel()
        gradient, lost = gradients(objective, actor, window)
        return gradient, {"actor_loss": -objective, "lost_gradients": lost}


ALGORITHM = PE
