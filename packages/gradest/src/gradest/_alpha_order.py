"""Suh et al.'s alpha-order gradient: a mixture whose first-order weight a confidence bound limits."""

from __future__ import annotations

import math
from typing import NamedTuple

from ._check import Array, check_arrays, check_count, check_number, check_samples
from ._length import root
from ._mixture import weight_of
from ._statistics import covariance_of
from ._values import refuse_nan


class AlphaOrderGradient(NamedTuple):
    """An alpha-order gradient, and what its weight was computed from."""

    gradient: Array
    """The mixture, shape ``[P]``."""
    alpha: Array
    """Weight of the first-order mean, a scalar array."""
    bias: Array
    """Distance between the two means, ``|mean(first) - mean(zeroth)|``, a scalar array."""
    radius: Array
    """Confidence radius of the zeroth-order mean, a scalar array (``bernstein_radius``)."""
    variance_first: Array
    """Variance of the first-order mean, a scalar array."""
    variance_zeroth: Array
    """Variance of the zeroth-order mean, a scalar array."""


def bernstein_radius(variance: Array, *, samples: int, dimension: int, bound: float, delta: float) -> Array:
    """Confidence radius of the mean of bounded random vectors around its expectation.

    ``sqrt(2 v L / N) + 2 B L / (3 N)`` with ``L = ln((P + 1) / delta)``: the vector Bernstein inequality (Tropp 2015),
    as used by Suh et al. 2022. It holds with probability ``1 - delta`` if every sample lies within ``B`` of the
    expectation.

    Args:
        variance: trace of the samples' covariance (``empirical_variance``), any shape.
        samples: number of samples, ``N``.
        dimension: number of parameters, ``P``.
        bound: ``B``, at least 0.
        delta: probability that the bound does not hold, in (0, 1].

    Returns:
        The radius, the shape of ``variance``.

    Raises:
        ValueError: an argument has the wrong type or range, or holds NaN; the message names it.
    """
    xp = check_arrays({"variance": (variance, "...")})
    samples, dimension = check_count("samples", samples), check_count("dimension", dimension)
    bound, delta = check_number("bound", bound, 0.0), check_number("delta", delta, 0.0, 1.0, above=True)
    refuse_nan(xp, variance=variance)
    log = math.log((dimension + 1) / delta)
    return root(xp, variance * (2 * log / samples)) + 2 * bound * log / (3 * samples)


def alpha_order_weight(
    variance_first: Array, variance_zeroth: Array, bias: Array, radius: Array, *, tolerance: float
) -> Array:
    """The weight of least variance among those whose error stays within a tolerance.

    Minimises ``alpha^2 v1 + (1 - alpha)^2 v0`` over [0, 1] subject to ``radius + alpha bias <= tolerance`` (Suh et al.
    2022, section 4). The solution is 0 where the radius alone exceeds the tolerance, else the smaller of the
    inverse-variance weight and ``(tolerance - radius) / bias``. An infinite tolerance gives
    ``inverse_variance_weight``.

    Args:
        variance_first: variance of the first-order mean, any shape.
        variance_zeroth: variance of the zeroth-order mean, same shape.
        bias: distance between the two means, same shape.
        radius: confidence radius of the zeroth-order mean, same shape.
        tolerance: largest error to accept, at least 0. (The paper calls it gamma.)

    Returns:
        ``alpha``, same shape.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, or holds NaN; the message names it.
    """
    given = {
        "variance_first": variance_first,
        "variance_zeroth": variance_zeroth,
        "bias": bias,
        "radius": radius,
    }
    xp = check_arrays({name: (array, "...") for name, array in given.items()})
    tolerance = check_number("tolerance", tolerance, 0.0, infinite=True)
    refuse_nan(xp, **given)
    least = weight_of(xp, variance_first, variance_zeroth, None, clip=False)
    slack, biased = tolerance - radius, bias > 0
    allowed = xp.where(biased, slack / xp.where(biased, bias, xp.ones_like(bias)), least)
    return xp.where(slack < 0, xp.zeros_like(least), xp.where(allowed < least, allowed, least))


def alpha_order_gradient(
    first: Array,
    zeroth: Array,
    *,
    tolerance: float = math.inf,
    bound: float,
    delta: float,
    slack: float | None = None,
) -> AlphaOrderGradient:
    """Mixture of two independent batches of gradients, with a bound on the bias of the first-order one.

    Suh et al. 2022, "Do Differentiable Simulators Give Better Policy Gradients?", section 4. The samples of a
    first-order estimate do not show its bias, so it is compared with the confidence interval of the zeroth-order mean.
    See ``alpha_order_weight`` and ``bernstein_radius``.

    Args:
        first: first-order gradient of each sample, shape ``[N, P]``.
        zeroth: zeroth-order gradient of each sample, shape ``[M, P]``, from independent samples.
        tolerance: largest error to accept, at least 0; infinite by default.
        bound: largest distance of a zeroth-order sample from the expectation (10 in the authors' code).
        delta: probability that the confidence interval does not hold, in (0, 1].
        slack: a number in place of ``tolerance - radius``, at least 0, so that ``alpha bias <= slack`` whatever the
            radius is (tau in appendix C of Gao et al. 2024). None takes that difference.

    Returns:
        See ``AlphaOrderGradient``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, holds NaN or fewer than two samples; or
            ``slack`` and a finite ``tolerance`` are both given. The message names it.
    """
    xp = check_arrays({"first": (first, "N P"), "zeroth": (zeroth, "M P")})
    tolerance = check_number("tolerance", tolerance, 0.0, infinite=True)
    if slack is not None:
        slack = check_number("slack", slack, 0.0)
        if tolerance < math.inf:
            raise ValueError(f"slack is {slack} and tolerance is {tolerance}; give one of them")
    check_samples("first", first)
    check_samples("zeroth", zeroth)
    refuse_nan(xp, first=first, zeroth=zeroth)
    spread = covariance_of(xp, zeroth, zeroth, False)
    variances = covariance_of(xp, first, first, False) / first.shape[0], spread / zeroth.shape[0]
    mean_first, mean_zeroth = xp.mean(first, axis=0), xp.mean(zeroth, axis=0)
    bias = root(xp, xp.sum((mean_first - mean_zeroth) ** 2))
    radius = bernstein_radius(spread, samples=zeroth.shape[0], dimension=zeroth.shape[1], bound=bound, delta=delta)
    left = (radius, tolerance) if slack is None else (xp.zeros_like(radius), slack)
    alpha = alpha_order_weight(*variances, bias, left[0], tolerance=left[1])
    return AlphaOrderGradient(alpha * mean_first + (1 - alpha) * mean_zeroth, alpha, bias, radius, *variances)
