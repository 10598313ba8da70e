"""Lengths of vectors whose squares may leave the range of numbers."""

from __future__ import annotations

from typing import Any

from ._check import Array


def largest(xp: Any, x: Array) -> Array:
    """Largest absolute value along the last axis; infinite or NaN where ``x`` is. Two passes and no temporary."""
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


def root(xp: Any, x: Array) -> Array:
    """Square root whose derivative at zero is zero."""
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, xp.ones_like(x))), xp.zeros_like(x))
