"""GI-PPO's controller of alpha, the step towards the alpha-policy, from update to update."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ._check import check_choice, check_factor, check_number


class AlphaState(NamedTuple):
    """The controller's state: plain numbers and a word, which a JSON file can hold."""

    alpha: float
    """Alpha of the next update."""
    reason: str = "start"
    """Why it last changed: ``"start"``, ``"grew"``, ``"determinant"``, ``"bias"``, ``"out of range"`` or
    ``"not finite"``."""
    seen: int = 0
    """Number of additional returns so far."""
    mean: float = 0.0
    """Their running mean."""
    square: float = 0.0
    """Sum of their squared distances from the mean."""


@dataclass(frozen=True)
class AlphaController:
    """Lowers alpha if gradients show variance or bias, or leave PPO's range; raises it otherwise.

    Algorithm 1 of GI-PPO (Son et al. 2023), after the policy was fitted to the alpha-policy. Each of

    - variance: a determinant outside ``1 -+ delta_det`` (``gaussian_determinant``),
    - bias: a negative ``additional_return``,
    - range: an ``out_of_range_ratio`` above ``delta_oorr``

    divides alpha by ``factor``. Otherwise alpha is multiplied by ``factor``, up to ``alpha_max``. State in, state out::

        controller = AlphaController(alpha_init=0.5, factor=1.02)
        state = controller.init()
        state = controller.update(state, determinant=(0.9, 1.1), additional_return=0.3, out_of_range=0.1)

    A measurement that is not finite counts as a failure. An alpha that underflows to zero cannot grow again; an
    ``alpha_min`` above the paper's 0 prevents that.
    """

    alpha_init: float
    """The first alpha, above 0. The paper has 1e-5 (functions), 0.5 (Cartpole, Ant), 5e-3 (Hopper), 0.1 (traffic)."""
    alpha_max: float = 1.0
    """Upper bound of alpha."""
    alpha_min: float = 0.0
    """Lower bound of alpha."""
    factor: float = 1.1
    """beta: divisor or multiplier of alpha, above 1. The paper has 1.02 for physics and 1.1 elsewhere."""
    delta_det: float = 0.4
    """Largest distance of determinants from 1."""
    delta_oorr: float = 0.5
    """Largest fraction of samples outside PPO's range."""
    bias_rule: Literal["sign", "zscore"] = "sign"
    """``"sign"``: the paper's rule, a negative additional return. ``"zscore"``: that of the released code, by which it
    must also lie more than one standard deviation below the mean of earlier ones."""

    def __post_init__(self) -> None:
        check_number("alpha_init", self.alpha_init, 0.0, above=True)
        check_number("alpha_max", self.alpha_max, 0.0, above=True)
        check_number("alpha_min", self.alpha_min, 0.0)
        check_number("factor", self.factor, 1.0, above=True)
        check_number("delta_det", self.delta_det, 0.0)
        check_factor("delta_oorr", self.delta_oorr)
        check_choice("bias_rule", self.bias_rule, ("sign", "zscore"))
        if not self.alpha_min <= self.alpha_init <= self.alpha_max:
            raise ValueError(
                f"alpha_init is {self.alpha_init}; expected a number from alpha_min ({self.alpha_min}) "
                f"to alpha_max ({self.alpha_max})"
            )

    def init(self) -> AlphaState:
        """The state before the first update."""
        return AlphaState(alpha=float(self.alpha_init))

    def update(
        self,
        state: AlphaState,
        *,
        determinant: tuple[float, float],
        additional_return: float,
        out_of_range: float,
    ) -> AlphaState:
        """The next alpha, given the measurements of the last update.

        Args:
            state: from ``init`` or the last update.
            determinant: smallest and largest determinant of the samples.
            additional_return: see the function of this name.
            out_of_range: see ``out_of_range_ratio``.

        Returns:
            The new state; ``reason`` names the first rule that failed, or ``"grew"``.
        """
        low, high = map(float, determinant)
        gain, outside = float(additional_return), float(out_of_range)
        reason = "grew"
        if not all(map(math.isfinite, (low, high, gain, outside))):
            reason = "not finite"
        elif low < 1.0 - self.delta_det or high > 1.0 + self.delta_det:
            reason = "determinant"
        elif self._biased(state, gain):
            reason = "bias"
        elif outside > self.delta_oorr:
            reason = "out of range"
        alpha = state.alpha * self.factor if reason == "grew" else state.alpha / self.factor
        alpha = min(max(alpha, self.alpha_min), self.alpha_max)
        if not math.isfinite(gain):
            return state._replace(alpha=alpha, reason=reason)
        count = state.seen + 1
        mean = state.mean + (gain - state.mean) / count
        return AlphaState(alpha, reason, count, mean, state.square + (gain - state.mean) * (gain - mean))

    def _biased(self, state: AlphaState, gain: float) -> bool:
        if gain >= 0.0 or self.bias_rule == "sign":
            return gain < 0.0
        if state.seen < 2:
            return False
        deviation = math.sqrt(state.square / (state.seen - 1))
        return gain - state.mean < -deviation
