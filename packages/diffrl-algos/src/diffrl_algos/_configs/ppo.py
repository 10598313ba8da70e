"""Configuration of Proximal Policy Optimization."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim_core.options import Count, Finite, NotNegative, Positive

from .._config import Activation, Decay, PolicyFitConfig, require
from .advantages import AdvantageConfig


@dataclass(frozen=True, kw_only=True)
class PPOConfig(AdvantageConfig, PolicyFitConfig):
    """Proximal Policy Optimization (Schulman et al. 2017), the model-free baseline.

    The defaults are those with which Xing et al. 2024 compare (Table 2), except for the form of the policy's standard
    deviation, which is SHAC's, and for two minibatches in an epoch instead of one, as in their released configuration.
    """

    actor_lr: Positive = 5e-4
    """Learning rate of the actor at the first update."""
    adaptive_lr: bool = True
    """Adapt both learning rates, in proportion, to the divergence of the new policy from the one that acted; otherwise
    they follow ``lr_schedule``."""
    kl_target: Positive = 0.008
    """Target divergence [nat]: the rates are divided by 1.5 above twice the target and multiplied by 1.5 below half."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay rates of Adam's moments, for both networks."""
    max_grad_norm: Positive = 0.5
    """Gradients of a larger Euclidean norm are scaled down to this, for each optimiser."""
    weight_decay: NotNegative = 0.01
    """Decay of AdamW, for both networks (the number is torch's default); 0 gives Adam."""
    actor_iterations: Count = 5
    """Epochs of the actor over a window."""
    actor_minibatches: Count = 2
    """Minibatches in an epoch of the actor, drawn at random."""
    critic_iterations: Count = 5
    """Epochs of the critic over a window."""
    critic_minibatches: Count = 2
    """Minibatches in an epoch of the critic."""
    attempts: Count = 1
    """Largest number of tries. With more than one, epochs that end with a higher loss than they began with are undone
    and tried again with a rate 1.5 times smaller (GI-PPO's code); the rate starts at ``actor_lr``."""
    clip: Positive = 0.2
    """Largest distance of the ratio of densities from 1 that the objective rewards."""
    entropy_coef: NotNegative = 0.0
    """Weight of the entropy before tanh in the actor's objective."""
    normalize_value: bool = True
    """Fit the critic to value targets shifted and scaled by their running mean and standard deviation."""
    activation: Activation = "silu"
    """Activation function of each hidden layer, for both networks."""
    logstd_init: Finite = 0.0
    """Initial log standard deviation of the actions before tanh; where it depends on the state, the bias of that
    output."""

    def __post_init__(self) -> None:
        super().__post_init__()
        once = self.attempts == 1 or not self.adaptive_lr
        require("attempts", self.attempts, once, "1 with adaptive_lr, which moves the rate by another rule")
