"""AHAC's dual step: the formula, its bounds, and a horizon that settles where the steps turn stiff."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gradest


@given(st.integers(1, 6), st.integers(0, 4), st.sampled_from(["shortens", "lengthens"]), st.integers(0, 2**31))
def test_the_formula_one_number_at_a_time(steps, beyond, stiff, seed):
    rng = np.random.default_rng(seed)
    phi, c, horizon = rng.normal(size=steps + beyond), rng.uniform(0, 9, size=steps), rng.uniform(2, 20)
    threshold, lr = rng.uniform(0.5, 5), rng.uniform(0, 2)
    options = {"threshold": threshold, "lr": lr, "low": 2.0, "high": 20.0, "stiff": stiff}
    found = gradest.adapt_horizon(np.array(horizon), phi, c, **options)
    total = 0.0
    for t in range(steps + beyond):
        expected = phi[t]
        if t < steps:
            expected += lr * (c[t] / threshold - 1)
            total += expected
        assert found.multipliers[t] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    moved = horizon - lr * total if stiff == "shortens" else horizon + lr * total
    assert found.horizon == pytest.approx(min(max(moved, 2.0), 20.0), rel=1e-12)


@pytest.mark.parametrize(("level", "bound"), [(0.2, 30.0), (6.0, 3.0)])
def test_smooth_windows_lengthen_the_horizon_and_stiff_ones_shorten_it(level, bound):
    horizon, phi = np.array(12.0), np.zeros(30)
    lengths = []
    for _ in range(300):
        horizon, phi = gradest.adapt_horizon(
            horizon, phi, np.full(round(float(horizon)), level), threshold=2.0, lr=0.02, low=3.0, high=30.0
        )
        lengths.append(float(horizon))
    assert lengths[-1] == bound and lengths == sorted(lengths, reverse=level > 2)


def test_the_horizon_hovers_where_steps_turn_stiff():
    """Steps before 10 are smooth, those after it stiff: the multipliers balance at a length between the bounds."""
    stiffness = np.where(np.arange(40) < 10, 0.5, 5.0)
    horizon, phi, lengths = np.array(4.0), np.zeros(40), []
    for _ in range(4000):
        window = stiffness[: round(float(horizon))]
        horizon, phi = gradest.adapt_horizon(horizon, phi, window, threshold=2.0, lr=0.01, low=2.0, high=40.0)
        lengths.append(float(horizon))
    assert 10 < np.mean(lengths[1000:]) < 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threshold": 0.0}, "threshold is 0"),
        ({"lr": -1.0}, "lr is -1"),
        ({"low": 0.0}, "low is 0"),
        ({"high": 2.0}, "high is 2"),
        ({"stiff": "longer"}, "stiff is 'longer'"),
        ({"stiffness": np.ones(6)}, "at most 5 steps"),
        ({"stiffness": np.array([1.0, np.nan])}, "stiffness"),
    ],
)
def test_wrong_arguments_are_named(change, words):
    given = {"horizon": np.array(5.0), "multipliers": np.zeros(5), "stiffness": np.ones(3)}
    options = {"threshold": 1.0, "lr": 0.1, "low": 4.0, "high": 9.0}
    with pytest.raises(ValueError, match=words):
        gradest.adapt_horizon(**{**given, **options, **change})
