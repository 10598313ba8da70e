"""AGPO's mixture ratio: how far the gradient of one simulated step can be trusted, judged at the action node."""

from __future__ import annotations

from typing import Any, Literal

from ._check import Array, check_arrays, check_choice, check_number, check_samples
from ._mixture import weight_of
from ._stop import stop_gradient

_FLOOR = 1e-8
"""Added to the median norm, which is 0 where most gradients are."""


def adaptive_ratio(
    first: Array,
    zeroth: Array,
    valid: Array | None = None,
    *,
    variance: Literal["norm", "vector"] = "norm",
    nonfinite: Literal["zero", "mask"] = "zero",
    tolerance: float | None = None,
) -> Array:
    """AGPO's adaptive mixture ratio: the weight of the simulator's gradient; the rest is the Q function's.

    ``alpha = v0 / (v0 + v1)`` (Gao et al. 2024, Eq. 3). ``v1`` and ``v0`` are the variances, over the worlds, of the
    norms of two gradients with respect to the action of one step, each divided by their median (section 4.2): the
    gradient of ``r + gamma Q(x', u')`` (``first``, Eq. 1) and that of ``Q(x, u)`` (``zeroth``, Eq. 2). One ratio holds
    for all worlds. No gradient flows through it.

    The paper leaves open what is standardised and how non-finite gradients count:

    - ``variance="norm"`` takes the variance of the standardised norms, as section 4 says; ``"vector"`` that of the
      gradients themselves (Definition 3.1), divided by the median norm.
    - ``nonfinite="zero"`` gives a step no weight if the simulator's gradient is infinite or NaN in any valid world;
      ``"mask"`` leaves such worlds out. A world whose ``zeroth`` is not finite is always left out.

    A step with fewer than two worlds to judge by gets 0. So NaN is no error here.

    Where simulator and Q function are both right, their gradients are equal and Eq. 3 gives 1/2. It compares spreads,
    and cannot see that one of the two is biased. With ``tolerance``, which is ours, a step whose ``v1`` is at most
    ``tolerance^2`` gets 1: the simulator is trusted fully unless its gradients spread by more than so many medians,
    and as Eq. 3 says where they do.

    Args:
        first: gradients of one simulated step with respect to the action, shape ``[N, m]``, or ``[T, N, m]`` for
            several.
        zeroth: gradients of the Q function with respect to the action, same shape.
        valid: bool, worlds to judge by, shape ``[N]`` or ``[T, N]``: leave out those whose episode ends in the step.
            All by default.
        variance: ``"norm"`` or ``"vector"``.
        nonfinite: ``"zero"`` or ``"mask"``.
        tolerance: standard deviation of the simulator's gradients over the worlds, in units of their median norm, up to
            which a step gets 1; None for Eq. 3 everywhere.

    Returns:
        ``alpha`` in [0, 1], a scalar array or ``[T]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, an option is not known, or there is only one world.
    """
    axes = "T N m" if len(getattr(first, "shape", ())) == 3 else "N m"
    flags = {} if valid is None else {"valid": (valid, axes[:-2])}
    xp = check_arrays({"first": (first, axes), "zeroth": (zeroth, axes)}, flags)
    check_choice("variance", variance, ("norm", "vector"))
    check_choice("nonfinite", nonfinite, ("zero", "mask"))
    check_samples("first", first, -2)
    if tolerance is not None:
        tolerance = check_number("tolerance", tolerance, 0.0)
    first, zeroth = stop_gradient(first), stop_gradient(zeroth)
    fine, finite = (xp.all(xp.isfinite(g), axis=-1) for g in (zeroth, first))
    kept = fine if valid is None else fine & valid
    smooth = xp.all(finite | ~kept, axis=-1)
    kept = kept & finite
    count = xp.sum(xp.astype(kept, first.dtype), axis=-1)
    v1, v0 = (_standardised_variance(xp, g, kept, count, variance == "vector") for g in (first, zeroth))
    alpha = weight_of(xp, v1, v0, None, clip=True)
    if tolerance is not None:
        alpha = xp.where(v1 <= tolerance**2, xp.ones_like(alpha), alpha)
    judged = count >= 2
    if nonfinite == "zero":
        judged = judged & smooth
    return xp.where(judged, alpha, xp.zeros_like(alpha))


def _standardised_variance(xp: Any, gradients: Array, kept: Array, count: Array, vector: bool) -> Array:
    """Variance over the worlds in ``kept``, of gradients or of their norms, in units of the median norm."""
    gradients = xp.where(kept[..., None], gradients, xp.zeros_like(gradients))
    norm = xp.sqrt(xp.sum(gradients * gradients, axis=-1))
    scale = _median(xp, norm, kept, count)[..., None] + _FLOOR
    values = gradients / scale[..., None] if vector else (norm / scale)[..., None]
    keep = xp.astype(kept, norm.dtype)[..., None]
    mean = xp.sum(values * keep, axis=-2, keepdims=True) / xp.clip(count, 1.0, None)[..., None, None]
    difference = (values - mean) * keep
    spread = xp.sum(difference * difference, axis=(-2, -1)) / xp.clip(count - 1, 1.0, None)
    # Finite gradients whose squares are not: infinity less infinity.
    return xp.where(xp.isnan(spread), xp.full_like(spread, float("inf")), spread)


def _median(xp: Any, x: Array, kept: Array, count: Array) -> Array:
    """Median over the last axis of the elements in ``kept``: the mean of the middle two. (torch has the lower one.)"""
    ordered = xp.sort(xp.where(kept, x, xp.full_like(x, float("inf"))), axis=-1)
    # Sums that pick one place each, because the place depends on the numbers.
    place = xp.cumulative_sum(xp.ones_like(x), axis=-1) - 1.0
    zero = xp.zeros_like(x)
    middle = [xp.clip(xp.floor((count - 1) / 2), 0.0, None), xp.floor(count / 2)]
    low, high = (xp.sum(xp.where(place == i[..., None], ordered, zero), axis=-1) for i in middle)
    median = 0.5 * (low + high)
    return xp.where(xp.isfinite(median), median, xp.zeros_like(median))
