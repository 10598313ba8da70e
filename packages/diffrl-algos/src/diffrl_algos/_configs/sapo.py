"""Configuration of Soft Analytic Policy Optimization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffsim_core.options import Count, Fraction, NotNegative, Positive

from .._config import Activation, CriticConfig, GraphConfig, Widths
from .temperature import TemperatureConfig


@dataclass(frozen=True, kw_only=True)
class SAPOConfig(TemperatureConfig, CriticConfig, GraphConfig):
    """Soft Analytic Policy Optimization (Xing et al. 2024).

    The defaults are the paper's (Table 2), except for four minibatches in an epoch of the critics instead of one, as in
    the released code. Every design choice in which it differs from SHAC (Appendix B.1) is a field,
    so that each can be switched off; the page of SAPO lists the ablations of Table 6 in these terms.
    """

    max_grad_norm: Positive = 0.5
    """Gradients of a larger Euclidean norm are scaled down to this, for each optimiser (B.1 V)."""
    weight_decay: NotNegative = 0.01
    """Decay of AdamW, for actor and critics (B.1 V; the number is torch's default); 0 gives Adam."""
    activation: Activation = "silu"
    """Activation function of each hidden layer, for all networks (B.1 V)."""
    target_entropy: Positive = 0.5
    """The target entropy is minus this for each action [nat]; it is divided by."""
    init_gain: Positive = 1.0
    """Weights start orthogonal times this, in all networks (released code)."""
    actor_init: Literal["orthogonal", "uniform"] = "orthogonal"
    """How the actor starts: as the critics, or by torch's own rule for linear layers, as SHAC's."""
    normalize_return: bool = False
    """Count rewards in units of the running standard deviation of discounted returns, so that the weight of entropy
    means the same on every task; off in the paper. Returns that are reported are as they are."""
    encoder_points: Widths = (64, 128, 256)
    """Widths of the layers that each point of a cloud goes through (B.2; released code). This field and the next four
    are used only where an observation has point clouds."""
    encoder_pool: Literal["avg", "max"] = "avg"
    """How points are pooled: by their mean, as in the released code, or their maximum, as in DP3."""
    encoder_latent: Count = 64
    """Numbers that stand for a cloud (released code)."""
    encoder_vector: Count = 128
    """Width of the layer that the rest of the observation goes through (released code)."""
    share_encoder: bool = False
    """Let the critics use the output of the actor's encoder; otherwise each critic has its own encoder (B.2)."""
    num_critics: Count = 2
    """Critics, each fitted to the same targets (B.1 IV)."""
    actor_value: Literal["mean", "min"] = "mean"
    """How the actor's objective combines the critics' values (B.1 IV)."""
    target_value: Literal["mean", "min"] = "min"
    """How the critics' own targets combine them (B.1 IV)."""
    target_alpha: Fraction = 0.0
    """Share of the target critics kept at each update; at 0 they equal the critics, as in the paper (B.1 IV)."""
    actor_entropy: bool = True
    """Add entropy to the rewards of the actor's objective (Eq. 8)."""
    soft_value: bool = True
    """Add entropy to the rewards of the critics' targets, which makes them soft values (Eq. 10)."""
    normalize_entropy: bool = True
    """Count entropy as (h + |H|) / (2 |H|), H being the target entropy (B.1 II)."""
    target_entropy_growth: Positive = 1.0
    """``target_entropy`` is multiplied by this at the last update, linearly in between. 1 is the paper. Above 1, which
    is ours, the policy ends with less noise than it learned with; see the page of SAPO."""
