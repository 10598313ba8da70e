"""Second moments of per-sample gradients."""

from __future__ import annotations

from typing import Any

from ._check import Array, check_arrays, check_samples
from ._masked import wide
from ._values import refuse_nan


def empirical_variance(gradients: Array, *, per_parameter: bool = False) -> Array:
    """Variance of the gradients of single samples.

    ``1/(N-1) sum_i |g_i - mean(g)|^2`` (AGPO, Gao et al. 2024, Definition 3.1): the trace of the sample covariance,
    summed over the parameters. The variance of the mean is this over ``N``.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]``, or ``[T, N, P]`` for separate steps.
        per_parameter: the variance of each parameter, instead of their sum.

    Returns:
        A scalar array or ``[T]``; with ``per_parameter`` ``[P]`` or ``[T, P]``.

    Raises:
        ValueError: ``gradients`` has the wrong type or shape, holds NaN or fewer than two samples.
    """
    xp = check_arrays({"gradients": (gradients, sample_axes(gradients))})
    check_samples("gradients", gradients, -2)
    variance = covariance_of(xp, gradients, gradients, per_parameter)
    refuse_nan(xp, variance, gradients=gradients)
    return variance


def empirical_covariance(first: Array, zeroth: Array, *, per_parameter: bool = False) -> Array:
    """Covariance of two estimates of the same gradient from the same samples.

    ``1/(N-1) sum_i (f_i - mean(f)) . (z_i - mean(z))``: the trace of the cross-covariance.

    Args:
        first: gradient of each sample by one estimator, shape ``[N, P]`` or ``[T, N, P]``.
        zeroth: gradient of the same samples by another estimator, same shape.
        per_parameter: the covariance of each parameter, instead of their sum.

    Returns:
        A scalar array or ``[T]``; with ``per_parameter`` ``[P]`` or ``[T, P]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, holds NaN or fewer than two samples.
    """
    axes = sample_axes(first)
    xp = check_arrays({"first": (first, axes), "zeroth": (zeroth, axes)})
    check_samples("first", first, -2)
    covariance = covariance_of(xp, first, zeroth, per_parameter)
    refuse_nan(xp, covariance, first=first, zeroth=zeroth)
    return covariance


def sample_axes(gradients: Array) -> str:
    """The axes that an array of per-sample gradients should have, by its rank."""
    return "T N P" if len(getattr(gradients, "shape", ())) == 3 else "N P"


def covariance_of(xp: Any, first: Array, zeroth: Array, per_parameter: bool) -> Array:
    """``empirical_covariance`` of arrays that have been checked."""
    deviation = _deviation(xp, first)
    other = deviation if first is zeroth else _deviation(xp, zeroth)
    sums = xp.sum(deviation * other, axis=-2)
    total = sums if per_parameter else xp.sum(sums, axis=-1)
    return xp.astype(total / (first.shape[-2] - 1), first.dtype)


def _deviation(xp: Any, gradients: Array) -> Array:
    gradients = wide(xp, gradients)
    return gradients - xp.mean(gradients, axis=-2, keepdims=True)
