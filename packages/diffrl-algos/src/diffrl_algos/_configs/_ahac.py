"""Hyper-parameters of AHAC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._window import CriticConfig, at_least_one, finite, not_negative, positive, require


@dataclass(frozen=True, kw_only=True)
class AHACConfig(CriticConfig):
    """Adaptive Horizon Actor-Critic (Georgiev et al. 2024).

    The defaults are those of the authors' released configuration where it has them; docs/algorithms/ahac.md says which,
    and how what the sources leave open is read.
    """

    horizon: int = 8
    """Control steps in the first window."""
    horizon_min: int = 8
    """Control steps in the shortest window."""
    horizon_max: int = 64
    """Control steps in the longest window."""
    horizon_lr: float = 0.01
    """Rate of the multipliers and of the horizon at the first update; it falls as the learning rates do."""
    stiffness_max: float = 30.0
    """Stiffness above which a step is to be avoided: growth of a random change of the state over one control step."""
    stiff: Literal["shortens", "lengthens"] = "shortens"
    """What stiff steps do to the horizon: what the paper wants, or what the released code's signs come to."""
    shared_multiplier: bool = False
    """Begin every update with the multiplier of the first step for all, as the released code does."""
    actor_hidden: tuple[int, ...] = (400, 200, 100)
    """Widths of the actor's hidden layers (released configuration)."""
    critic_hidden: tuple[int, ...] = (400, 200, 100)
    """Widths of the critics' hidden layers (released configuration)."""
    num_critics: int = 2
    """Critics, each fitted to the same targets; the least of their values counts."""
    critic_iterations: int = 64
    """Most passes of the critics over a window."""
    critic_tolerance: float = 0.2
    """The passes end once the critics' error changed by less than this from pass to pass, on average over the last
    five. 0 takes all passes."""
    target_alpha: float = 0.0
    """Part of the target critics that stays at each update; at 0 there are none, as in the released code."""
    logstd_init: float = -1.0
    """Initial log standard deviation of the actions before tanh."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "num_critics", "horizon_min")
        positive(self, "stiffness_max")
        not_negative(self, "horizon_lr", "critic_tolerance")
        require("target_alpha", self.target_alpha, 0.0 <= self.target_alpha < 1.0, "in [0, 1)")
        low, high = self.horizon_min, self.horizon_max
        require("horizon_max", high, high >= low, f"at least horizon_min, which is {low}")
        require("horizon", self.horizon, low <= self.horizon <= high, f"from horizon_min {low} to horizon_max {high}")
        finite(self, "logstd_init")
