"""DDCG: a test whether first-order samples can explain how much values vary, and the mixture that rests on it."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ._check import Array, check_arrays, check_choice, check_factor, check_number, check_samples
from ._masked import moments_where, wide
from ._mixture import weight_of
from ._statistics import covariance_of
from ._values import refuse_nan


class SmoothnessTest(NamedTuple):
    """Whether a function looks continuous to its samples, and the two sides of the test."""

    smooth: Array
    """bool, a scalar array or ``[T]``: ``variance_first >= least``."""
    variance_first: Array
    """Variance of the gradients, summed over their components."""
    least: Array
    """The least variance that the gradients of a continuous function with these values have."""


class CompositeGradient(NamedTuple):
    """DDCG's gradient, and what its weight was computed from."""

    gradient: Array
    """The mixture, shape ``[P]``."""
    alpha: Array
    """Weight of the first-order mean, a scalar array; 0 where the test fails."""
    variance_first: Array
    """Variance of the first-order mean, a scalar array."""
    variance_zeroth: Array
    """Variance of the zeroth-order mean, a scalar array."""
    smooth: Array
    """bool, a scalar array: whether the test passed."""


def smoothness_test(
    first: Array,
    value: Array,
    valid: Array | None = None,
    *,
    slack: float = 0.3,
    order: Literal["second", "first"] = "second",
) -> SmoothnessTest:
    """DDCG's test for discontinuities: do the gradients vary enough for the values to vary as they do?

    A jump changes the values and leaves no trace in the gradients of single samples. For ``f(eps)`` with
    ``eps ~ N(0, I)``, ``g = E grad f`` and ``v1 = E |grad f - g|^2``, the test passes where

    - ``order="second"``: ``v1 >= 2 (1 - c) Var f - 2 |g|^2``. This is Eq. 14 of Onoda et al. 2026 (arXiv 2604.18161) as
      others quote it, without the paper's term for errors of the samples, times ``sigma^2``: the gradient by ``eps`` is
      ``sigma`` times that by ``mu + sigma eps``.
    - ``order="first"``: ``v1 >= (1 - c) Var f - |g|^2``, which is ours. It holds for samples of several functions too,
      such as worlds in different states, whose slopes differ.

    With ``c = 0`` every continuous ``f`` passes: its Hermite series has weights ``W_k`` of degree ``k`` with
    ``Var f = sum_k W_k``, ``E |grad f|^2 = sum_k k W_k`` and ``|g|^2 = W_1``, hence ``v1 = sum_{k >= 2} k W_k`` is at
    least ``2 (Var f - |g|^2)``, with equality for quadratic functions, and ``E |grad f|^2 >= Var f`` (Poincaré).
    The slack ``c`` is for errors of the samples.

    Args:
        first: gradient of each sample with respect to its standard normal noise, ``[N, P]`` or ``[T, N, P]``.
        value: ``f`` of each sample, ``[N]`` or ``[T, N]``.
        valid: bool, samples that count, ``[N]`` or ``[T, N]``; others may hold anything. Default: all.
        slack: ``c``, in [0, 1]; the paper has 0.3 for all tasks.
        order: which of the two bounds.

    Returns:
        See ``SmoothnessTest``. With fewer than two samples that count, both sides are 0 or less, and the test passes.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, holds NaN or fewer than two samples.
    """
    axes = "T N P" if len(getattr(first, "shape", ())) == 3 else "N P"
    flags = {} if valid is None else {"valid": (valid, axes[:-2])}
    xp = check_arrays({"first": (first, axes), "value": (value, axes[:-2])}, flags)
    slack = check_factor("slack", slack)
    check_choice("order", order, ("second", "first"))
    check_samples("first", first, -2)
    kept = xp.ones_like(value, dtype=xp.bool) if valid is None else valid
    first = xp.where(kept[..., None], first, xp.zeros_like(first))
    value = xp.where(kept, value, xp.zeros_like(value))
    refuse_nan(xp, first=first, value=value)
    v1, least = _sides(xp, first, value, kept, slack, 2.0 if order == "second" else 1.0)
    return SmoothnessTest(v1 >= least, v1, least)


def composite_gradient(
    first: Array, zeroth: Array, value: Array, *, sigma: float, slack: float = 0.3
) -> CompositeGradient:
    """DDCG: the mixture of least variance where ``smoothness_test`` passes, else the zeroth order alone.

    For samples ``x = mu + sigma eps`` of one function (Onoda et al. 2026, arXiv 2604.18161, Part I, as others quote
    it). The variances are those of the two means.

    Args:
        first: gradient of each sample by ``x``, shape ``[N, P]``.
        zeroth: zeroth-order gradient of each sample, ``(f - b) eps / sigma``, same shape.
        value: ``f`` of each sample, shape ``[N]``.
        sigma: standard deviation of the samples, above 0.
        slack: of the test, in [0, 1].

    Returns:
        See ``CompositeGradient``.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, holds NaN or fewer than two samples.
    """
    xp = check_arrays({"first": (first, "N P"), "zeroth": (zeroth, "N P"), "value": (value, "N")})
    sigma, slack = check_number("sigma", sigma, 0.0, above=True), check_factor("slack", slack)
    check_samples("first", first, -2)
    refuse_nan(xp, first=first, zeroth=zeroth, value=value)
    spread, least = _sides(xp, sigma * first, value, xp.ones_like(value, dtype=xp.bool), slack, 2.0)
    smooth = spread >= least
    v1, v0 = (covariance_of(xp, g, g, per_parameter=False) / g.shape[0] for g in (first, zeroth))
    alpha = weight_of(xp, v1, v0, None, clip=True)
    alpha = xp.where(smooth, alpha, xp.zeros_like(alpha))
    gradient = alpha * xp.mean(first, axis=-2) + (1 - alpha) * xp.mean(zeroth, axis=-2)
    return CompositeGradient(gradient, alpha, v1, v0, smooth)


def _sides(xp: Any, first: Array, value: Array, kept: Array, slack: float, degree: float) -> tuple[Array, Array]:
    """Variance of the gradients, and the least one: ``degree ((1 - slack) Var f - |g|^2)``."""
    mean, spread, _ = moments_where(xp, wide(xp, first), kept)
    _, of_values, _ = moments_where(xp, wide(xp, value)[..., None], kept)
    least = degree * ((1 - slack) * of_values[..., 0] - xp.sum(mean * mean, axis=-1))
    return xp.astype(xp.sum(spread, axis=-1), first.dtype), xp.astype(least, first.dtype)
