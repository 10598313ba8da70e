"""Configuration of the alpha-order batched gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from diffsim_core.options import Fraction, NotNegative

from .._config import require
from .advantages import AdvantageConfig

Tolerance = Annotated[float, Interval(ge=0)]
Probability = Annotated[float, Interval(gt=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class AOBGConfig(AdvantageConfig):
    """Alpha-order batched gradient (Suh et al. 2022), as Gao et al. 2024 (appendix C) compare with it.

    What neither paper gives is SHAC's general setting. docs/algorithms/aobg.md says how we read what they leave open.
    """

    target_alpha: Fraction = 0.995
    """Share of the target critic kept at each update: theta' <- alpha theta' + (1 - alpha) theta."""
    tolerance: Tolerance = math.inf
    """Largest error of the gradient to accept, in its own units: gamma of Suh et al. Infinite, the weights are those
    of least variance."""
    slack: NotNegative | None = None
    """A number in place of ``tolerance`` minus the confidence radius: tau = gamma - epsilon of Gao et al. With none the
    radius is computed, from ``bound`` and ``delta``."""
    bound: NotNegative = 10.0
    """Largest distance of the zeroth-order gradient of a world from its expectation, L of Suh et al.; it enters the
    confidence radius (their released code)."""
    delta: Probability = 0.95
    """Probability that the zeroth-order mean lies beyond its confidence radius (their released code)."""
    independent: bool = False
    """Take the first-order gradient from the first half of the worlds and the zeroth-order one from the rest, as Suh et
    al. do; otherwise both from all worlds, as Gao et al. do."""
    discount_advantages: bool = False
    """Weigh an advantage by ``gamma^k`` after ``k`` steps of a segment, so that both gradients are of one objective,
    SHAC's. Gao et al. do not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = self.slack is None or self.tolerance == math.inf
        require("slack", self.slack, fits, f"none with a tolerance, which is {self.tolerance}; give one of them")

    def halves(self, num_envs: int) -> tuple[slice, slice]:
        """The worlds of the first-order and of the zeroth-order gradient.

        Raises:
            ValueError: one of the two has fewer than two worlds, which a variance needs.
        """
        least = 4 if self.independent else 2
        if num_envs < least:
            where = "over each half of the worlds" if self.independent else "over worlds"
            raise ValueError(f"num_envs is {num_envs}, and AOBG takes variances {where}; give it at least {least}")
        half = num_envs // 2
        return (slice(half), slice(half, None)) if self.independent else (slice(None), slice(None))
