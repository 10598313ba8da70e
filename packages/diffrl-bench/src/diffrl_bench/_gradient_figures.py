"""Bias, variance, signal to noise and direction of an estimator, from batches of gradients and the truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

import gradest

from ._gradient_truth import Truth
from ._gradients_text import TRUSTED

Numbers = np.ndarray[Any, Any]
_INTERVAL = 1.96
_BATCHES = 8
"""Batches from which their means tell how much a mean varies."""
COSINES = ("cosine", "cosine_low", "cosine_high")
NAMES = ("bias", "bias_low", "bias_high", "bias_errors", "variance", "snr", *COSINES)
"""Names of the figures."""


def figures(groups: Sequence[Numbers], truth: Truth) -> dict[str, float | None]:
    """The figures of one estimator at one horizon. None where the samples, or the truth, do not give them.

    Expected squares are free of the noise in them: from ``|mean|^2`` the variance of the mean is subtracted. The
    variance of the mean is that between batches, which includes that of a mixture's weights; of fewer than 8 batches it
    is that between worlds.

    Args:
        groups: the gradients of each batch, ``[n, K]``; those of fewer than two worlds do not count.
        truth: what they should be in the mean.
    """
    groups = [group.astype(float) for group in groups if len(group) > 1]
    nothing: dict[str, float | None] = dict.fromkeys(NAMES)
    if len(groups) < 2:
        return nothing
    means = np.stack([group.mean(0) for group in groups])
    # Squares of long gradients may overflow; such figures are None.
    with np.errstate(over="ignore", invalid="ignore"):
        variance = sum(((g - g.mean(0)) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups)
        mean, (covariance, degrees) = means.mean(0), _of_the_mean(groups, means)
        signal = float(mean @ mean - np.trace(covariance))
        found: dict[str, Any] = {"snr": max(signal, 0.0) / variance if variance > 0 else None}
        if truth.known:
            found |= {"variance": variance / truth.square}
            found |= bias(mean - truth.mean, covariance, truth.covariance, degrees, math.sqrt(truth.square))
            found |= directions(means, truth)
    return nothing | {name: None if value is None else _finite(value) for name, value in found.items()}


def bias(distance: Numbers, between: Numbers, of_truth: Numbers, degrees: int, norm: float) -> dict[str, float]:
    """The length of a bias over ``norm``, with a 95 % interval, and the measured distance in its standard errors.

    Without a bias the distance is about one standard error long; three are a bias (``gradest.empirical_bias``).

    ``|distance|^2`` less the noise in it is an unbiased estimate of the squared bias ``|b|^2``. With normal noise of
    covariance ``S`` its variance is ``4 b' S b + 2 tr S^2``, of which the second part is there without a bias too.

    Args:
        distance: mean less truth, ``[K]``.
        between: covariance of the mean, ``[K, K]``.
        of_truth: covariance of the truth, from very many worlds.
        degrees: degrees of freedom of ``between``.
        norm: of the truth.
    """
    noise = between + of_truth
    square = float(distance @ distance - np.trace(noise))
    spread = _square_trace(between, degrees) + float(2 * np.sum(between * of_truth) + np.sum(of_truth**2))
    length = float(distance @ distance)
    along = float(distance @ noise @ distance) / length if length > 0 else 0.0
    # The squares B that are within 1.96 errors of the measured one, each with the error that it would have.
    middle, part = square + 2.0 * _INTERVAL**2 * along, 2.0 * _INTERVAL**2 * spread
    width = math.sqrt(max(middle * middle - square * square + part, 0.0))
    low, high = (math.sqrt(max(middle + sign * width, 0.0)) / norm for sign in (-1, 1))
    return {
        # Where the interval is not known, by chance below 0 says nothing.
        "bias": math.sqrt(max(square, 0.0)) / norm if math.isfinite(width) else math.nan,
        "bias_low": low,
        "bias_high": high,
        "bias_errors": math.sqrt(length / float(np.trace(noise))) if noise.any() else math.inf,
    }


def directions(means: Numbers, truth: Truth) -> dict[str, float]:
    """The cosine of each batch's mean ``[B, K]`` to the truth: the mean over batches, the least and the greatest.

    The noise of the truth would make every cosine smaller, so it is taken out of the truth's norm.
    """
    measured = gradest.cosine_similarity(means, np.broadcast_to(truth.mean, means.shape).copy())
    cosines = np.clip(measured * np.linalg.norm(truth.mean) / math.sqrt(truth.square), -1.0, 1.0)
    return dict(zip(COSINES, (float(cosines.mean()), float(cosines.min()), float(cosines.max())), strict=True))


def trust(horizons: Sequence[int], cosines: Sequence[float | None]) -> dict[str, Any]:
    """The horizon of trust: the largest up to which every known cosine is at least ``TRUSTED``; 0 if none is.

    Short horizons whose truth is not known are passed over: where no reward depends on an action yet, it is 0. ``open``
    says that no horizon beyond was found bad: it is the last, or the truth of the next is not known.
    """
    first = next((k for k, value in enumerate(cosines) if value is not None), len(cosines))
    known = list(itertools.takewhile(lambda value: value is not None, cosines[first:]))
    count = int(gradest.horizon_of_trust(np.array(known, dtype=float), threshold=TRUSTED)) if known else 0
    return {"horizon": horizons[first + count - 1] if count else 0, "open": count == len(known)}


def _of_the_mean(groups: Sequence[Numbers], means: Numbers) -> tuple[Numbers, int]:
    """Covariance of the mean over batches ``[K, K]``, and its degrees of freedom."""
    if len(means) >= _BATCHES:
        return np.atleast_2d(np.cov(means, rowvar=False)) / len(means), len(means) - 1
    worlds = np.concatenate(groups)
    return np.atleast_2d(np.cov(worlds, rowvar=False)) / len(worlds), len(worlds) - 1


def _square_trace(covariance: Numbers, degrees: int) -> float:
    """``tr S^2`` of the true covariance from an estimated one with so many degrees of freedom, without its bias.

    It lies between ``(tr S)^2 / K`` and ``(tr S)^2`` for every covariance.
    """
    trace, square = float(np.trace(covariance)), float(np.sum(covariance**2))
    # A product that overflows is infinite; a power would be an error.
    whole = trace * trace
    if degrees < 2:
        return square
    found = degrees**2 / ((degrees - 1) * (degrees + 2)) * (square - whole / degrees)
    return min(max(found, whole / len(covariance)), whole)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
