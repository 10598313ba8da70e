"""Hyper-parameters of GI-PPO and of the policy gradients that its paper compares with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._window import CriticConfig, at_least_one, between_zero_and_one, finite, not_negative, positive, require


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(CriticConfig):
    """What GI-PPO (Son et al. 2023) and its baselines have in common; defaults are its common settings."""

    actor_hidden: tuple[int, ...] = (64, 64)
    """Widths of the actor's hidden layers."""
    critic_hidden: tuple[int, ...] = (64, 64)
    """Widths of the critic's hidden layers."""
    critic_lr: float = 1e-3
    """Learning rate of the critic at the first update."""
    target_alpha: float = 0.2
    """Part of the target critic that stays at each update."""
    normalize_value: bool = False
    """Fit the critic to value targets shifted and scaled by their running mean and standard deviation."""
    state_dependent_std: bool = True
    """Let the standard deviation be an output of the network; otherwise one parameter for each action."""
    logstd_init: float = 0.0
    """Initial log standard deviation of the actions before tanh; where it depends on the state, about this."""
    logstd_min: float = -20.0
    """Log standard deviations are clamped from below."""
    logstd_max: float = 20.0
    """Log standard deviations are clamped from above."""
    activation: Literal["elu", "silu"] = "elu"
    """After each hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        between_zero_and_one(self, "target_alpha")
        finite(self, "logstd_init", "logstd_min", "logstd_max")
        fits = self.logstd_min < self.logstd_max <= 40.0
        require("logstd_max", self.logstd_max, fits, f"above logstd_min, which is {self.logstd_min}, and at most 40")


@dataclass(frozen=True, kw_only=True)
class LRConfig(OnPolicyConfig):
    """Likelihood-ratio policy gradient with generalised advantages (Son et al. 2023, 7.4.1)."""

    actor_lr: float = 1e-4
    """Learning rate of the actor at the first update."""


@dataclass(frozen=True, kw_only=True)
class RPConfig(OnPolicyConfig):
    """Reparameterised policy gradient of TD(lambda) returns (Son et al. 2023, 7.4.1)."""


@dataclass(frozen=True, kw_only=True)
class LRRPConfig(OnPolicyConfig):
    """LR and RP mixed by the inverse of their variances (Parmas et al. 2018; Son et al. 2023, 7.4.1)."""

    actor_lr: float = 1e-4
    """Learning rate of the actor at the first update."""
    covariance: bool = False
    """Take into account that both come from the same windows; otherwise they count as independent, as in the paper."""
    variance_samples: int = 0
    """Worlds that the variances are taken over: the first so many, at least 2; 0 is all. The paper has 16."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.variance_samples == 0 or self.variance_samples >= 2
        require("variance_samples", self.variance_samples, fits, "0 or at least 2")


@dataclass(frozen=True, kw_only=True)
class PEConfig(OnPolicyConfig):
    """Policy enhancement (Qiao et al. 2021): the value of an action from one simulated step of gradient."""


@dataclass(frozen=True, kw_only=True)
class GIPPOConfig(OnPolicyConfig):
    """Gradient Informed Proximal Policy Optimization (Son et al. 2023).

    The defaults are those of its Appendix 7.4.2 for Ant; ``load_preset`` gives those of a task.
    """

    actor_lr: float = 1e-4
    """Learning rate of PPO's passes."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    """How the critic's learning rate goes to ``lr_end``; the actor's two rates have rules of their own."""
    adaptive_lr: bool = False
    """Let the divergence of the policy from the one that acted move the rate of PPO's passes."""
    kl_target: float = 0.008
    """Divergence [nat] around which it stays: 1.5 times less above twice of it, 1.5 times more below half."""
    alpha_lr: float = 5e-4
    """Learning rate of the fit to the alpha-policy."""
    alpha_iterations: int = 16
    """Steps of the fit to the alpha-policy, each over the whole window."""
    alpha_init: float = 0.5
    """alpha_0 of Algorithm 1."""
    alpha_max: float = 1.0
    """max(alpha) of Algorithm 1."""
    alpha_min: float = 0.0
    """Never less than this."""
    alpha_factor: float = 1.02
    """beta of Algorithm 1: what alpha is multiplied or divided by."""
    delta_det: float = 0.4
    """How far estimated determinants may be from 1."""
    delta_oorr: float = 0.5
    """Largest share of samples out of PPO's range after the fit."""
    bias_rule: Literal["sign", "zscore"] = "sign"
    """What counts as bias: a negative additional return (the paper), or one that is also more than a deviation below
    the mean of those before (the released code)."""
    attempts: int = 8
    """A fit or a PPO phase that leaves its own loss higher than it was is taken back and tried again with a rate 1.5
    times less, up to so many attempts in all; if none succeeds the policy stays and the rate stays lower."""
    judged_by: Literal["result", "last_pass"] = "result"
    """What loss decides whether it did: that of the policy it leaves, or that of the one before its last pass (the
    released code), which does not see where the last pass went."""
    alpha_lr_min: float = 1e-5
    """The rate of the fit is not lowered below this by failed attempts."""
    adam_eps: float = 1e-8
    """Added to the root of the second moment, in the actor's two optimisers."""
    clip: float = 0.2
    """How far the ratio of densities may go from one and still be rewarded."""
    actor_iterations: int = 5
    """Passes of PPO over a window."""
    actor_minibatches: int = 1
    """Pieces, drawn at random, in which a pass sees the window."""
    near: Literal["virtual", "guarded", "alpha", "old"] = "virtual"
    """What PPO stays near: the virtual policy halfway between the old one and the alpha-policy (the paper), the same
    but the alpha-policy where they lie more than e^4 apart for some sample of a piece (the released code), the
    alpha-policy, or the old policy."""
    ppo_betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the moments of PPO's Adam; ``betas`` are those of the fit and of the critic."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "alpha_iterations", "attempts", "actor_iterations", "actor_minibatches")
        positive(self, "kl_target", "alpha_lr", "alpha_init", "alpha_max", "delta_det", "clip")
        not_negative(self, "alpha_min", "alpha_lr_min", "adam_eps")
        between_zero_and_one(self, "delta_oorr")
        require("alpha_factor", self.alpha_factor, self.alpha_factor > 1.0, "above 1")
        inside = self.alpha_min <= self.alpha_init <= self.alpha_max
        require("alpha_init", self.alpha_init, inside, "from alpha_min to alpha_max")
        fits = all(0.0 <= beta < 1.0 for beta in self.ppo_betas)
        require("ppo_betas", self.ppo_betas, fits, "two numbers in [0, 1)")
        require("gamma * lam", self.gamma * self.lam, self.gamma * self.lam > 0.0, "above 0")
