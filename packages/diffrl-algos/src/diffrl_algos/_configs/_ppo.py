"""Hyper-parameters of PPO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._window import CriticConfig, at_least_one, finite, not_negative, positive, require


@dataclass(frozen=True, kw_only=True)
class PPOConfig(CriticConfig):
    """Proximal Policy Optimization (Schulman et al. 2017), the model-free baseline.

    The defaults are those with which Xing et al. 2024 compare (Table 2), except for the form of the policy's standard
    deviation, which is SHAC's.
    """

    actor_lr: float = 5e-4
    """Learning rate of the actor at the first update."""
    adaptive_lr: bool = True
    """Let the divergence of the policy from the one that acted move both learning rates, in proportion; otherwise
    ``lr_schedule`` does."""
    kl_target: float = 0.008
    """Divergence [nat] around which the rates stay: 1.5 times less above twice of it, 1.5 times more below half."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of Adam's moments, for both networks."""
    max_grad_norm: float = 0.5
    """Gradients of a larger Euclidean norm are scaled down to this, for each optimiser."""
    weight_decay: float = 0.01
    """Decay of AdamW, for both networks (the number is torch's default); 0 gives Adam."""
    actor_iterations: int = 5
    """Passes of the actor over a window."""
    actor_minibatches: int = 2
    """Pieces, drawn at random, in which a pass sees the window."""
    critic_iterations: int = 5
    """Passes of the critic over a window."""
    critic_minibatches: int = 2
    """Pieces in which a pass sees the window."""
    attempts: int = 1
    """With more than one, a window's passes that leave their loss higher than it was are taken back and tried again
    with a rate 1.5 times less, up to so many times in all (GI-PPO's code); the rate begins at ``actor_lr``."""
    clip: float = 0.2
    """How far the ratio of densities may go from one and still be rewarded."""
    entropy_coef: float = 0.0
    """Weight of the entropy before tanh in the actor's objective."""
    normalize_value: bool = True
    """Fit the critic to value targets shifted and scaled by their running mean and standard deviation."""
    activation: Literal["silu", "elu", "relu", "tanh"] = "silu"
    """After each hidden layer."""
    layer_norm: bool = True
    """Normalise each hidden layer after its activation."""
    state_dependent_std: bool = False
    """Let the standard deviation be an output of the network; otherwise one parameter for each action."""
    logstd_init: float = 0.0
    """Initial log standard deviation of the actions before tanh, where it is a parameter."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "actor_iterations", "actor_minibatches", "attempts")
        once = self.attempts == 1 or not self.adaptive_lr
        require("attempts", self.attempts, once, "1 with adaptive_lr, which moves the rate by another rule")
        positive(self, "kl_target", "clip")
        not_negative(self, "weight_decay", "entropy_coef")
        finite(self, "logstd_init")
