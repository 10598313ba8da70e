"""Bundles: averages over branches of a roll-out that were perturbed where it is in contact."""

from __future__ import annotations

from typing import Any

from ._backend import clamp, cumsum
from ._check import Array, check_arrays
from ._masked import number_of
from ._values import refuse_nan


def bundle_mean(branches: Array, keep: Array | None = None) -> Array:
    """Mean over the branches of each world's bundle: of rewards, of sensitivities, of states without rotations.

    ``m = x_1 + 1/n sum_i (x_i - x_1)``, which is the mean, with the bits of ``x_1`` where all branches are equal.

    Of gradients it is the bundled gradient: with ``f`` smoothed by the perturbations ``w``, ``E_w[f(x + w)]``, the mean
    of the branches' gradients is an unbiased estimate of the gradient of that expectation wherever ``f`` has no jumps.
    Given everything but the perturbations, its variance falls as ``1/n``. (Bundled contact gradients, arXiv:2609.30951;
    the mean of gradients at perturbed points is the first-order bundle of Suh et al., Bundled Gradients through Contact
    via Randomized Smoothing, 2022.) A bundle of one is the plain gradient.

    Args:
        branches: shape ``[N, n, ...]``: of ``N`` worlds, ``n`` branches each.
        keep: bool, shape ``[N, n]``, the branches that count; all by default. Others may hold anything, even NaN. A
            world without any has mean zero.

    Returns:
        Shape ``[N, ...]``.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or a branch that counts holds NaN; the message
            names it.
    """
    xp = _checked(branches, "N n ...", keep)
    return _mean(xp, _counted(xp, branches, keep), keep)


def bundle_mean_quaternion(branches: Array, keep: Array | None = None) -> Array:
    """Mean rotation over the branches of each world's bundle, as a unit quaternion.

    ``q = s / |s|`` with ``s`` the mean of ``sign(q_i . q_1) q_i / |q_i|``: a quaternion and its negative are the same
    rotation, so all are taken on the side of the first that counts. Of all unit quaternions it has the smallest sum of
    squared distances to the branches (Gramkow, On Averaging Rotations, 2001). Branches may be turned against the first
    by up to half a turn.

    Args:
        branches: quaternions, wxyz or xyzw, shape ``[N, n, 4]``, none of them zero.
        keep: bool, shape ``[N, n]``, the branches that count; all by default. Others may hold anything, even NaN. A
            world without any has the quaternion zero.

    Returns:
        Unit quaternions, shape ``[N, 4]``.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or a branch that counts holds NaN; the message
            names it.
    """
    xp = _checked(branches, "N n 4", keep)
    branches = _counted(xp, branches, keep)
    if keep is not None:
        # what does not count is zero, whose length has no gradient
        branches = xp.where(keep[..., None], branches, xp.ones_like(branches))
    unit = branches / xp.sqrt(xp.sum(branches * branches, axis=-1, keepdims=True))
    unit = _counted(xp, unit, keep)
    opposite = xp.sum(unit * _first(xp, unit, keep), axis=-1, keepdims=True) < 0.0
    total = _mean(xp, xp.where(opposite, -unit, unit), keep)
    squared = xp.sum(total * total, axis=-1, keepdims=True)
    some = squared > 0.0
    return xp.where(some, total / xp.sqrt(xp.where(some, squared, xp.ones_like(squared))), xp.zeros_like(total))


def _checked(branches: Array, axes: str, keep: Array | None) -> Any:
    return check_arrays({"branches": (branches, axes)}, None if keep is None else {"keep": (keep, "N n")})


def _counted(xp: Any, branches: Array, keep: Array | None) -> Array:
    """Zero where a branch does not count; NaN is refused where it does."""
    if keep is not None:
        branches = xp.where(_beside(xp, keep, branches), branches, xp.zeros_like(branches))
    refuse_nan(xp, branches=branches)
    return branches


def _first(xp: Any, branches: Array, keep: Array | None) -> Array:
    """The first branch that counts, ``[N, 1, ...]``, of branches that are zero where they do not."""
    if keep is None:
        return branches[:, :1, ...]
    first = keep & (cumsum(xp.astype(keep, xp.int32), 1) == 1)
    return xp.sum(xp.where(_beside(xp, first, branches), branches, xp.zeros_like(branches)), axis=1, keepdims=True)


def _mean(xp: Any, branches: Array, keep: Array | None) -> Array:
    """Of branches that are zero where they do not count; equal ones keep their bits."""
    first = _first(xp, branches, keep)
    apart = branches - first
    if keep is None:
        return first[:, 0, ...] + xp.mean(apart, axis=1)
    apart = xp.where(_beside(xp, keep, branches), apart, xp.zeros_like(apart))
    count = clamp(number_of(xp, keep, apart), 1.0, None)
    return first[:, 0, ...] + xp.sum(apart, axis=1) / xp.reshape(count, (-1, *([1] * (apart.ndim - 2))))


def _beside(xp: Any, keep: Array, branches: Array) -> Array:
    """Flags ``[N, n]`` with axes of length 1 for the others of ``branches``."""
    return xp.reshape(keep, (*keep.shape, *([1] * (branches.ndim - 2))))
