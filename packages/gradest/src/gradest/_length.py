"""Lengths of vectors whose squares may overflow or underflow."""

from __future__ import annotations

from typing import Any

from ._array import Array


def scaled(xp: Any, x: Array, top: Array) -> Array:
    """``x`` divided by its largest absolute value ``top``; zeros where ``top`` is zero."""
    return x * (1.0 / xp.where(top > 0, top, xp.ones_like(top)))[..., None]


def length(xp: Any, x: Array, top: Array) -> Array:
    """Euclidean length along the last axis, with derivative zero at zero; ``top`` is the backend's ``largest(x)``."""
    unit = scaled(xp, x, top)
    square = xp.sum(unit * unit, axis=-1)
    some = top > 0
    return xp.where(some, top * xp.sqrt(xp.where(some, square, xp.ones_like(square))), xp.zeros_like(top))


def shortened(xp: Any, x: Array, max_length: float) -> Array:
    """``x`` with vectors (last axis) shortened to ``max_length``; zeros for those whose squares are not finite."""
    unit = x * (1.0 / max_length)
    square = xp.sum(unit * unit, axis=-1)
    finite = xp.isfinite(square)
    # where on the inputs too: the branch that is not selected must have no derivative
    long = finite & (square > 1)
    scale = xp.where(long, 1.0 / xp.sqrt(xp.where(long, square, xp.ones_like(square))), xp.ones_like(square))
    return scale[..., None] * xp.where(finite[..., None], x, xp.zeros_like(x))


def root(xp: Any, x: Array) -> Array:
    """Square root with derivative zero at zero."""
    positive = x > 0
    return xp.where(positive, xp.sqrt(xp.where(positive, x, xp.ones_like(x))), xp.zeros_like(x))


def bound(xp: Any, g: Array, max_norm: float) -> Array:
    """The backward pass of ``gate_norm`` and ``gate_nonfinite``."""
    flat = xp.reshape(g, (g.shape[0], -1))
    if max_norm < float("inf"):
        flat = shortened(xp, flat, max_norm)
    else:
        flat = xp.where(xp.all(xp.isfinite(flat), axis=-1)[:, None], flat, xp.zeros_like(flat))
    return xp.reshape(flat, g.shape)
