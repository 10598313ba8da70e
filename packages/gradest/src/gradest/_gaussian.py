"""Diagonal Gaussians: divergence, entropy, and the noise in an action."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ._check import Array, check_arrays
from ._stop import stop_gradient
from ._values import refuse_nan


def gaussian_kl(mean_old: Array, logstd_old: Array, mean: Array, logstd: Array) -> Array:
    """Divergence of a diagonal Gaussian from the one that acted: ``KL(old || new)`` [nat].

    ``sum_i (s_i^2 + d_i^2 - 1) / 2 - log s_i``, with ``s = sigma_old / sigma`` and ``d = (mu_old - mu) / sigma``. An
    invertible map of the actions, such as tanh, does not change it.

    Args:
        mean_old: means of the Gaussians that acted, ``[N, m]`` or ``[T, N, m]``; differentiable, as all others are.
        logstd_old: ``log sigma`` of them, the same shape, or ``[m]`` where all have the same.
        mean: means of the others, the shape of ``mean_old``.
        logstd: ``log sigma`` of the others, the same shape or ``[m]``.

    Returns:
        Divergences, ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    given = {"mean_old": mean_old, "mean": mean, "logstd_old": logstd_old, "logstd": logstd}
    xp = check_gaussian(given)
    ratio = xp.exp(2.0 * (logstd_old - logstd))
    shift = (mean_old - mean) * xp.exp(-logstd)
    divergence = xp.sum(0.5 * (ratio + shift * shift - 1.0) + logstd - logstd_old, axis=-1)
    refuse_nan(xp, divergence, **given)
    return divergence


def gaussian_entropy(logstd: Array) -> Array:
    """Entropy of diagonal Gaussians [nat]: ``sum_i log sigma_i + m/2 log(2 pi e)``.

    Args:
        logstd: ``log sigma``, ``[m]``, ``[N, m]`` or ``[T, N, m]``; differentiable.

    Returns:
        Entropies, ``logstd`` without its last axis.

    Raises:
        ValueError: ``logstd`` has the wrong type, shape or dtype, or holds NaN.
    """
    xp = check_arrays({"logstd": (logstd, {1: "m", 3: "T N m"}.get(_rank(logstd), "N m"))})
    entropy = xp.sum(logstd + 0.5 * (math.log(2.0 * math.pi) + 1.0), axis=-1)
    refuse_nan(xp, entropy, logstd=logstd)
    return entropy


def recovered_noise(action: Array, mean: Array, logstd: Array) -> Array:
    """The noise with which a Gaussian policy would take an action: ``eps = (a - mu) / sigma``.

    A constant, so ``mu + sigma eps`` has the value of the action and the derivatives of the reparameterisation (RPO,
    Zhong et al. 2025, arXiv:2508.06214). For the policy that acted it is the noise that was drawn.

    Args:
        action: actions before any tanh, ``[N, m]`` or ``[T, N, m]``.
        mean: means of the policy, the same shape.
        logstd: ``log sigma`` of the policy, the same shape, or ``[m]`` where it does not depend on the state.

    Returns:
        Noise, the shape of ``action``.

    Raises:
        ValueError: an argument has the wrong framework, shape or dtype, or holds NaN; the message names it.
    """
    given = {"action": action, "mean": mean, "logstd": logstd}
    xp = check_gaussian(given)
    refuse_nan(xp, **given)
    return stop_gradient((action - mean) * xp.exp(-logstd))


def check_gaussian(arrays: Mapping[str, Array], **each: Array) -> Any:
    """Array namespace of arrays ``[N, m]`` or ``[T, N, m]``; those with ``logstd`` in their name may be ``[m]``.

    Args:
        arrays: the arrays by name; the first says how many axes there are.
        each: arrays with one number for each sample, ``[N]`` or ``[T, N]``.

    Raises:
        ValueError: as ``check_arrays``.
    """
    samples = "T N" if _rank(next(iter(arrays.values()))) == 3 else "N"
    shared = {name for name, array in arrays.items() if "logstd" in name and _rank(array) == 1}
    named = {name: (array, "m" if name in shared else f"{samples} m") for name, array in arrays.items()}
    return check_arrays({**named, **{name: (array, samples) for name, array in each.items()}})


def _rank(array: Array) -> int:
    return len(getattr(array, "shape", ()))
