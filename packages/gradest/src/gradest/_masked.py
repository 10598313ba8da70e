"""Products with weights that may be zero, and numbers that are counted."""

from __future__ import annotations

from typing import Any

from ._array import Array
from ._backend import clamp, cumsum


def counted(xp: Any, weight: Array, x: Array) -> Array:
    """``x``, and zero where its weight is zero: what is there does not count, even if it is infinite or NaN."""
    return xp.where(weight == 0, xp.zeros_like(x), x)


def weighted(xp: Any, weight: Array, x: Array) -> Array:
    """``weight x``, of what counts."""
    return weight * counted(xp, weight, x)


def wide(xp: Any, x: Array) -> Array:
    """``x`` in single precision or more.

    Half precision has no whole numbers above 256 (bfloat16) or 2048 (float16), so nothing can be counted in it.
    """
    return xp.astype(x, xp.float32) if xp.finfo(x.dtype).bits < 32 else x


def number_of(xp: Any, flags: Array, like: Array, *, keepdims: bool = False) -> Array:
    """How many ``flags`` are set along the last axis, as a number of the dtype of ``like``."""
    return xp.astype(xp.sum(xp.astype(flags, xp.int32), axis=-1, keepdims=keepdims), like.dtype)


def places(xp: Any, x: Array, *, axis: int = -1) -> Array:
    """``0, 1, 2, ...`` along an axis, as integers in the shape of ``x``."""
    return cumsum(xp.astype(xp.ones_like(x), xp.int32), axis) - 1


def median_where(xp: Any, x: Array, kept: Array, count: Array) -> Array:
    """Median of the ``count`` elements kept, along the last axis; 0 where it is not finite.

    The mean of the middle two (``torch.median`` is the lower one).
    """
    ordered = xp.sort(xp.where(kept, x, xp.full_like(x, float("inf"))), axis=-1)
    # sums that select one place each: an index would depend on the numbers, which tracing forbids
    place = xp.astype(places(xp, x), x.dtype)
    zero = xp.zeros_like(x)
    middle = [clamp(xp.floor((count - 1) / 2), 0.0, None), xp.floor(count / 2)]
    low, high = (xp.sum(xp.where(place == i[..., None], ordered, zero), axis=-1) for i in middle)
    median = 0.5 * (low + high)
    return xp.where(xp.isfinite(median), median, xp.zeros_like(median))


def moments_where(xp: Any, x: Array, kept: Array) -> tuple[Array, Array, Array]:
    """Mean and variance ``[..., P]`` of the rows ``[..., N, P]`` kept, and their number ``[...]``; a variance that
    overflows is infinite."""
    x = xp.where(kept[..., None], x, xp.zeros_like(x))
    keep = xp.astype(kept, x.dtype)[..., None]
    count = number_of(xp, kept, x)
    mean = xp.sum(x * keep, axis=-2, keepdims=True) / clamp(count, 1.0, None)[..., None, None]
    deviation = (x - mean) * keep
    spread = xp.sum(deviation * deviation, axis=-2) / clamp(count - 1, 1.0, None)[..., None]
    # the squares of large finite gradients are infinite, and infinity minus infinity is NaN
    return mean[..., 0, :], xp.where(xp.isnan(spread), xp.full_like(spread, float("inf")), spread), count
