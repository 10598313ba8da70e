"""LR and RP mixed by inverse variance (Parmas et al. 2018; Son et al. 2023, 7.4.1)

The two policy gradients of one objective, mixed so that the mixture varies least. Parmas, Rasmussen, Peters & Doya,
PIPPS: Flexible Model-Based Policy Search Robust to the Curse of Chaos, ICML 2018, as Son et al. 2023 (7.4.1) compare
with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

import gradest
from diffsim_core import Env
from diffsim_core.options import Index, Positive

from ..._config import require
from ..._configs.advantages import OnPolicyConfig
from .._on_policy import Advantages, OnPolicyState
from .._per_world import pathwise_gradients, score_gradients
from .._policy_gradient import PolicyGradient
from .._window import Window, lost_share


@dataclass(frozen=True, kw_only=True)
class LRRPConfig(OnPolicyConfig):
    """LR and RP mixed by the inverse of their variances (Parmas et al. 2018; Son et al. 2023, 7.4.1)."""

    actor_lr: Positive = 1e-4
    """Learning rate of the actor at the first update."""
    covariance: bool = False
    """Account for the covariance of the two, which come from the same windows; the paper takes them as independent."""
    variance_samples: Index = 0
    """Number of worlds that the variances are taken over, at least 2; 0 is all worlds. The paper has 16."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.variance_samples == 0 or self.variance_samples >= 2
        require("variance_samples", self.variance_samples, fits, "0 or at least 2")


@dataclass(frozen=True)
class LRRP(PolicyGradient[LRRPConfig]):
    """LR and RP mixed by the inverse of their variances over worlds.

    Both estimate the gradient of one objective, the TD(lambda) returns of the segments of a window: LR with advantages
    weighted by ``(gamma lam)^k`` after ``k`` steps of a segment, RP through the simulator.
    """

    config: LRRPConfig = field(default_factory=LRRPConfig)
    name: ClassVar[str] = "lrrp"
    push: ClassVar[bool] = True

    def check(self, env: Env) -> None:
        least = max(2, self.config.variance_samples)
        if env.num_envs < least:
            raise ValueError(f"num_envs is {env.num_envs}, and LRRP takes variances over worlds; it needs {least}")
        super().check(env)

    def estimate(
        self, window: Window, values: Advantages, actor: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, dict[str, Tensor]]:
        c, steps = self.config, window.trajectory
        returns = gradest.reparameterised_objective(
            steps.reward, values.value_next, *window.ends, gamma=c.gamma, lam=c.lam
        )
        segments = gradest.segment_starts(window.ends[1])
        scale = segments.shape[1] / int(segments.sum())  # one read from the device
        # One backward pass through the simulator gives every action's gradient.
        by_action, lost = torch.autograd.grad(returns.sum(), [window.push, window.lost], allow_unused=True)
        rp, lr = (scale * part for part in self._per_world(window, values, by_action, state))
        used = c.variance_samples or len(rp)
        variance = gradest.inverse_variance_gradient(rp[:used], lr[:used], covariance=c.covariance, clip=True)
        mixture = gradest.mix_gradients(rp.mean(0), lr.mean(0), variance.alpha)
        return mixture, {
            "actor_loss": -scale * returns.mean(),
            "lost_gradients": lost_share(lost, returns.detach().mean()),
            "rp_weight": variance.alpha,
            "rp_variance": variance.variance_first,
            "lr_variance": variance.variance_zeroth,
        }

    def _per_world(
        self, window: Window, values: Advantages, by_action: Tensor, state: OnPolicyState
    ) -> tuple[Tensor, Tensor]:
        """The RP and the LR gradient of each world, both ``[N, P]``; ``by_action [T, N, na]`` is ``dJ/du``."""
        c, network = self.config, self.actor(state.env)
        weight = gradest.segment_discounted(values.advantage.detach(), window.ends[1], factor=c.gamma * c.lam)
        return (
            pathwise_gradients(network, state.actor, values.x, window.eps, by_action),
            score_gradients(network, state.actor, values.x, window.u, weight),
        )


ALGORITHM = LRRP
