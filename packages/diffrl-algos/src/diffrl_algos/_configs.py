"""Hyper-parameters of the algorithms, shared by every framework. Nothing here imports torch or JAX."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class SHACConfig:
    """Short-Horizon Actor-Critic (Xu et al. 2022).

    The defaults are the paper's general setting (Table 5, with the networks of appendix A.4.3);
    ``load_preset`` gives its best setting for a task (Tables 1 and 4).
    """

    iterations: int = 2000
    """Updates of a full run (M in Table 4); the learning rates fall linearly over them."""
    horizon: int = 32
    """Control steps in a window (h in Eq. 5)."""
    gamma: float = 0.99
    """Discount per control step."""
    lam: float = 0.95
    """Lambda of the TD(lambda) targets of the critic (Eq. 7)."""
    actor_hidden: tuple[int, ...] = (256, 128)
    """Widths of the actor's hidden layers (Table 1)."""
    critic_hidden: tuple[int, ...] = (128, 128)
    """Widths of the critic's hidden layers (Table 1)."""
    actor_lr: float = 2e-3
    """Learning rate of the actor at the first update."""
    critic_lr: float = 5e-4
    """Learning rate of the critic at the first update."""
    lr_end: float = 1e-5
    """Learning rate of both at the last update."""
    lr_schedule: Literal["linear", "constant"] = "linear"
    """How the learning rates go there."""
    betas: tuple[float, float] = (0.7, 0.95)
    """Decay rates of Adam's moments, for both networks."""
    max_grad_norm: float = 1.0
    """Gradients of a larger Euclidean norm are scaled down to this, for both networks."""
    critic_iterations: int = 16
    """Passes of the critic over a window."""
    critic_minibatches: int = 4
    """Pieces in which a pass sees the window."""
    critic_shuffle: bool = True
    """Draw the pieces at random in each pass; otherwise they are runs of consecutive steps, as in the
    released code. The paper does not say; docs/shac.md has figures of both on Ant."""
    target_alpha: float = 0.995
    """Part of the target critic that stays at each update: theta' <- alpha theta' + (1 - alpha) theta."""
    logstd_init: float = -1.0
    """Initial log standard deviation of the actions before tanh."""
    normalize_obs: bool = True
    """Shift and scale observations by their running mean and standard deviation."""
    torch_threads: int = 1
    """Threads of torch's own operations; at a few thousand rows more are slower. Results depend on it in
    the last bits, so it belongs to the configuration. The simulator has its own threads."""

    def __post_init__(self) -> None:
        for name in ("iterations", "horizon", "critic_iterations", "critic_minibatches", "torch_threads"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("gamma", "lam", "target_alpha"):
            _require(name, getattr(self, name), 0.0 <= getattr(self, name) <= 1.0, "between 0 and 1")
        for name in ("actor_lr", "critic_lr", "max_grad_norm"):
            _require(name, getattr(self, name), 0.0 < getattr(self, name) < math.inf, "positive and finite")
        _require("lr_end", self.lr_end, 0.0 <= self.lr_end < math.inf, "finite and not negative")
        _require("logstd_init", self.logstd_init, math.isfinite(self.logstd_init), "finite")
        for name in ("actor_hidden", "critic_hidden"):
            _require(name, getattr(self, name), all(width >= 1 for width in getattr(self, name)), "all at least 1")
        _require("betas", self.betas, all(0.0 <= beta < 1.0 for beta in self.betas), "two numbers in [0, 1)")


def _require(name: str, value: object, holds: bool, expected: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}; it must be {expected}")
