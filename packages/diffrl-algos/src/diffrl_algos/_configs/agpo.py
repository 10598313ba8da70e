"""Configuration of Adaptive-Gradient Policy Optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffsim_core.options import Count, Finite, Fraction, NotNegative, Positive

from .._config import CriticConfig, GraphConfig, SpreadConfig, Widths, require


@dataclass(frozen=True, kw_only=True)
class AGPOConfig(SpreadConfig, CriticConfig, GraphConfig):
    """Adaptive-Gradient Policy Optimization (Gao et al. 2024).

    Networks, rates and weights are by default those of Table 1 for Ant. Ours are ``lam``, ``truncation``,
    ``lr_schedule`` and ``kl_coef``; ``--reading paper`` has the paper's. docs/algorithms/agpo.md says how we read what
    the paper leaves open.
    """

    lam: Fraction = 0.95
    """Lambda of the Q functions' targets; 0 is the paper's one-step target (Algorithm 1)."""
    actor_hidden: Widths = (256, 128, 64)
    """Widths of the actor's hidden layers (Table 1)."""
    critic_hidden: Widths = (256, 128, 64)
    """Widths of the Q functions' hidden layers (Table 1)."""
    actor_lr: Positive = 7e-4
    """Learning rate of the actor at the first update (Table 1)."""
    critic_lr: Positive = 7e-4
    """Learning rate of the Q functions at the first update (Table 1)."""
    critic_minibatches: Count = 8
    """Minibatches in an epoch of the Q functions (Table 1)."""
    critic_max_grad_norm: Positive = 10.0
    """Gradients of the Q functions with a larger Euclidean norm are scaled down to this (Table 1)."""
    target_alpha: Fraction = 0.2
    """Share of the target Q functions kept at each update: 1 - tau of Algorithm 1 and Table 1."""
    num_critics: Count = 2
    """Number of Q functions; the least of their values is used."""
    reward_scale: Positive = 0.1
    """Rewards are multiplied by this for learning (Table 1); returns that are reported are not."""
    entropy_coef: NotNegative = 0.01
    """Weight of the policy's entropy in its objective (Table 1)."""
    entropy_floor: Fraction = 1.0
    """Share of that weight that every step has. The remaining share is multiplied by 1 - alpha, the part of the Q
    function, which needs actions with spread to learn from. 1 is the paper, less is ours (docs/algorithms/agpo.md)."""
    kl_coef: NotNegative = 0.0
    """Weight of the divergence from the policy of the update before, KL(new || previous), in the actor's loss. The
    paper has 0.3 (Table 1, section 4.2) and does not name the reference; ``--reading paper`` has it."""
    kl_reference: Literal["previous", "acting"] = "previous"
    """The policy that the divergence is measured from. ``acting``, which older runs have, has no gradient at the one
    step that is taken, and is left out of the loss."""
    ratio: Literal["adaptive", "tolerant", "fixed"] = "adaptive"
    """The mixture ratio alpha of each step. ``adaptive``: from the gradients' variances (Eq. 3). ``tolerant``, which is
    ours: the same, but 1 where the simulator's gradients spread no more than ``tolerance`` (docs/algorithms/agpo.md).
    ``fixed``: ``fixed_ratio``."""
    tolerance: Positive = 4.0
    """A tolerant ratio is 1 up to this standard deviation of the norms of the simulator's gradients over the worlds, in
    units of their median."""
    fixed_ratio: Fraction = 1.0
    """The ratio if it is fixed: 1 is the simulator's gradient alone, 0 that of the Q functions (Figure 8)."""
    outliers: Literal["none", "max_norm", "quantile"] = "none"
    """A rule for single worlds in place of a mixture (Figure 7), where the simulator's gradient is alone: ``ratio`` is
    fixed and ``fixed_ratio`` is 1. It is applied to the gradient that reaches each action. ``max_norm``: those longer
    than ``outlier_norm`` are shortened to it. ``quantile``: of each step only those count whose length is between the
    two ``outlier_quantiles`` of the worlds."""
    outlier_norm: Positive = 1.0
    """Largest gradient of what follows an action [reward times ``reward_scale``, for an action from -1 to 1]. The paper
    does not give its number."""
    outlier_quantiles: tuple[Fraction, Fraction] = (0.0, 0.9)
    """Lower and upper quantile. The paper does not give its numbers."""
    threshold: Fraction = 0.1
    """A segment is truncated where its credit falls below this (Table 1)."""
    truncation: Literal["every", "restart", "bootstrap", "drop"] = "every"
    """``restart``: a truncated segment ends with a Q value and a new one starts. ``bootstrap``: it ends with a Q value
    (the paper). ``drop``: it ends without. ``every``, which is ours, has no threshold: each action is credited with the
    segment that starts with it, once, whatever the credit before it. ``gradest.credit_weights`` says which gradient
    each of them is."""
    variance: Literal["norm", "vector"] = "norm"
    """Take variances of the gradients' norms (section 4), or of the gradients themselves (Definition 3.1)."""
    nonfinite: Literal["zero", "mask"] = "zero"
    """A step where some world's gradient is not finite gets ratio 0, or takes its ratio from the other worlds."""
    logstd_init: Finite = -1.0
    """Initial log standard deviation of the actions before tanh, the bias of that output (SHAC's)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        alone = self.ratio == "fixed" and self.fixed_ratio == 1.0
        expected = "none, or use ratio=fixed and fixed_ratio=1: a rule takes the place of the mixture"
        require("outliers", self.outliers, self.outliers == "none" or alone, expected)
        low, high = self.outlier_quantiles
        require(
            "outlier_quantiles", self.outlier_quantiles, low <= high, "a lower and an upper quantile, in this order"
        )
