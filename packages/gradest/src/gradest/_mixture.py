"""Mixtures of two estimates of one gradient, weighted by their inverse variances."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._backend import clamp
from ._check import Array, check_arrays, check_factor, check_samples
from ._statistics import covariance_of, sample_axes
from ._values import refuse_nan


class MixedGradient(NamedTuple):
    """A mixture, and what its weight was computed from."""

    gradient: Array
    """The mixture, shape ``[P]`` or ``[T, P]``."""
    alpha: Array
    """Weight of the first-order estimate: a scalar array, ``[P]``, ``[T]`` or ``[T, P]``."""
    variance_first: Array
    """Variance of the first-order mean, the shape of ``alpha``."""
    variance_zeroth: Array
    """Variance of the zeroth-order mean, the shape of ``alpha``."""


def inverse_variance_weight(
    variance_first: Array, variance_zeroth: Array, covariance: Array | None = None, *, clip: bool = False
) -> Array:
    """The weight of a first-order estimate that minimises the variance of its mixture with a zeroth-order one.

    ``alpha = v0 / (v0 + v1)`` for independent estimates (Parmas et al. 2018; AGPO, Gao et al. 2024, Eq. 3), and
    ``alpha = (v0 - c) / (v0 + v1 - 2 c)`` for estimates with covariance ``c`` (Parmas et al. 2023). The latter may lie
    outside [0, 1], because strongly correlated estimates are better subtracted than averaged; ``clip`` keeps it inside.

    Without any variance (0/0) both get 1/2. An estimate of infinite variance gets 0.

    Args:
        variance_first: variance of the first-order estimate, any shape.
        variance_zeroth: variance of the zeroth-order estimate, same shape.
        covariance: covariance of both, same shape; None if they are independent.
        clip: keep the weight in [0, 1].

    Returns:
        ``alpha``, same shape.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, or holds NaN; the message names it.
    """
    given = {"variance_first": variance_first, "variance_zeroth": variance_zeroth}
    if covariance is not None:
        given["covariance"] = covariance
    xp = check_arrays({name: (array, "...") for name, array in given.items()})
    refuse_nan(xp, **given)
    return weight_of(xp, variance_first, variance_zeroth, covariance, clip)


def mix_gradients(first: Array, zeroth: Array, alpha: Array | float, *, per_parameter: bool = False) -> Array:
    """``alpha first + (1 - alpha) zeroth`` (AGPO, Gao et al. 2024, section 3.3).

    A weight of 0 or 1 excludes the other gradient entirely, even if it is infinite or NaN.

    Args:
        first: first-order gradients, any shape.
        zeroth: zeroth-order gradients, same shape.
        alpha: weight of ``first``: a number in [0, 1], or an array whose axes are the leading ones of ``first``,
            ``[T]`` for gradients ``[T, N, m]``.
        per_parameter: the axis of ``alpha`` is the last axis of ``first`` instead.

    Returns:
        The mixture, the shape of ``first``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"first": (first, "..."), "zeroth": (zeroth, "...")})
    if isinstance(alpha, int | float):
        alpha = check_factor("alpha", alpha)
        if alpha in (0.0, 1.0):
            mixture = 1.0 * (first if alpha else zeroth)
            refuse_nan(xp, **{"first" if alpha else "zeroth": mixture})
            return mixture
        mixture = alpha * first + (1.0 - alpha) * zeroth
        refuse_nan(xp, mixture, first=first, zeroth=zeroth)
        return mixture
    alpha = _aligned(xp, first, alpha, per_parameter)
    first = xp.where(alpha == 0, xp.zeros_like(first), first)
    zeroth = xp.where(alpha == 1, xp.zeros_like(zeroth), zeroth)
    refuse_nan(xp, first=first, zeroth=zeroth)
    return alpha * first + (1 - alpha) * zeroth


def inverse_variance_gradient(
    first: Array, zeroth: Array, *, covariance: bool = False, per_parameter: bool = False, clip: bool = False
) -> MixedGradient:
    """Mixture of two estimators' mean gradients with minimal variance.

    The weight is ``inverse_variance_weight`` of the two means, whose variance is that of the samples over their number.
    A weight estimated from the samples that it weights biases the mixture by O(1/N); independent samples avoid that.
    With three axes every step has its own weight, the per-step weighting of Parmas et al. (2018) for contributions that
    add up over the steps.

    Args:
        first: first-order gradient of each sample, shape ``[N, P]`` or ``[T, N, P]``.
        zeroth: zeroth-order gradient of each sample, same rank; the number of samples may differ.
        covariance: both come from the same samples, in the same order; use their covariance.
        per_parameter: a weight for each parameter.
        clip: keep weights in [0, 1].

    Returns:
        See ``MixedGradient``.

    Raises:
        ValueError: an argument has the wrong type, shape or dtype, holds NaN or fewer than two samples.
    """
    axes = sample_axes(first)
    other = axes if covariance else axes.replace("N", "M")
    xp = check_arrays({"first": (first, axes), "zeroth": (zeroth, other)})
    check_samples("first", first, -2)
    check_samples("zeroth", zeroth, -2)
    variance_first = covariance_of(xp, first, first, per_parameter) / first.shape[-2]
    variance_zeroth = covariance_of(xp, zeroth, zeroth, per_parameter) / zeroth.shape[-2]
    shared = covariance_of(xp, first, zeroth, per_parameter) / first.shape[-2] if covariance else None
    alpha = weight_of(xp, variance_first, variance_zeroth, shared, clip)
    weight = alpha if per_parameter else alpha[..., None]
    gradient = weight * xp.mean(first, axis=-2) + (1 - weight) * xp.mean(zeroth, axis=-2)
    refuse_nan(xp, gradient, first=first, zeroth=zeroth)
    return MixedGradient(gradient, alpha, variance_first, variance_zeroth)


def weight_of(xp: Any, v1: Array, v0: Array, c: Array | None, clip: bool) -> Array:
    """``inverse_variance_weight`` of arrays that have been checked."""
    one, zero = xp.ones_like(v1), xp.zeros_like(v1)
    infinite_first, infinite_zeroth = xp.isinf(v1), xp.isinf(v0)
    # where on the inputs too: the branch that is not selected must have no gradient
    v1, v0 = xp.where(infinite_first | infinite_zeroth, one, v1), xp.where(infinite_first | infinite_zeroth, one, v0)
    shared = zero if c is None else xp.where(infinite_first | infinite_zeroth, zero, c)
    spread = v0 + v1 - 2 * shared
    flat = spread <= 0
    alpha = xp.where(flat, 0.5 * one, (v0 - shared) / xp.where(flat, one, spread))
    alpha = xp.where(infinite_first & ~infinite_zeroth, zero, xp.where(infinite_zeroth & ~infinite_first, one, alpha))
    return clamp(alpha, 0.0, 1.0) if clip else alpha


def _aligned(xp: Any, first: Array, alpha: Array, per_parameter: bool) -> Array:
    check_arrays({"first": (first, "..."), "alpha": (alpha, " ".join(f"a{i}" for i in range(_rank(alpha))))})
    refuse_nan(xp, alpha=alpha)
    shape, own = tuple(first.shape), tuple(alpha.shape)
    wanted = shape[-1:] if per_parameter else shape[: len(own)]
    if own != wanted:
        where = "last axis" if per_parameter else "leading axes"
        raise ValueError(f"alpha has shape {own}; expected {wanted}, the {where} of first, whose shape is {shape}")
    if not per_parameter:
        alpha = xp.reshape(alpha, (*own, *(1 for _ in shape[len(own) :])))
    return alpha


def _rank(array: Array) -> int:
    return len(getattr(array, "shape", ()))
