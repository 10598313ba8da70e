"""IVW-H: in every control step, two action gradients of each world mixed by their inverse variances over worlds."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from ._check import Array, check_arrays, check_choice, check_number, check_samples
from ._masked import median_where, moments_where, number_of, wide
from ._mixture import weight_of
from ._statistics import sample_axes
from ._values import refuse_nan


class StepMixture(NamedTuple):
    """The mixed gradients of single worlds, and what their weights were computed from."""

    gradient: Array
    """``[T, N, m]`` or ``[N, m]``; 0 in worlds that are not valid."""
    alpha: Array
    """Weight of the first-order gradients of each step, shared by its worlds: ``[T, m]``, or ``[T]`` for ``"trace"``
    (without ``T`` for one step)."""
    variance_first: Array
    """Their variance over the worlds that count, the shape of ``alpha``."""
    variance_zeroth: Array
    """Variance of the zeroth-order gradients over the valid worlds, the shape of ``alpha``."""
    used: Array
    """bool, ``[T, N]`` or ``[N]``: worlds whose first-order gradient counts."""


def per_step_mixture(
    first: Array,
    zeroth: Array,
    valid: Array | None = None,
    trusted: Array | None = None,
    *,
    variance: Literal["coordinate", "trace"] = "coordinate",
    nonfinite: Literal["zero", "mask"] = "zero",
    outliers: float | None = None,
) -> StepMixture:
    """Mixture of two action gradients in every step and world, with weights of least variance over the worlds.

    ``G_ti = alpha_t g1_ti + (1 - alpha_t) g0_ti`` with ``alpha_t = v0_t / (v0_t + v1_t)``: IVW-H (Onoda et al. 2026,
    arXiv 2604.18161, Eq. 16-18 as others quote them; docs/algorithms/ivwh-ddcg.md says what could not be read). The
    variances ``v`` are those of the samples, over the worlds of one step; those of the means are ``1/N`` of both, so
    the weights are the same. ``G`` then goes through the policy's network once, as ``g1`` would.

    Without any variance (0/0) both gradients get 1/2. A weight from the samples that it weighs biases the mean of a
    step by O(1/N).

    Args:
        first: first-order gradient of each world, shape ``[T, N, m]``, or ``[N, m]`` for one step. Infinity and NaN are
            allowed, see ``nonfinite``.
        zeroth: zeroth-order gradient of each world, same shape.
        valid: bool, worlds that took the step, ``[T, N]`` or ``[N]``. Default: all.
        trusted: bool, steps whose first-order gradients count at all, ``[T]`` or a scalar array, such as
            ``smoothness_test(...).smooth``; others get a weight of 0 (DDCG). Default: all.
        variance: ``"coordinate"``: a variance and a weight for each component (the paper). ``"trace"``: the sum over
            the components, and one weight for the step.
        nonfinite: ``"zero"``: if the first-order gradient of some valid world is not finite, its variance is infinite,
            and the step gets weight 0. ``"mask"``: only this world takes its zeroth-order gradient, and does not count
            for the variance.
        outliers: worlds whose first-order gradient is longer than so many medians of its step are treated as those
            that ``"mask"`` leaves out. This is ours, for stiff contacts. None: no such rule.

    Returns:
        See ``StepMixture``. A step with fewer than two worlds that count has weight 0.

    Raises:
        ValueError: an argument has the wrong type, shape, dtype or range, ``zeroth`` holds NaN, or there is only one
            world, which has no variance.
    """
    axes = sample_axes(first).replace("P", "m")
    flags = {} if valid is None else {"valid": (valid, axes[:-2])}
    flags |= {} if trusted is None else {"trusted": (trusted, axes[:-4])}
    xp = check_arrays({"first": (first, axes), "zeroth": (zeroth, axes)}, flags)
    check_choice("variance", variance, ("coordinate", "trace"))
    check_choice("nonfinite", nonfinite, ("zero", "mask"))
    check_samples("first", first, -2)
    if outliers is not None:
        outliers = check_number("outliers", outliers, 0.0, above=True)
    refuse_nan(xp, zeroth=zeroth)
    dtype = first.dtype
    first, zeroth = wide(xp, first), wide(xp, zeroth)
    finite = xp.all(xp.isfinite(first), axis=-1)
    taken = xp.ones_like(finite) if valid is None else valid
    used = finite & taken
    usable = xp.all(finite | ~taken, axis=-1) if nonfinite == "zero" else xp.ones_like(finite[..., 0])
    if outliers is not None:
        used = _near_the_median(xp, first, used, outliers)
    _, v1, number = moments_where(xp, first, used)
    _, v0, _ = moments_where(xp, zeroth, taken)
    if variance == "trace":
        v1, v0 = xp.sum(v1, axis=-1), xp.sum(v0, axis=-1)
    usable = usable & (number >= 2)
    if trusted is not None:
        usable = usable & trusted
    usable = usable[..., None] if variance == "coordinate" else usable
    alpha = weight_of(xp, v1, v0, None, clip=True)
    alpha = xp.where(usable, alpha, xp.zeros_like(alpha))
    weight = (alpha if variance == "coordinate" else alpha[..., None])[..., None, :]
    weight = xp.where(used[..., None], weight, xp.zeros_like(weight))
    # where on the inputs: a gradient that does not count may be infinite, and so may its derivative
    counted = xp.where(used[..., None], first, xp.zeros_like(first))
    mixed = weight * counted + (1 - weight) * zeroth
    mixed = xp.where(taken[..., None], mixed, xp.zeros_like(mixed))
    mixed, alpha, v1, v0 = (xp.astype(x, dtype) for x in (mixed, alpha, v1, v0))
    return StepMixture(mixed, alpha, v1, v0, used)


def _near_the_median(xp: Any, gradients: Array, kept: Array, factor: float) -> Array:
    """Which of the gradients kept are no longer than so many medians of their step."""
    finite = xp.where(kept[..., None], gradients, xp.zeros_like(gradients))
    norm = xp.sqrt(xp.sum(finite * finite, axis=-1))
    median = median_where(xp, norm, kept, number_of(xp, kept, norm))
    return kept & (norm <= factor * median[..., None])
