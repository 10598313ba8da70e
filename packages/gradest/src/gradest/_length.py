"""Lengths of vectors whose squares may leave the range of numbers."""

from __future__ import annotations

from typing import Any

from array_api_compat import is_jax_array

from ._check import Array


def largest(xp: Any, x: Array) -> Array:
    """Largest absolute value along the last axis; infinite or NaN where ``x`` is."""
    if is_jax_array(x):
        return xp.max(xp.abs(x), axis=-1)
    # two passes, but no temporary array, which XLA would not make anyway
    high, low = xp.max(x, axis=-1), -xp.min(x, axis=-1)
    return xp.where(high > low, high, low)


def scaled(xp: Any, x: Array, top: Array) -> Array:
    """``x`` over its largest absolute value, zeros where that is zero."""
    return x * (1.0 / xp.where(top > 0, top, xp.ones_like(top)))[..., None]


def length(xp: Any, x: Array, top: Array) -> Array:
    """Euclidean length along the last axis, with a derivative of zero at zero; ``top`` is ``largest(x)``."""
    unit = scaled(xp, x, top)
    square = xp.sum(unit * unit, axis=-1)
    some = top > 0
    return xp.where(some, top * xp.sqrt(xp.where(some, square, xp.ones_like(square))), xp.zeros_like(top))


def shortened(xp: Any, x: Array, most: float) -> Array:
    """``x`` with vectors along the last axis no longer than ``most``; zeros for those whose squares are not finite."""
    unit = x * (1.0 / most)
    square = xp.sum(unit * unit, axis=-1)
    finite = xp.isfinite(square)
    # where on the way in too: what is cut off must have no derivative of its own
    long = finite & (square > 1)
    scale = xp.where(long, 1.0 / xp.sqrt(xp.where(long, square, xp.ones_like(square))), xp.ones_like(square))
    return scale[..., None] * xp.where(finite[..., None], x, xp.zeros_like(x))


def root(xp: Any, x: Array) -> Array:
    """Square root whose derivative at zero is zero."""
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, xp.ones_like(x))), xp.zeros_like(x))
