"""AHAC's adaptive horizon: a dual step for a constraint on the stiffness of each step."""

from __future__ import annotations

from typing import Literal, NamedTuple

from ._backend import clamp
from ._check import Array, check_arrays, check_choice, check_number
from ._values import refuse_nan


class HorizonStep(NamedTuple):
    """The new horizon and multipliers."""

    horizon: Array
    """Scalar, within the bounds."""
    multipliers: Array
    """``[H]``."""


def adapt_horizon(
    horizon: Array,
    multipliers: Array,
    stiffness: Array,
    *,
    threshold: float,
    lr: float,
    low: float,
    high: float,
    stiff: Literal["shortens", "lengthens"] = "shortens",
) -> HorizonStep:
    """One dual step of AHAC, which updates the multipliers and then the horizon.

    For the constraint ``c_t / C <= 1`` on each of the ``T`` steps of a window, with the Lagrangian
    ``J + sum_t phi_t (c_t / C - 1)``: ``phi_t <- phi_t + lr (c_t / C - 1)`` for ``t < T``, then
    ``H <- clip(H - lr sum_{t < T} phi_t)``.

    Georgiev et al., Adaptive Horizon Actor-Critic for Policy Learning in Contact-Rich Differentiable Simulation, ICML
    2024 (arXiv:2405.17784). The paper's constraint is ``c_t <= C``, so its rates depend on the unit of ``c``; divided
    by ``C``, one rate serves every unit. Multipliers may be negative: smooth windows make the horizon longer.

    Args:
        horizon: ``H`` [control steps], a scalar array.
        multipliers: ``phi``, shape ``[H]``, one for each step of the longest window; those beyond this window do not
            change.
        stiffness: ``c``, mean over worlds of a norm of each step's Jacobian, shape ``[T]`` with ``T <= H``.
        threshold: ``C``, above 0, in the unit of ``stiffness``.
        lr: rate of both updates, at least 0.
        low: smallest horizon, at least 1.
        high: largest horizon.
        stiff: ``"lengthens"`` reverses the sign of the horizon's step, as the authors' released code does.

    Returns:
        The new horizon and multipliers.

    Raises:
        ValueError: an argument has the wrong framework, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"horizon": (horizon, ""), "multipliers": (multipliers, "H"), "stiffness": (stiffness, "T")})
    if stiffness.shape[0] > multipliers.shape[0]:
        raise ValueError(
            f"stiffness has shape {tuple(stiffness.shape)}; expected at most {multipliers.shape[0]} steps, as many as "
            "there are multipliers"
        )
    threshold = check_number("threshold", threshold, 0.0, above=True)
    lr = check_number("lr", lr, 0.0)
    low = check_number("low", low, 1.0)
    high = check_number("high", high, low)
    check_choice("stiff", stiff, ("shortens", "lengthens"))
    refuse_nan(xp, horizon=horizon, multipliers=multipliers, stiffness=stiffness)
    steps = stiffness.shape[0]
    inside = multipliers[:steps] + lr * (stiffness * (1.0 / threshold) - 1.0)
    change = lr * xp.sum(inside)
    moved = horizon - change if stiff == "shortens" else horizon + change
    return HorizonStep(clamp(moved, low, high), xp.concat([inside, multipliers[steps:]]))
