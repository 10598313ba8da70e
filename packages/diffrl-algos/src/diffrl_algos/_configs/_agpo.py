"""Hyper-parameters of AGPO."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._window import CriticConfig, at_least_one, between_zero_and_one, finite, not_negative, positive, require


@dataclass(frozen=True, kw_only=True)
class AGPOConfig(CriticConfig):
    """Adaptive-Gradient Policy Optimization (Gao et al. 2024).

    The defaults are those of Table 1 for Ant, but for ``lam``; docs/algorithms/agpo.md says what the paper leaves open
    and how it is read here.
    """

    lam: float = 0.95
    """Lambda of the Q functions' targets; 0 is the paper's one-step target (Algorithm 1). docs/algorithms/agpo.md has
    figures."""
    actor_hidden: tuple[int, ...] = (256, 128, 64)
    """Widths of the actor's hidden layers (Table 1)."""
    critic_hidden: tuple[int, ...] = (256, 128, 64)
    """Widths of the Q functions' hidden layers (Table 1)."""
    actor_lr: float = 7e-4
    """Learning rate of the actor at the first update (Table 1)."""
    critic_lr: float = 7e-4
    """Learning rate of the Q functions at the first update (Table 1)."""
    critic_minibatches: int = 8
    """Pieces in which a pass sees the window (Table 1)."""
    critic_max_grad_norm: float = 10.0
    """Gradients of the Q functions of a larger Euclidean norm are scaled down to this (Table 1)."""
    target_alpha: float = 0.2
    """Part of the target Q functions that stays at each update: 1 - tau of Algorithm 1 and Table 1."""
    num_critics: int = 2
    """Q functions; the least of them counts."""
    reward_scale: float = 0.1
    """Rewards are multiplied by this for learning (Table 1); returns that are reported are not."""
    entropy_coef: float = 0.01
    """Weight of the policy's entropy in its objective (Table 1)."""
    entropy_floor: float = 1.0
    """Part of that weight with which the entropy counts at every step; the rest counts in the part 1 - alpha in which
    the Q function teaches, which needs spread to learn from. 1 is the paper's, less is ours
    (docs/algorithms/agpo.md)."""
    kl_coef: float = 0.3
    """Weight of the divergence from ``kl_reference`` (Table 1)."""
    kl_reference: Literal["acting", "previous"] = "acting"
    """The policy from which the divergence is measured: the one that acted, where its gradient is zero, one step being
    taken for each window, or the one of the update before."""
    ratio: Literal["adaptive", "tolerant", "fixed"] = "adaptive"
    """Where the mixture ratio alpha of each step comes from: the gradients' variances as in Eq. 3; the same, but 1
    where the simulator's gradients spread no more than ``tolerance``, which is ours (docs/algorithms/agpo.md); or
    ``fixed_ratio``."""
    tolerance: float = 4.0
    """Standard deviation of the norms of the simulator's gradients over the worlds, in units of their median, up to
    which a step is trusted altogether, if the ratio is tolerant."""
    fixed_ratio: float = 1.0
    """The ratio if it is fixed: 1 is the simulator's gradient alone, 0 that of the Q functions (Figure 8)."""
    threshold: float = 0.1
    """Credit below which a piece of an episode is truncated (Table 1)."""
    truncation: Literal["every", "restart", "bootstrap", "drop"] = "every"
    """What happens then: a new piece begins, the Q function takes the rest, or the rest counts nothing. With ``every``
    a piece begins at every step and needs no threshold."""
    variance: Literal["norm", "vector"] = "norm"
    """Whether the variances are those of the gradients' norms (section 4) or of the gradients (Definition 3.1)."""
    nonfinite: Literal["zero", "mask"] = "zero"
    """A step where some world's gradient is not finite gets ratio 0, or is judged by the other worlds."""
    state_dependent_std: bool = True
    """Let the standard deviation be an output of the network (Appendix B); otherwise one parameter for each action."""
    logstd_min: float = -5.0
    """Log standard deviations are clamped from below."""
    logstd_max: float = 2.0
    """Log standard deviations are clamped from above."""
    logstd_init: float = -1.0
    """Initial log standard deviation of the actions before tanh; where it depends on the state, about this."""
    activation: Literal["elu", "silu"] = "elu"
    """After each hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "num_critics")
        between_zero_and_one(self, "target_alpha", "fixed_ratio", "threshold", "entropy_floor")
        positive(self, "critic_max_grad_norm", "reward_scale", "tolerance")
        not_negative(self, "entropy_coef", "kl_coef")
        finite(self, "logstd_init", "logstd_min", "logstd_max")
        fits = self.logstd_min < self.logstd_max < math.log(3e38)
        require("logstd_max", self.logstd_max, fits, f"above logstd_min, which is {self.logstd_min}, and below 88")
