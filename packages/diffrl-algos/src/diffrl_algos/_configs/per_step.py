"""Fields of algorithms that mix two action gradients in every control step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffsim_core.options import Fraction, Positive

from .._config import require
from .advantages import AdvantageConfig


@dataclass(frozen=True, kw_only=True)
class PerStepConfig(AdvantageConfig):
    """Fields of IVW-H and DDCG (Onoda et al. 2026). What the paper leaves open here is SHAC's general setting;
    docs/algorithms/ivwh-ddcg.md says what of the paper could be read."""

    target_alpha: Fraction = 0.995
    """Share of the target critic kept at each update: theta' <- alpha theta' + (1 - alpha) theta."""
    variance: Literal["coordinate", "trace"] = "coordinate"
    """``coordinate``: every component of the mean and of the deviation of an action has its variance and its weight in
    each step (the paper). ``trace``: their sum, and one weight for the step."""
    nonfinite: Literal["zero", "mask"] = "zero"
    """A step where some world's gradient through the simulator is not finite takes the likelihood-ratio gradient alone,
    or only that world does."""
    outliers: Positive | None = None
    """Worlds whose gradient through the simulator is longer than so many medians of its step take the likelihood-ratio
    gradient, and do not count for the variance. Ours, for stiff contacts; with none every world counts (the paper)."""
    discount_advantages: bool = True
    """Weigh an advantage by ``gamma^k`` after ``k`` steps of a segment, so that both gradients are of one objective,
    SHAC's."""
    through_time: bool = False
    """Mix inside of the backward pass: what goes on to earlier steps through the policy is the mixture too. Otherwise
    the simulator's gradients are those of SHAC, and the mixtures of all steps go through the network once."""
    fixed_weight: Fraction | None = None
    """The weight of the simulator's gradient in place of that of the variances, for ablations: 1 is SHAC's update, 0
    that of the likelihood ratio."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = not (self.through_time and self.policy_step == "native")
        require("policy_step", self.policy_step, fits, "auto or torch with through_time, which acts between its steps")

    def check_worlds(self, num_envs: int, title: str) -> None:
        """Raise ``ValueError`` if there are too few worlds for a variance."""
        if num_envs < 2 and self.fixed_weight is None:
            raise ValueError(
                f"num_envs is {num_envs}, and {title} takes variances over worlds; give it at least 2, or a "
                "fixed_weight"
            )
