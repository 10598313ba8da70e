"""Fields of algorithms that learn from generalised advantages."""

from __future__ import annotations

from dataclasses import dataclass

from diffsim_core.options import Finite, Fraction, Positive

from .._config import CriticConfig, GaussianConfig, Widths


@dataclass(frozen=True, kw_only=True)
class AdvantageConfig(GaussianConfig, CriticConfig):
    """Fields of every algorithm that learns from generalised advantages."""

    normalize_value: bool = False
    """Fit the critic to value targets shifted and scaled by their running mean and standard deviation."""


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(AdvantageConfig):
    """Fields that GI-PPO (Son et al. 2023) and its baselines share; the defaults are their common settings."""

    actor_hidden: Widths = (64, 64)
    """Widths of the actor's hidden layers."""
    critic_hidden: Widths = (64, 64)
    """Widths of the critic's hidden layers."""
    critic_lr: Positive = 1e-3
    """Learning rate of the critic at the first update."""
    target_alpha: Fraction = 0.2
    """Share of the target critic kept at each update."""
    state_dependent_std: bool = True
    """Make the standard deviation an output of the network; otherwise it is one parameter for each action."""
    logstd_init: Finite = 0.0
    """Initial log standard deviation of the actions before tanh; where it depends on the state, the bias of that
    output."""
