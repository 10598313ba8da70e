"""RP: the reparameterised policy gradient of TD(lambda) returns (Son et al. 2023, 7.2.2 and 7.4.1)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

import gradest

from .._configs import RPConfig
from ._on_policy import Window
from ._policy_gradient import PolicyGradient, PolicyGradientState


@dataclass(frozen=True)
class RP(PolicyGradient):
    """Reparameterised policy gradient: up the TD(lambda) returns of the pieces of episodes in a window, averaged."""

    config: RPConfig = field(default_factory=RPConfig)
    name: str = field(default="rp", init=False)

    def _estimate(self, window: Window, actor: Tensor, state: PolicyGradientState) -> tuple[Tensor, dict[str, Tensor]]:
        c = self.config
        returns = gradest.reparameterised_objective(
            window.trajectory.reward, window.value_next, *window.ends, gamma=c.gamma, lam=c.lam
        )
        objective = returns.sum() / gradest.segment_starts(window.trajectory.done).sum()
        (gradient,) = torch.autograd.grad(objective, actor)
        return gradient, {"actor_loss": -objective}
