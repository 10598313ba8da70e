"""LR: the likelihood-ratio policy gradient with generalised advantages (Son et al. 2023, 7.4.1; Williams 1992)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

import gradest

from .._configs import LRConfig
from . import _on_policy as on_policy
from ._on_policy import Networks, Window
from ._policy_gradient import PolicyGradient, PolicyGradientState


@dataclass(frozen=True)
class LR(PolicyGradient):
    """Likelihood-ratio policy gradient: ``mean(A grad log pi)``, advantages standardised. Needs no gradient."""

    config: LRConfig = field(default_factory=LRConfig)
    name: str = field(default="lr", init=False)
    gradients: ClassVar[bool] = False

    def _estimate(self, window: Window, actor: Tensor, state: PolicyGradientState) -> tuple[Tensor, dict[str, Tensor]]:
        network = Networks.of(self.config, state.env).actor
        log_prob = network(network.split(actor), window.x).log_prob(window.u)
        objective = gradest.likelihood_ratio_objective(log_prob, on_policy.standardised(window.advantage))
        (gradient,) = torch.autograd.grad(objective, actor)
        return gradient, {"actor_loss": -objective}
