"""Reparameterised policy gradient (Son et al. 2023, 7.4.1)

Of TD(lambda) returns (Son et al. 2023, 7.2.2 and 7.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

import gradest

from ..._configs.advantages import OnPolicyConfig
from .._on_policy import Advantages, OnPolicyState
from .._policy_gradient import PolicyGradient
from .._window import Window, gradients


@dataclass(frozen=True, kw_only=True)
class RPConfig(OnPolicyConfig):
    """Reparameterised policy gradient of TD(lambda) returns (Son et al. 2023, 7.4.1)."""


@dataclass(frozen=True)
class RP(PolicyGradient[RPConfig]):
    """Reparameterised policy gradient: up the mean TD(lambda) return of the segments of a window."""

    config: RPConfig = field(default_factory=RPConfig)
    name: ClassVar[str] = "rp"

    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        c, steps = self.config, window.trajectory
        returns = gradest.reparameterised_objective(
            steps.reward, values.value_next, *window.ends, gamma=c.gamma, lam=c.lam
        )
        objective = returns.sum() / gradest.segment_starts(window.ends[1]).sum()
        gradient, lost = gradients(objective, actor, window)
        return gradient, {"actor_loss": -objective, "lost_gradients": lost}


ALGORITHM = RP
