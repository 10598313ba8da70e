"""Statistics of few runs: what they support, and nothing more.

The interquartile mean and stratified bootstrap intervals are those of Agarwal et al., "Deep Reinforcement Learning at
the Edge of the Statistical Precipice" (NeurIPS 2021). Percentile intervals of few draws are too narrow. They are
expanded as in Hesterberg, "What Teachers Should Know About the Bootstrap" (The American Statistician 69, 2015). With
too few seeds there is no interval.

A *stratum* is the finished runs of one task: an array ``[seeds]``. All functions are deterministic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr, stdtrit

LEVEL = 0.95
SEEDS = 5
"""Seeds from which one task has an interval. It cannot reach past the smallest and largest of them, and so holds the
median of all seeds with probability 1 - 2 ** (1 - SEEDS) at most, 94 %."""
SEEDS_OF_SEVERAL = 3
"""Seeds of each task from which three and more tasks together have an interval."""
_TRIM = 0.25
_RESAMPLES = 5000
_RESAMPLES_OF_BAND = 1000
_RANDOM = 9_999
_BATCH = 1000

Values = Sequence[float] | np.ndarray[Any, Any]


class Interval(NamedTuple):
    """An interval of ``LEVEL`` confidence."""

    low: float
    high: float


class Spread(NamedTuple):
    """How runs differ, from the smallest to the largest."""

    low: float
    q25: float
    median: float
    q75: float
    high: float


def iqm(values: Values) -> float:
    """Interquartile mean: the mean of what is left without a quarter of the values at each end, rounded down.

    Of three values it is their mean, of five the mean of the middle three.

    Raises:
        ValueError: there is no value.
    """
    return float(_iqm(_some(values)))


def iqm_curve(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``iqm`` at every point of curves: ``[seeds, points]`` to ``[points]``."""
    return _iqm(values, 0)


def spread(values: Values) -> Spread:
    """Range and quartiles of runs.

    Raises:
        ValueError: there is no value.
    """
    return Spread(*map(float, np.percentile(_some(values), [0, 25, 50, 75, 100])))


def enough(counts: Sequence[int]) -> bool:
    """Whether strata of so many seeds support an interval."""
    least = min(counts, default=0)
    return least >= SEEDS or (len(counts) >= 3 and least >= SEEDS_OF_SEVERAL)


def too_few(counts: Sequence[int]) -> str:
    """Why there is no interval."""
    least = min(counts, default=0)
    return f"too few seeds for an interval ({least} of {SEEDS})"


def iqm_interval(strata: Sequence[Values]) -> Interval | None:
    """Stratified bootstrap interval of the interquartile mean of all runs; None with too few seeds.

    Runs are drawn again within each stratum, so scores of several strata must be on one scale.
    """

    def pooled(*drawn: Any, axis: int) -> Any:
        return _iqm(np.concatenate(drawn, axis=axis), axis)

    return _bootstrap([np.asarray(one, float) for one in strata], pooled, len(strata))


def iqm_band(values: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """``iqm_interval`` at every point of curves of one task, with fewer draws; None with too few seeds.

    Args:
        values: ``[seeds, points]``.

    Returns:
        Low and high ends, ``[points]`` each.
    """
    seeds, points = values.shape
    if not enough([seeds]):
        return None
    chosen = np.random.default_rng(0).integers(seeds, size=(_RESAMPLES_OF_BAND, seeds))
    tail = _tail(seeds, seeds - 1)
    ends = [np.quantile(_iqm(values[chosen, k], 1), [tail, 1 - tail]) for k in range(points)]
    low, high = np.array(ends).T
    return low, high


def difference_interval(new: Values, base: Values) -> Interval | None:
    """Bootstrap interval of ``iqm(new) - iqm(base)``; None with too few seeds of either."""
    pair = [np.asarray(new, float), np.asarray(base, float)]
    if min(map(len, pair)) < SEEDS:
        return None
    return _bootstrap(pair, lambda a, b, axis: _iqm(a, axis) - _iqm(b, axis), 2)


def improvement(pairs: Sequence[tuple[Values, Values]]) -> float:
    """Probability that a run of the first learner is better than one of the second, on a task drawn at random.

    Args:
        pairs: runs of both on each task. Higher values are better; ties count half.
    """
    return float(np.mean([_better(np.asarray(a, float), np.asarray(b, float), -1) for a, b in pairs]))


def improvement_interval(pairs: Sequence[tuple[Values, Values]]) -> Interval | None:
    """Stratified bootstrap interval of ``improvement``.

    None with too few seeds, and where runs never overlap on any task: every draw then gives the same probability, which
    says nothing about how sure it is.
    """
    strata = [np.asarray(one, float) for pair in pairs for one in pair]
    parts = [float(_better(a, b, -1)) for a, b in zip(strata[::2], strata[1::2], strict=True)]
    if all(part in (0.0, 1.0) for part in parts):
        return None

    def mean(*drawn: Any, axis: int) -> Any:
        each = [_better(a, b, axis) for a, b in zip(drawn[::2], drawn[1::2], strict=True)]
        return np.mean(np.broadcast_arrays(*each), axis=0)

    found = _bootstrap(strata, mean, len(strata), least=enough([min(map(len, pair)) for pair in pairs]))
    return None if found is None else Interval(max(found.low, 0.0), min(found.high, 1.0))


def permutation_p(a: Values, b: Values) -> float:
    """Two-sided p-value of ranks under exchange of the runs of both: the exact test of Mann and Whitney.

    It asks whether ``improvement`` differs from a half, on any scale of the values. Without ties it is exact for any
    number of runs; with ties up to 10,000 divisions of the runs, and over random ones beyond. Its least value is
    ``2 / binomial(len(a) + len(b), len(a))``: 0.1 for three runs of each, 0.008 for five.

    Raises:
        ValueError: either has no run.
    """
    x, y = _some(a), _some(b)
    ties = len(np.unique(np.concatenate([x, y]))) < len(x) + len(y)
    if ties and min(len(x), len(y)) == 1:  # scipy exchanges only two or more runs of each
        alone, every = (x if len(x) == 1 else y)[0], np.concatenate([x, y])
        return min(1.0, 2.0 * float(min((every <= alone).mean(), (every >= alone).mean())))
    method: Any = stats.PermutationMethod(n_resamples=_RANDOM, rng=np.random.default_rng(0)) if ties else "exact"
    return float(stats.mannwhitneyu(x, y, alternative="two-sided", method=method).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm, Scandinavian Journal of Statistics 6, 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values, float)[order] * factors)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def profile(strata: Sequence[Values], scores: Values) -> np.ndarray[Any, Any]:
    """Performance profile: the fraction of runs above each score, every stratum with the same weight.

    Args:
        strata: runs of each task, on one scale.
        scores: ``[K]``.

    Returns:
        ``[K]``, from one down to zero as scores rise.
    """
    each = [(np.asarray(one, float)[:, None] > np.asarray(scores, float)).mean(axis=0) for one in strata]
    return np.mean(each, axis=0)


def _some(values: Values) -> np.ndarray[Any, Any]:
    array = np.asarray(values, float)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{array.size} values, all finite or not: statistics need at least one, and finite ones")
    return array


def _iqm(values: Any, axis: int = -1) -> Any:
    return stats.trim_mean(values, _TRIM, axis=axis)


def _better(a: Any, b: Any, axis: int) -> Any:
    """``P(a > b)`` with ties half, of arrays ``[..., seeds]``."""
    if axis != -1:
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    x, y = a[..., :, None], b[..., None, :]
    return ((x > y) + 0.5 * (x == y)).mean(axis=(-2, -1))


def _bootstrap(
    strata: Sequence[np.ndarray[Any, Any]], statistic: Any, groups: int, least: bool | None = None
) -> Interval | None:
    counts = [len(one) for one in strata]
    if not (enough(counts) if least is None else least):
        return None
    if all((one == one[0]).all() for one in strata):  # nothing varies: every draw is the same
        value = float(statistic(*strata, axis=-1))
        return Interval(value, value)
    found = stats.bootstrap(
        tuple(strata),
        statistic,
        n_resamples=_RESAMPLES,
        batch=_BATCH,
        vectorized=True,
        confidence_level=1 - 2 * _tail(min(counts), sum(counts) - groups),
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return Interval(*map(float, found.confidence_interval))


def _tail(seeds: int, freedom: int) -> float:
    """The tail of draws that, for a normal distribution, corresponds to the interval of Student's t."""
    return float(ndtr(math.sqrt(seeds / (seeds - 1)) * stdtrit(freedom, (1 - LEVEL) / 2)))
