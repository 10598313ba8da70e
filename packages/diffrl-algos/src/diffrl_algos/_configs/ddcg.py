"""Configuration of DDCG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffsim_core.options import Fraction

from .._config import require
from .per_step import PerStepConfig


@dataclass(frozen=True, kw_only=True)
class DDCGConfig(PerStepConfig):
    """Discontinuity-detecting composite gradient (Onoda et al. 2026, arXiv:2604.18161, Part I), in every control step.

    The paper tests one smoothed function; how we read it for a policy is our own (docs/algorithms/ivwh-ddcg.md).
    """

    slack: Fraction = 0.3
    """c of the test: the share of the values' variance that the gradients need not explain. The paper has 0.3 for all
    tasks."""
    test: Literal["second", "first"] = "first"
    """``second``: Eq. 14 as others quote it, which is meant for samples in one state. ``first``: the bound that holds
    for worlds in different states too, which is ours. See ``gradest.smoothness_test``."""
    scope: Literal["window", "step"] = "window"
    """What is tested. ``window``: the values of whole windows, less what the same worlds earn without noise in a second
    roll-out, as functions of all noise in them; a window that fails takes the likelihood-ratio gradient in every step.
    ``step``: the one-step advantages of each step, as functions of the noise of its action, where the critic is all
    that takes out how states differ."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = not (self.through_time and self.scope == "window")
        require("scope", self.scope, fits, "step with through_time: windows are judged after the backward pass")
