"""Rules for gradients of single samples that are too large or not finite."""

from __future__ import annotations

from typing import Any

from ._backend import backend_of, clamp
from ._check import Array, check_arrays, check_factor, check_number
from ._length import length, shortened
from ._masked import number_of, places, wide
from ._statistics import sample_axes
from ._values import refuse_nan


def finite_mask(gradients: Array) -> Array:
    """Which samples have a finite gradient.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.

    Returns:
        bool, shape ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: ``gradients`` has the wrong type or shape.
    """
    xp = check_arrays({"gradients": (gradients, sample_axes(gradients))})
    return xp.all(xp.isfinite(gradients), axis=-1)


def quantile_mask(gradients: Array, *, low: float = 0.0, high: float = 0.9) -> Array:
    """Which samples have a gradient whose norm lies between two quantiles.

    The rule "Quantile" of AGPO's comparison (Gao et al. 2024, Figure 7), "gradients within a specific quantile range".
    The quantiles of each step are those of its finite samples, interpolated between norms. Samples that are not finite
    are excluded.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.
        low: lower quantile, in [0, 1].
        high: upper quantile, in [0, 1].

    Returns:
        bool, shape ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range; the message names it.
    """
    xp = check_arrays({"gradients": (gradients, sample_axes(gradients))})
    low, high = check_factor("low", low), check_factor("high", high)
    if low > high:
        raise ValueError(f"low is {low}; expected at most high, which is {high}")
    _, finite, norm = _lengths(xp, wide(xp, gradients))
    # slack for rounding, or the largest norm could exceed the quantile that equals it
    slack = 8.0 * float(xp.finfo(norm.dtype).eps)
    shortest, longest = (_quantile(xp, norm, finite, at) for at in (low, high))
    return finite & (norm >= shortest * (1.0 - slack)) & (norm <= longest * (1.0 + slack))


def clip_max_norm(gradients: Array, *, max_norm: float) -> Array:
    """Gradients of samples, shortened to a maximal norm; those that are not finite become zero.

    The rule "MaxNorm" of AGPO's comparison (Gao et al. 2024, Figure 7): ``g_i min(1, c / |g_i|)``. Samples whose
    ``(|g_i| / c)^2`` overflows (a norm of 1e19 ``c`` in single precision) count as not finite.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.
        max_norm: ``c``, above 0.

    Returns:
        Gradients, same shape.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range; the message names it.
    """
    xp = check_arrays({"gradients": (gradients, sample_axes(gradients))})
    max_norm = check_number("max_norm", max_norm, 0.0, above=True)
    return shortened(xp, gradients, max_norm)


def masked_mean(gradients: Array, keep: Array) -> Array:
    """Mean gradient of the samples kept; zero if none is.

    Other samples may hold anything, even NaN: they count neither in the mean nor in its gradient.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.
        keep: bool, shape ``[N]`` or ``[T, N]`` (``finite_mask``, ``quantile_mask``).

    Returns:
        The mean over the samples, shape ``[P]`` or ``[T, P]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or a sample that is kept holds NaN.
    """
    axes = sample_axes(gradients)
    xp = check_arrays({"gradients": (gradients, axes)}, {"keep": (keep, axes[:-2])})
    kept = xp.where(keep[..., None], gradients, xp.zeros_like(gradients))
    refuse_nan(xp, gradients=kept)
    total = xp.sum(wide(xp, kept), axis=-2)
    mean = total / clamp(number_of(xp, keep, total), 1.0, None)[..., None]
    return xp.astype(mean, gradients.dtype)


def _quantile(xp: Any, norm: Array, finite: Array, at: float) -> Array:
    ordered = xp.sort(xp.where(finite, norm, xp.full_like(norm, float("inf"))), axis=-1)
    # interpolation weights instead of an index, which would depend on the number of finite samples
    place = xp.astype(places(xp, norm), norm.dtype)
    count = number_of(xp, finite, norm, keepdims=True)
    weight = clamp(1.0 - xp.abs(place - at * (count - 1.0)), 0.0, None)
    return xp.sum(weight * xp.where(weight > 0, ordered, xp.zeros_like(norm)), axis=-1, keepdims=True)


def _lengths(xp: Any, gradients: Array) -> tuple[Array, Array, Array]:
    """Gradients with zeros for samples that are not finite; which samples are finite; norms."""
    top = backend_of(gradients).largest(gradients)
    finite = xp.isfinite(top)
    gradients = xp.where(finite[..., None], gradients, xp.zeros_like(gradients))
    return gradients, finite, length(xp, gradients, xp.where(finite, top, xp.zeros_like(top)))
