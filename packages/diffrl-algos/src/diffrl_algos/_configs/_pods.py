"""Hyper-parameters of PODS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._window import WindowConfig, at_least_one, positive, require


@dataclass(frozen=True, kw_only=True)
class PODSConfig(WindowConfig):
    """Policy Optimization via Differentiable Simulation, the first-order version (Mora et al. 2021).

    The defaults are ours; docs/algorithms/trajopt.md says why.
    """

    horizon: int = 128
    """Control steps of a rollout, which begins with new episodes."""
    step_size: float = 0.3
    """Largest change of a rollout's actions along its gradient, as a root mean square over its steps."""
    line_search: int = 8
    """Sizes tried, each half of the one before; the first that improves the return is taken. 0 takes ``step_size``
    untried."""
    actor_lr: float = 2e-3
    """Learning rate of the actor at the first update."""
    actor_iterations: int = 8
    """Passes over the rollouts in which the actor learns the improved actions."""
    actor_minibatches: int = 4
    """Pieces, drawn at random, in which a pass sees them."""
    activation: Literal["elu", "silu"] = "elu"
    """After each hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, "actor_iterations", "actor_minibatches")
        positive(self, "step_size")
        require("line_search", self.line_search, self.line_search >= 0, "not negative")
