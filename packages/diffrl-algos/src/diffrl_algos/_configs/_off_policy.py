"""Hyper-parameters of the algorithms that learn Q functions from a replay buffer: SAC and TD3."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ._window import WindowConfig, at_least_one, between_zero_and_one, finite, not_negative, positive, require, widths


@dataclass(frozen=True, kw_only=True)
class OffPolicyConfig(WindowConfig):
    """Fields that SAC and TD3 share, with the values of Xing et al. 2024 for SAC (Table 2) for their defaults.

    ``horizon`` steps of every world and ``updates`` gradient steps take turns, so there are
    ``updates / (num_envs * horizon)`` gradient steps for each control step.
    """

    actor_lr: float = 5e-4
    """Learning rate of the actor at the first update."""
    lr_schedule: Literal["linear", "constant"] = "constant"
    """How the learning rates go to ``lr_end``."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of Adam's moments, for all networks."""
    max_grad_norm: float = 0.5
    """Gradients of a larger Euclidean norm are scaled down to this, for each optimiser."""
    weight_decay: float = 0.01
    """Decay of AdamW, for actor and Q functions (the number is torch's default); 0 gives Adam."""
    activation: Literal["silu", "elu", "relu", "tanh"] = "silu"
    """After each hidden layer."""
    layer_norm: bool = True
    """Normalise each hidden layer after its activation."""
    critic_hidden: tuple[int, ...] = (128, 128)
    """Widths of the Q functions' hidden layers."""
    critic_lr: float = 5e-4
    """Learning rate of the Q functions at the first update."""
    num_critics: int = 2
    """Q functions, each fitted to the same targets; the least of them counts."""
    target_alpha: float = 0.995
    """Part of the target networks that stays at each gradient step: 1 - tau."""
    replay_size: int = 1_000_000
    """Steps over all worlds that the buffer keeps."""
    batch_size: int = 2048
    """Steps drawn from the buffer for a gradient step."""
    updates: int = 8
    """Gradient steps after each window."""
    n_step: int = 3
    """Rewards in a target before the Q functions take over; fewer where an episode ends."""
    reward_scale: float = 1.0
    """Rewards are multiplied by this for learning; returns that are reported are not. Q functions of large values are
    learned slowly, and the temperature is measured against them."""
    warmup_steps: int = 32
    """Control steps of every world with random actions, before anything is learned; whole windows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "num_critics", "replay_size", "batch_size", "updates", "n_step")
        between_zero_and_one(self, "target_alpha")
        positive(self, "critic_lr", "reward_scale")
        not_negative(self, "weight_decay", "warmup_steps")
        widths(self, "critic_hidden")


@dataclass(frozen=True, kw_only=True)
class SACConfig(OffPolicyConfig):
    """Soft Actor-Critic (Haarnoja et al. 2018), with the setting of Xing et al. 2024 (Table 2) for its defaults."""

    logstd_min: float = -5.0
    """Log standard deviations are clamped from below (Table 2)."""
    logstd_max: float = 2.0
    """Log standard deviations are clamped from above (Table 2)."""
    target_entropy: float = 0.5
    """The target entropy is minus this for each action (Table 2) [nat]."""
    temperature_init: float = 1.0
    """Weight of entropy at the first update (Table 2)."""
    auto_temperature: bool = True
    """Move the temperature until the entropy is the target entropy."""
    temperature_lr: float = 5e-3
    """Learning rate of the log temperature, constant (Table 2)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "temperature_init", "temperature_lr")
        not_negative(self, "target_entropy")
        finite(self, "logstd_min", "logstd_max")
        fits = self.logstd_min < self.logstd_max < math.log(3e38)
        require("logstd_max", self.logstd_max, fits, f"above logstd_min, which is {self.logstd_min}, and below 88")


@dataclass(frozen=True, kw_only=True)
class TD3Config(OffPolicyConfig):
    """Twin Delayed Deep Deterministic policy gradient (Fujimoto et al. 2018).

    What it has beside SAC's fields has the paper's values for its defaults.
    """

    exploration_noise: float = 0.1
    """Standard deviation of the noise on the actions taken while learning."""
    target_noise: float = 0.2
    """Standard deviation of the noise on the target policy's actions."""
    target_noise_clip: float = 0.5
    """That noise is clipped to plus and minus this."""
    policy_delay: int = 2
    """Gradient steps of the Q functions for one of the actor and of the target networks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "policy_delay")
        not_negative(self, "exploration_noise", "target_noise", "target_noise_clip")
