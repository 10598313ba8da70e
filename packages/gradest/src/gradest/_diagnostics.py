"""Can this gradient be trusted: bias, signal against noise, agreement, and over how many steps."""

from __future__ import annotations

from typing import NamedTuple

from ._backend import backend_of
from ._check import Array, check_arrays, check_factor, check_number, check_samples
from ._length import root, scaled
from ._scan import linear_scan
from ._statistics import covariance_of, sample_axes
from ._values import refuse_nan


class BiasEstimate(NamedTuple):
    """How far a mean gradient is from a reference, and how far noise alone would put it."""

    bias: Array
    """``|mean(g) - reference|``: a scalar array or ``[T]``."""
    standard_error: Array
    """``sqrt(variance / N)``, what ``bias`` is about if there is none: a scalar array or ``[T]``."""


def empirical_bias(gradients: Array, reference: Array) -> BiasEstimate:
    """Distance of the mean gradient from a reference that is known to be right.

    Compare it with its standard error: only what is several times larger is bias (Suh et al. 2022, Definition 3.2,
    call it empirical bias when all samples agree and are wrong together). The reference may be a closed form, a
    difference quotient, or the mean of many likelihood-ratio samples, whose own error is then to be added.

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
    apart = xp.mean(gradients, axis=-2) - reference
    variance = covariance_of(xp, gradients, gradients, False)
    return BiasEstimate(root(xp, xp.sum(apart * apart, axis=-1)), root(xp, variance / gradients.shape[-2]))


def signal_to_noise(gradients: Array, *, of_mean: bool = False) -> Array:
    """Squared length of the mean gradient over its samples' variance.

    ``|mean(g)|^2 / variance(g)`` (Roberts & Tedrake 2009, for one sample); ``of_mean`` multiplies it by ``N``, for the
    estimate that an optimiser sees. At a value of 1 noise and signal are of one size. Infinite without variance.

    Args:
        gradients: one gradient for each sample, shape ``[N, P]`` or ``[T, N, P]``.
        of_mean: of the mean of all samples instead of one.

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
    still = variance == 0
    ratio = xp.sum(mean * mean, axis=-1) / xp.where(still, xp.ones_like(variance), variance)
    ratio = xp.where(still, xp.full_like(ratio, float("inf")), ratio)
    return gradients.shape[-2] * ratio if of_mean else ratio


def cosine_similarity(a: Array, b: Array) -> Array:
    """Cosine of the angle between gradients: 1 same direction, 0 none in common, -1 opposite.

    A gradient of zeros has no direction; its cosine is 0. Lengths may be anything that a number can hold.

    Args:
        a: gradients along the last axis, shape ``[..., P]``.
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
    return xp.clip(cosine, -1.0, 1.0)


def variance_by_horizon(gradients: Array, *, gamma: float) -> Array:
    """Variance of the gradient of an ``h``-step return, for every ``h`` up to ``T``.

    ``Var(sum_{t<h} gamma^t g_t)`` for ``h = 1 .. T``, with ``g_t`` the gradient of the reward of step ``t`` (Parmas et
    al. 2018 call its growth the curse of chaos; SHAC and AGPO choose their horizons by it).

    Args:
        gradients: gradient of each step's reward by the parameters, for each sample, shape ``[T, N, P]``.
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
    # gamma^t as a recurrence, so that gamma = 0 has no logarithm
    first = xp.astype(xp.cumulative_sum(xp.ones_like(gradients[:, :1, 0]), axis=0) == 1.0, gradients.dtype)
    discount = linear_scan(gamma * (1.0 - first), first, xp.zeros_like(first[0, :]), reverse=False)
    total = xp.cumulative_sum(discount[:, :, None] * gradients, axis=0)
    return covariance_of(xp, total, total, False)


def horizon_of_trust(cosine: Array, *, threshold: float = 0.9) -> Array:
    """How many steps back a gradient still points the right way.

    The number of leading horizons whose cosine never falls under the threshold.

    Args:
        cosine: ``cosine_similarity`` of gradients with a reference (finite differences, for instance) for each
            horizon in rising order, shape ``[H]``, or ``[H, N]`` for several worlds.
        threshold: smallest cosine that counts as agreement, in [-1, 1].

    Returns:
        Whole numbers from 0 to ``H``, a scalar array or ``[N]``: an index of the first horizon not to be trusted.

    Raises:
        ValueError: an argument has the wrong type, shape or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"cosine": (cosine, "H N" if len(getattr(cosine, "shape", ())) == 2 else "H")})
    threshold = check_number("threshold", threshold, -1.0, 1.0)
    refuse_nan(xp, cosine=cosine)
    good = xp.astype(cosine >= threshold, cosine.dtype)
    leading = xp.astype(xp.cumulative_sum(1.0 - good, axis=0) == 0.0, xp.int32)
    return xp.sum(leading, axis=0, dtype=xp.int32)
