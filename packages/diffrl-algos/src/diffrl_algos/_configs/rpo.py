"""Configuration of Reparameterization Proximal Policy Optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from diffsim_core.options import Count, Fraction, NotNegative, Positive

from .._config import Activation, CriticConfig, GaussianConfig, PolicyFitConfig, Widths

Ratio = Annotated[float, Interval(ge=1)]


@dataclass(frozen=True, kw_only=True)
class RPOConfig(GaussianConfig, CriticConfig, PolicyFitConfig):
    """Reparameterization Proximal Policy Optimization (Zhong et al. 2025).

    The defaults are the paper's as a third party's digest gives them: we could not read its tables. Where that is
    silent they are SHAC's general setting. ``load_preset`` gives what we found on a task.
    """

    actor_lr: Positive = 5e-4
    """Learning rate of the actor at the first update."""
    weight_decay: NotNegative = 0.01
    """Decay of AdamW, for all networks (the number is torch's default); 0 gives Adam."""
    activation: Activation = "silu"
    """Activation function of each hidden layer, for all networks."""
    actor_hidden: Widths = (400, 200, 100)
    """Widths of the actor's hidden layers."""
    critic_hidden: Widths = (400, 200, 100)
    """Widths of the critics' hidden layers."""
    actor_iterations: Count = 5
    """Epochs of the actor over a window. The first one takes SHAC's step; with 1 and no penalties it is SHAC."""
    actor_minibatches: Count = 1
    """Minibatches in an epoch of the actor, drawn at random."""
    ratio_min: Fraction = 0.2
    """Smallest ratio of an action's density to its density under the policy that acted, with which the action counts.
    Out of range it has no gradient. 0 leaves the bound out."""
    ratio_max: Ratio = 2.0
    """Largest such ratio; infinity leaves the bound out."""
    kl_coef: NotNegative = 0.2
    """Weight of the divergence KL(old || new) from the policy that acted, in the actor's loss."""
    entropy_coef: NotNegative = 0.1
    """Weight of the entropy before tanh in the actor's objective."""
    num_critics: Count = 2
    """Critics, each fitted to the same targets."""
    actor_value: Literal["mean", "min"] = "mean"
    """How the actor's objective combines the critics' values (SAPO's; the digest says only that there are two)."""
    target_value: Literal["mean", "min"] = "min"
    """How the critics' own targets combine them (SAPO's)."""
    target_alpha: Fraction = 0.995
    """Share of the target critics kept at each update: theta' <- alpha theta' + (1 - alpha) theta."""
