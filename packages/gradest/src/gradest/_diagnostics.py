"""Diagnostics of gradients: bias, signal-to-noise ratio, agreement, variance and trust by horizon."""

from __future__ import annotations

from typing import NamedTuple

from ._backend import backend_of, clamp, cumsum
from ._check import Array, check_arrays, check_factor, check_number, check_samples
from ._length import root, scaled
from ._masked import weighted
from ._scan import linear_scan
from ._statistics import covariance_of, sample_axes
from ._values import refuse_nan


class BiasEstimate(NamedTuple):
    """Distance of a mean gradient from a reference, and the distance that noise alone explains."""

    bias: Array
    """``|mean(g) - reference|``: a scalar array or ``[T]``."""
    standard_error: Array
    """``sqrt(variance / N)``, about the size of ``bias`` for an unbiased gradient: a scalar array or ``[T]``."""


def empirical_bias(gradients: Array, reference: Array) -> BiasEstimate:
    """Distance of the mean gradient from a correct reference, with its standard error.

    A distance of several standard errors is bias (Suh et al. 2022, Definition 3.2, call it empirical bias if all
    samples agree and are wrong). The reference may be a closed form, a difference quotient, or the mean of many
    likelihood-ratio samples; add the standard error of such a mean.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.
        reference: shape ``[P]`` or ``[T, P]``.

    Returns:
        See ``BiasEstimate``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, holds NaN or fewer than two samples.
    """
    axes = sample_axes(gradients)
    xp = check_arrays({"gradients": (gradients, axes), "reference": (reference, axes.replace("N ", ""))})
    check_samples("gradients", gradients, -2)
    refuse_nan(xp, gradients=gradients, reference=reference)
    difference = xp.mean(gradients, axis=-2) - reference
    variance = covariance_of(xp, gradients, gradients, False)
    return BiasEstimate(root(xp, xp.sum(difference * difference, axis=-1)), root(xp, variance / gradients.shape[-2]))


def signal_to_noise(gradients: Array, *, of_mean: bool = False) -> Array:
    """Squared norm of the mean gradient, divided by the variance of the samples.

    ``|mean(g)|^2 / variance(g)`` (Roberts & Tedrake 2009, for one sample); ``of_mean`` multiplies it by ``N``, for the
    mean that an optimiser uses. At 1, noise and signal have the same size. It is infinite if the variance is zero.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.
        of_mean: the ratio of the mean of all samples, instead of one sample.

    Returns:
        A scalar array or ``[T]``.

    Raises:
        ValueError: ``gradients`` has the wrong type or shape, holds NaN or fewer than two samples.
    """
    xp = check_arrays({"gradients": (gradients, sample_axes(gradients))})
    check_samples("gradients", gradients, -2)
    mean = xp.mean(gradients, axis=-2)
    variance = covariance_of(xp, gradients, gradients, False)
    refuse_nan(xp, variance, gradients=gradients)
    constant = variance == 0
    ratio = xp.sum(mean * mean, axis=-1) / xp.where(constant, xp.ones_like(variance), variance)
    ratio = xp.where(constant, xp.full_like(ratio, float("inf")), ratio)
    return gradients.shape[-2] * ratio if of_mean else ratio


def cosine_similarity(a: Array, b: Array) -> Array:
    """Cosine of the angle between gradients: 1 same direction, 0 orthogonal, -1 opposite.

    A gradient of zeros has no direction; its cosine is 0. Norms may be as large or small as the dtype allows.

    Args:
        a: gradients, one along the last axis, shape ``[..., P]``.
        b: same shape.

    Returns:
        Shape ``[...]``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    xp = check_arrays({"a": (a, "..."), "b": (b, "...")})
    if not a.ndim:
        raise ValueError("a has shape (); expected [..., P]")
    refuse_nan(xp, a=a, b=b)
    a, b = scaled(xp, a, backend_of(a).largest(a)), scaled(xp, b, backend_of(b).largest(b))
    lengths = root(xp, xp.sum(a * a, axis=-1)) * root(xp, xp.sum(b * b, axis=-1))
    some = lengths > 0
    cosine = xp.sum(a * b, axis=-1) / xp.where(some, lengths, xp.ones_like(lengths))
    return clamp(cosine, -1.0, 1.0)


def variance_by_horizon(gradients: Array, *, gamma: float) -> Array:
    """Variance of the gradient of an ``h``-step return, for every ``h`` up to ``T``.

    ``Var(sum_{t<h} gamma^t g_t)`` for ``h = 1 .. T``, with ``g_t`` the gradient of the reward of step ``t``. Parmas et
    al. (2018) call its growth the curse of chaos. It motivates the short horizons of SHAC and AGPO.

    Args:
        gradients: gradient of each step's reward with respect to the parameters, for each sample, shape ``[T, N, P]``.
        gamma: discount per step, in [0, 1].

    Returns:
        Trace variances (``empirical_variance``), shape ``[T]``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, holds NaN or fewer than two samples.
    """
    xp = check_arrays({"gradients": (gradients, "T N P")})
    gamma = check_factor("gamma", gamma)
    check_samples("gradients", gradients, 1)
    refuse_nan(xp, gradients=gradients)
    # gamma^t by a recurrence, which works for gamma = 0 too
    first = xp.astype(cumsum(xp.ones_like(gradients[:, :1, 0]), 0) == 1.0, gradients.dtype)
    discount = linear_scan(gamma * (1.0 - first), first, xp.zeros_like(first[0, :]), reverse=False)
    total = cumsum(weighted(xp, discount[:, :, None], gradients), 0)
    return covariance_of(xp, total, total, False)


def horizon_of_trust(cosine: Array, *, threshold: float = 0.9) -> Array:
    """Number of horizons, from the shortest on, up to which gradients agree with a reference.

    It counts leading horizons until the first one whose cosine is below the threshold.

    Args:
        cosine: ``cosine_similarity`` of gradients with a reference (finite differences, for instance) for each
            horizon in rising order, shape ``[H]``, or ``[H, N]`` for several worlds.
        threshold: smallest cosine that counts as agreement, in [-1, 1].

    Returns:
        Integers from 0 to ``H``, a scalar array or ``[N]``: the index of the first horizon below the threshold.

    Raises:
        ValueError: an argument has the wrong type, shape or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"cosine": (cosine, "H N" if len(getattr(cosine, "shape", ())) == 2 else "H")})
    threshold = check_number("threshold", threshold, -1.0, 1.0)
    refuse_nan(xp, cosine=cosine)
    good = xp.astype(cosine >= threshold, cosine.dtype)
    leading = xp.astype(cumsum(1.0 - good, 0) == 0.0, xp.int32)
    return xp.sum(leading, axis=0, dtype=xp.int32)
