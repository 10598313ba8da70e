"""Likelihood-ratio policy gradient, without gradients of the simulator (Son et al. 2023, 7.4.1)

With generalised advantages (Williams 1992; Son et al. 2023, 7.4.1).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

import gradest
from diffsim_core.options import Positive

from ..._configs.advantages import OnPolicyConfig
from .._on_policy import Advantages, OnPolicyState
from .._policy_gradient import PolicyGradient
from .._window import Window, gradients


@dataclass(frozen=True, kw_only=True)
class LRConfig(OnPolicyConfig):
    """Likelihood-ratio policy gradient with generalised advantages (Son et al. 2023, 7.4.1)."""

    actor_lr: Positive = 1e-4
    """Learning rate of the actor at the first update."""


@dataclass(frozen=True)
class LR(PolicyGradient[LRConfig]):
    """Likelihood-ratio policy gradient: ``mean(A grad log pi)``, advantages standardised. Needs no gradient."""

    config: LRConfig = field(default_factory=LRConfig)
    name: ClassVar[str] = "lr"
    gradients: ClassVar[bool] = False

    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        network = self.actor(state.env)
        log_prob = network(network.split(actor), values.x).log_prob(window.u)
        objective = gradest.likelihood_ratio_objective(log_prob, values.standardised())
        gradient, lost = gradients(objective, actor, window)
        return gradient, {"actor_loss": -objective, "lost_gradients": lost}


ALGORITHM = LR
