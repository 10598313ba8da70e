"""Statistics against closed forms, known tables, hand-worked numbers, and their promised coverage."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diffrl_bench import _statistics
from diffrl_bench._statistics import (
    SEEDS,
    Interval,
    difference_interval,
    enough,
    holm,
    improvement,
    improvement_interval,
    iqm,
    iqm_interval,
    permutation_p,
    profile,
    spread,
    too_few,
)

FLOATS = st.floats(-1e6, 1e6)


def test_the_interquartile_mean_drops_a_quarter_at_each_end() -> None:
    assert iqm([3.0]) == 3.0
    assert iqm([1.0, 2.0, 9.0]) == 4.0, "of three values nothing is dropped"
    assert iqm([100.0, 2.0, 3.0, 4.0, -100.0]) == 3.0
    assert iqm(np.arange(8)) == 3.5 == np.mean([2, 3, 4, 5])
    with pytest.raises(ValueError, match="at least one"):
        iqm([])
    with pytest.raises(ValueError, match="finite"):
        iqm([1.0, math.nan])


@settings(max_examples=50, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=12), FLOATS)
def test_the_interquartile_mean_moves_with_its_values(values: list[float], shift: float) -> None:
    assert iqm(np.array(values) + shift) == pytest.approx(iqm(values) + shift, abs=1e-6)
    assert min(values) - 1e-6 <= iqm(values) <= max(values) + 1e-6
    assert iqm(values) == pytest.approx(iqm(values[::-1]))


def test_of_a_normal_distribution_it_is_the_mean_and_of_an_exponential_one_the_integral() -> None:
    rng = np.random.default_rng(0)
    assert iqm(rng.normal(2.0, 1.0, 200_000)) == pytest.approx(2.0, abs=0.01)
    # The mean of the middle half: 2 * integral of -log(1 - p) from 1/4 to 3/4.
    exact = 2 * sum((1 - p) * math.log(1 - p) - (1 - p) for p in (0.75,)) - 2 * (0.75 * math.log(0.75) - 0.75)
    assert iqm(rng.exponential(size=200_000)) == pytest.approx(exact, abs=0.01)


def test_spread_is_range_and_quartiles() -> None:
    assert spread([5.0, 1.0, 9.0, 3.0]) == (1.0, 2.5, 4.0, 6.0, 9.0)


def test_too_few_seeds_have_no_interval() -> None:
    assert iqm_interval([[1.0, 2.0, 3.0, 4.0]]) is None
    assert too_few([4]) == "too few seeds for an interval (4 of 5)"
    assert iqm_interval([[1.0, 2.0, 3.0, 4.0, 5.0]]) is not None
    assert not enough([3, 3]) and enough([3, 3, 3]) and not enough([3, 2, 3]) and not enough([])
    assert difference_interval([1.0] * 4, [2.0] * 9) is None
    assert improvement_interval([([1.0, 3.0, 5.0], [2.0, 4.0, 6.0])]) is None


def test_runs_that_do_not_vary_have_an_interval_of_no_width() -> None:
    assert iqm_interval([[2.0] * 5]) == Interval(2.0, 2.0)
    assert difference_interval([2.0] * 5, [3.0] * 6) == Interval(-1.0, -1.0)


@pytest.mark.parametrize(
    ("n", "tasks", "draw", "truth"),
    [
        (5, 1, "normal", 0.0),
        (3, 4, "normal", 0.0),
        (6, 1, "exponential", 0.7384),
    ],
)
def test_intervals_cover_the_truth_as_often_as_they_say(
    n: int, tasks: int, draw: str, truth: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """400 experiments: the standard error of the coverage is 1.1 %. The plain percentile interval has 90 % for five."""
    monkeypatch.setattr(_statistics, "_RESAMPLES", 500)
    rng = np.random.default_rng(1)
    found = [iqm_interval([getattr(rng, draw)(size=n) for _ in range(tasks)]) for _ in range(400)]
    covered = np.mean([one.low <= truth <= one.high for one in found if one is not None])
    assert 0.91 <= covered <= 0.995
    assert all(one is not None for one in found)


def test_the_interval_of_many_runs_is_students() -> None:
    values = np.random.default_rng(2).normal(size=60)
    low, high = iqm_interval([values]) or (0, 0)
    # The trimmed mean's interval, after Tukey and McLaughlin (Sankhya A 25, 1963).
    n, cut = len(values), len(values) // 4
    ordered = np.sort(values)
    winsorised = np.clip(ordered, ordered[cut], ordered[-cut - 1])
    error = winsorised.std(ddof=1) / ((1 - 2 * 0.25) * math.sqrt(n))
    half = stats.t.ppf(0.975, n - 2 * cut - 1) * error
    assert (low, high) == pytest.approx((iqm(values) - half, iqm(values) + half), abs=0.35 * half)


def test_the_same_runs_give_the_same_interval() -> None:
    values = np.random.default_rng(3).normal(size=7)
    assert iqm_interval([values]) == iqm_interval([values])
    shifted = iqm_interval([values + 10])
    assert shifted == pytest.approx(np.array(iqm_interval([values])) + 10)


def test_differences_cover_too_and_have_a_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_statistics, "_RESAMPLES", 500)
    rng = np.random.default_rng(4)
    found = [difference_interval(rng.normal(1, 1, 5), rng.normal(0, 1, 6)) for _ in range(200)]
    assert 0.92 <= np.mean([one.low <= 1 <= one.high for one in found if one is not None]) <= 1.0
    a, b = np.arange(5.0), np.arange(5.0) + 100
    assert (difference_interval(a, b) or Interval(0, 0)).high < 0 < (difference_interval(b, a) or Interval(0, 0)).low


def test_improvement_counts_pairs() -> None:
    assert improvement([([3.0, 4.0], [1.0, 2.0])]) == 1.0
    assert improvement([([1.0, 2.0], [2.0, 3.0])]) == 0.125
    assert improvement([([1.0], [1.0])]) == 0.5
    assert improvement([([3.0], [1.0]), ([1.0], [3.0])]) == 0.5
    a, b = np.random.default_rng(5).normal(size=(2, 9))
    assert improvement([(a, b)]) == pytest.approx(stats.mannwhitneyu(a, b).statistic / 81)
    low, high = improvement_interval([(a, b)]) or (1, 0)
    assert 0 <= low < improvement([(a, b)]) < high <= 1
    assert improvement_interval([(a, b + 100)]) is None, "every draw is the same, which proves nothing"


def test_permutation_by_hand() -> None:
    """Of the 20 ways to choose three of six runs, two are as extreme as 123 against 456."""
    assert permutation_p([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]) == pytest.approx(0.1)
    assert permutation_p(range(5), range(5, 10)) == pytest.approx(2 / 252)
    assert permutation_p([1.0], [2.0]) == 1.0
    assert permutation_p([1.0, 1.0], [1.0, 1.0]) == 1.0


def test_critical_values_are_those_of_the_table() -> None:
    """Mann and Whitney's table, two-sided 0.05: U is 2 for 5 and 5 runs, 13 for 8 and 8, 6 for 6 and 7."""
    for m, n, critical in ((5, 5, 2), (8, 8, 13), (6, 7, 6)):
        sums = {critical: _with_u(m, n, critical), critical + 1: _with_u(m, n, critical + 1)}
        assert permutation_p(*sums[critical]) <= 0.05 < permutation_p(*sums[critical + 1])


def _with_u(m: int, n: int, u: int) -> tuple[list[float], list[float]]:
    """Runs without ties in which ``u`` of the ``m * n`` pairs have the first greater."""
    ranks = list(range(m))
    for k in reversed(range(m)):
        step = min(u, n)
        ranks[k] += step
        u -= step
    return [float(r) for r in ranks], [float(r) for r in set(range(m + n)) - set(ranks)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_permutation_is_the_enumeration(a: list[int], b: list[int]) -> None:
    """With ties too: the share of all divisions in each tail, of ranks; twice the smaller one."""
    ranks = stats.rankdata([*a, *b])
    sums = np.array([sum(chosen) for chosen in itertools.combinations(ranks, len(a))])
    found = ranks[: len(a)].sum()
    expected = min(1.0, 2 * min(np.mean(sums <= found + 1e-9), np.mean(sums >= found - 1e-9)))
    assert permutation_p(a, b) == pytest.approx(expected)
    assert permutation_p(b, a) == pytest.approx(expected)


def test_holm_by_hand() -> None:
    """Holm 1979: 4 * 0.005, 3 * 0.01, 2 * 0.03, then not less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_profile_counts_runs_above_a_score() -> None:
    np.testing.assert_allclose(profile([[0.0, 0.5, 1.0]], [-1, 0, 0.25, 0.75, 1]), [1, 2 / 3, 2 / 3, 1 / 3, 0])
    np.testing.assert_allclose(profile([[0.0, 0.0, 0.0], [1.0]], [0.5]), [0.5]), "tasks have the same weight"
    scores = np.linspace(-3, 3, 50)
    values = np.random.default_rng(6).normal(size=100_000)
    np.testing.assert_allclose(profile([values], scores), stats.norm.sf(scores), atol=0.01)


def test_five_seeds_is_where_an_interval_of_the_median_begins() -> None:
    """Smallest and largest of n hold the median but for 2 ** (1 - n): 87.5 % of four, 94 % of five."""
    assert 1 - 2.0 ** (1 - SEEDS) > 0.93 > 1 - 2.0 ** (2 - SEEDS)
