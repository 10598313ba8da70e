"""Hyper-parameters of SAPO."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._window import CriticConfig, at_least_one, between_zero_and_one, finite, not_negative, positive, require, widths


@dataclass(frozen=True, kw_only=True)
class SAPOConfig(CriticConfig):
    """Soft Analytic Policy Optimization (Xing et al. 2024).

    The defaults are the paper's (Table 2). Every design choice that sets it apart from SHAC (Appendix B.1) is a field,
    so that each can be taken back: ``docs/algorithms/sapo.md`` lists the ablations of Table 6 in these terms.
    """

    max_grad_norm: float = 0.5
    """Gradients of a larger Euclidean norm are scaled down to this, for each optimiser (B.1 V)."""
    weight_decay: float = 0.01
    """Decay of AdamW, for actor and critics (B.1 V; the number is torch's default); 0 gives Adam."""
    activation: Literal["silu", "elu"] = "silu"
    """After each hidden layer (B.1 V)."""
    init_gain: float = 1.0
    """Weights start orthogonal times this, in all networks (released code)."""
    actor_init: Literal["orthogonal", "uniform"] = "orthogonal"
    """How the actor starts: as the critics, or by torch's own rule for linear layers, as SHAC's."""
    state_dependent_std: bool = True
    """Let the standard deviation be an output of the network (B.1 III); otherwise one parameter for each action."""
    logstd_min: float = -5.0
    """Log standard deviations are clamped from below (Table 2)."""
    logstd_max: float = 2.0
    """Log standard deviations are clamped from above (Table 2)."""
    logstd_init: float = -1.0
    """Initial log standard deviation, where it does not depend on the state."""
    normalize_return: bool = False
    """Count rewards in units of the running standard deviation of discounted returns, so that the weight of entropy
    means the same on every task; off in the paper. Returns that are reported are as they are."""
    encoder_points: tuple[int, ...] = (64, 128, 256)
    """Widths of the layers that each point of a cloud goes through (B.2; released code). This and the next four matter
    only where an observation has point clouds."""
    encoder_pool: Literal["avg", "max"] = "avg"
    """What is made of the points: their mean, as in the released code, or their maximum, as in DP3."""
    encoder_latent: int = 64
    """Numbers that stand for a cloud (released code)."""
    encoder_vector: int = 128
    """Width of the layer that the rest of the observation goes through (released code)."""
    share_encoder: bool = False
    """Let the critics see what the actor's encoder makes of an observation; otherwise each has its own (B.2)."""
    num_critics: int = 2
    """Critics, each fitted to the same targets (B.1 IV)."""
    actor_value: Literal["mean", "min"] = "mean"
    """What the actor's objective makes of the critics' values (B.1 IV)."""
    target_value: Literal["mean", "min"] = "min"
    """What the critics' own targets make of them (B.1 IV)."""
    target_alpha: float = 0.0
    """Part of the target critics that stays at each update; at 0 there are none, as in the paper (B.1 IV)."""
    actor_entropy: bool = True
    """Add entropy to the rewards of the actor's objective (Eq. 8)."""
    soft_value: bool = True
    """Add entropy to the rewards of the critics' targets, which makes them soft values (Eq. 10)."""
    normalize_entropy: bool = True
    """Count entropy as (h + |H|) / (2 |H|), H being the target entropy (B.1 II)."""
    target_entropy: float = 0.5
    """The target entropy is minus this for each action (B.1 I) [nat]."""
    target_entropy_growth: float = 1.0
    """How many times ``target_entropy`` it is minus at the last update, linear in between: above 1, which is ours, the
    policy ends with less noise than it learned with (docs/algorithms/sapo.md)."""
    temperature_init: float = 1.0
    """Weight of entropy at the first update (Table 2)."""
    auto_temperature: bool = True
    """Move the temperature until the entropy is the target entropy (Eq. 21)."""
    temperature_lr: float = 5e-3
    """Learning rate of the log temperature, constant (Table 2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "num_critics", "encoder_latent", "encoder_vector")
        widths(self, "encoder_points")
        between_zero_and_one(self, "target_alpha")
        positive(self, "init_gain", "target_entropy", "target_entropy_growth", "temperature_init", "temperature_lr")
        not_negative(self, "weight_decay")
        finite(self, "logstd_init", "logstd_min", "logstd_max")
        fits = self.logstd_min < self.logstd_max < math.log(3e38)
        require("logstd_max", self.logstd_max, fits, f"above logstd_min, which is {self.logstd_min}, and below 88")
