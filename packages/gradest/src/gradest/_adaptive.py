"""AGPO's adaptive mixture ratio: the weight of the simulator's gradient in each step."""

from __future__ import annotations

from typing import Any, Literal

from ._backend import clamp
from ._check import Array, check_arrays, check_choice, check_number, check_samples
from ._masked import median_where, number_of, wide
from ._mixture import weight_of
from ._stop import stop_gradient

_FLOOR = 1e-8
"""Added to the median norm, which is 0 where most gradients are 0."""


def adaptive_ratio(
    first: Array,
    zeroth: Array,
    valid: Array | None = None,
    *,
    variance: Literal["norm", "vector"] = "norm",
    nonfinite: Literal["zero", "mask"] = "zero",
    tolerance: float | None = None,
) -> Array:
    """AGPO's adaptive mixture ratio: each step's weight of the simulator's gradient against the Q function's.

    ``alpha = v0 / (v0 + v1)`` (Gao et al. 2024, Eq. 3). ``v1`` and ``v0`` are variances over the worlds of the norms of
    action gradients, each divided by the median norm (section 4): ``first`` is the gradient of ``r + gamma Q(x', u')``
    with respect to the action, ``zeroth`` that of ``Q(x, u)``. All worlds share one ratio. It is a constant.

    The paper does not say what is standardised and how non-finite gradients count:

    - ``variance="norm"`` uses the variance of the standardised norms, as in section 4; ``"vector"`` uses the variance
      of the gradients themselves (Definition 3.1), divided by the median norm.
    - ``nonfinite="zero"`` gives a step a ratio of 0 if the simulator's gradient is infinite or NaN in any valid world;
      ``"mask"`` excludes such worlds. A world whose ``zeroth`` is not finite is always excluded.

    A step with fewer than two remaining worlds gets 0. NaN is therefore not an error here.

    If both simulator and Q function are right, their gradients are equal and Eq. 3 gives 1/2. It compares variances and
    cannot detect bias in one of the two. ``tolerance`` is our addition: a step whose ``v1`` is at most ``tolerance^2``
    has a ratio of 1, so that the simulator has full weight unless its gradients scatter more than that; other steps
    follow Eq. 3.

    Args:
        first: gradients of one simulated step with respect to the action, shape ``[N, m]``, or ``[T, N, m]``.
        zeroth: gradients of the Q function with respect to the action, same shape.
        valid: bool, worlds that count, shape ``[N]`` or ``[T, N]``: exclude those that were just reset. Default: all.
        variance: ``"norm"`` or ``"vector"``.
        nonfinite: ``"zero"`` or ``"mask"``.
        tolerance: largest standard deviation of the simulator's gradients over the worlds, in units of their median
            norm, at which a step gets a ratio of 1; None for Eq. 3 everywhere.

    Returns:
        ``alpha`` in [0, 1], a scalar array or ``[T]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, an option is unknown, or there is only one world.
    """
    axes = "T N m" if len(getattr(first, "shape", ())) == 3 else "N m"
    flags = {} if valid is None else {"valid": (valid, axes[:-2])}
    xp = check_arrays({"first": (first, axes), "zeroth": (zeroth, axes)}, flags)
    check_choice("variance", variance, ("norm", "vector"))
    check_choice("nonfinite", nonfinite, ("zero", "mask"))
    check_samples("first", first, -2)
    if tolerance is not None:
        tolerance = check_number("tolerance", tolerance, 0.0)
    dtype = first.dtype
    first, zeroth = (wide(xp, stop_gradient(g)) for g in (first, zeroth))
    finite_zeroth, finite = (xp.all(xp.isfinite(g), axis=-1) for g in (zeroth, first))
    kept = finite_zeroth if valid is None else finite_zeroth & valid
    all_finite = xp.all(finite | ~kept, axis=-1)
    kept = kept & finite
    count = number_of(xp, kept, first)
    v1, v0 = (_standardised_variance(xp, g, kept, count, variance == "vector") for g in (first, zeroth))
    alpha = weight_of(xp, v1, v0, None, clip=True)
    if tolerance is not None:
        alpha = xp.where(v1 <= tolerance**2, xp.ones_like(alpha), alpha)
    enough = count >= 2
    if nonfinite == "zero":
        enough = enough & all_finite
    return xp.astype(xp.where(enough, alpha, xp.zeros_like(alpha)), dtype)


def _standardised_variance(xp: Any, gradients: Array, kept: Array, count: Array, vector: bool) -> Array:
    """Variance over the worlds kept of gradients, or of their norms, in units of the median norm."""
    gradients = xp.where(kept[..., None], gradients, xp.zeros_like(gradients))
    norm = xp.sqrt(xp.sum(gradients * gradients, axis=-1))
    scale = median_where(xp, norm, kept, count)[..., None] + _FLOOR
    values = gradients / scale[..., None] if vector else (norm / scale)[..., None]
    keep = xp.astype(kept, norm.dtype)[..., None]
    mean = xp.sum(values * keep, axis=-2, keepdims=True) / clamp(count, 1.0, None)[..., None, None]
    deviation = (values - mean) * keep
    spread = xp.sum(deviation * deviation, axis=(-2, -1)) / clamp(count - 1, 1.0, None)
    # the squares of large finite gradients are infinite, and infinity minus infinity is NaN
    return xp.where(xp.isnan(spread), xp.full_like(spread, float("inf")), spread)
