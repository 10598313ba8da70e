from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

from .quadratic import Quadratic, assert_unbiased

PROBLEM = Quadratic.example()
TRUTH = PROBLEM.gradient()
seeds = st.integers(0, 10**6)


def per_sample(seed, samples=100_000):
    eps = PROBLEM.noise(seed, samples)
    returns = PROBLEM.reward(PROBLEM.action(eps))
    zeroth = gradest.likelihood_ratio_gradients(PROBLEM.score(eps), returns - gradest.leave_one_out_baseline(returns))
    return PROBLEM.reparameterised(eps), zeroth


def test_variance_and_covariance_are_traces():
    first, zeroth = np.random.default_rng(0).normal(size=(2, 9, 4))
    together = np.cov(first.T, zeroth.T)
    assert np.isclose(gradest.empirical_variance(first), np.trace(together[:4, :4]), rtol=1e-14)
    assert np.isclose(gradest.empirical_covariance(first, zeroth), np.trace(together[:4, 4:]), rtol=1e-13)
    each = gradest.empirical_variance(first, per_parameter=True)
    np.testing.assert_allclose(each, np.diag(together)[:4], rtol=1e-14)
    steps = np.stack([first, 2 * first])
    np.testing.assert_allclose(gradest.empirical_variance(steps), np.trace(together[:4, :4]) * np.array([1, 4]))


def test_variance_of_a_known_distribution():
    """a ~ N(mu, diag(std^2)), dr/da = b - H a: the variance of the gradient by mu is tr(H diag(std^2) H)."""
    want = np.trace(PROBLEM.H @ np.diag(PROBLEM.std**2) @ PROBLEM.H)
    first, _ = per_sample(0)
    got = gradest.empirical_variance(first[:, :3])
    # a sum of squares of Gaussians: the relative error of its estimate is at most sqrt(2 / N)
    assert abs(got / want - 1) < 3 * np.sqrt(2 / len(first))


@pytest.mark.parametrize(
    "call",
    [
        lambda one, two: gradest.empirical_variance(one),
        lambda one, two: gradest.empirical_covariance(one, one),
        lambda one, two: gradest.inverse_variance_gradient(one, two),
        lambda one, two: gradest.inverse_variance_gradient(two, one),
        lambda one, two: gradest.alpha_order_gradient(one, two, tolerance=1.0, bound=1.0, delta=0.1),
        lambda one, two: gradest.alpha_order_gradient(two, one, tolerance=1.0, bound=1.0, delta=0.1),
        lambda one, two: gradest.adaptive_ratio(one, one),
    ],
)
def test_one_sample_has_no_variance(call):
    with pytest.raises(ValueError, match=r"has shape \(1, 3\): 1 samples along axis -?\d; expected at least 2"):
        call(np.ones((1, 3)), np.random.default_rng(0).normal(size=(4, 3)))


@settings(deadline=None)
@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(-0.999, 0.999))
def test_the_weight_is_the_minimum_of_the_variance(v1, v0, correlation):
    c = correlation * np.sqrt(v1 * v0)

    def variance(alpha):
        return alpha**2 * v1 + (1 - alpha) ** 2 * v0 + 2 * alpha * (1 - alpha) * c

    alpha = float(gradest.inverse_variance_weight(np.array(v1), np.array(v0), np.array(c)))
    best = variance(alpha)
    slope = 2 * alpha * v1 - 2 * (1 - alpha) * v0 + 2 * (1 - 2 * alpha) * c
    assert abs(slope) <= 1e-9 * (1 + abs(alpha)) * (v1 + v0)
    assert best <= min(v1, v0) * (1 + 1e-9)
    plain = float(gradest.inverse_variance_weight(np.array(v1), np.array(v0)))
    assert np.isclose(plain, v0 / (v0 + v1), rtol=1e-12)
    clipped = float(gradest.inverse_variance_weight(np.array(v1), np.array(v0), np.array(c), clip=True))
    assert np.isclose(clipped, min(max(alpha, 0.0), 1.0))


def test_weights_at_the_edge():
    inf = np.inf
    v1, v0 = np.array([0.0, 0.0, 2.0, inf, 3.0, inf]), np.array([0.0, 2.0, 0.0, 3.0, inf, inf])
    assert gradest.inverse_variance_weight(v1, v0).tolist() == [0.5, 1.0, 0.0, 0.0, 1.0, 0.5]
    # the same estimate twice: any weight will do
    same = np.array([2.0])
    assert gradest.inverse_variance_weight(same, same, same).tolist() == [0.5]


@settings(deadline=None)
@given(seeds, st.integers(2, 6), st.integers(2, 6), st.booleans())
def test_the_mixture_lies_between_its_inputs(seed, n, m, per_parameter):
    rng = np.random.default_rng(seed)
    first, zeroth = rng.normal(size=(n, 3)), 3 * rng.normal(size=(m, 3))
    mixed = gradest.inverse_variance_gradient(first, zeroth, per_parameter=per_parameter)
    ends = np.sort([first.mean(0), zeroth.mean(0)], axis=0)
    assert (mixed.gradient >= ends[0] - 1e-12).all()
    assert (mixed.gradient <= ends[1] + 1e-12).all()
    assert ((mixed.alpha >= 0) & (mixed.alpha <= 1)).all()
    assert mixed.alpha.shape == ((3,) if per_parameter else ())
    np.testing.assert_allclose(mixed.variance_first.sum(), first.var(0, ddof=1).sum() / n, rtol=1e-12)


def test_more_samples_count_for_more():
    """Ten times the samples of the same distribution: the weight is ten to one."""
    rng = np.random.default_rng(1)
    few = rng.normal(size=(50, 2))
    many = np.concatenate([few] * 10)
    alpha = gradest.inverse_variance_gradient(many, few).alpha
    # the variances of the means differ by the number of samples, with n - 1 in place of n in each
    ratio = (few.shape[0] - 1) / (many.shape[0] - 1)
    np.testing.assert_allclose(alpha, 1 / (1 + ratio), rtol=1e-12)


@pytest.mark.parametrize("covariance", [False, True])
@pytest.mark.parametrize("per_parameter", [False, True])
def test_mixtures_are_unbiased_with_weights_of_their_own_and_vary_least(covariance, per_parameter):
    first, zeroth = per_sample(2)
    pilot = gradest.inverse_variance_gradient(*per_sample(3, 4000), covariance=covariance, per_parameter=per_parameter)
    alpha = pilot.alpha if per_parameter else float(pilot.alpha)
    mixed = gradest.mix_gradients(first, zeroth, np.asarray(alpha), per_parameter=per_parameter)
    assert_unbiased(mixed, TRUTH)
    if covariance:
        scatter = [x.var(0) if per_parameter else x.var(0).sum() for x in (mixed, first, zeroth)]
        assert (scatter[0] <= np.minimum(*scatter[1:]) * 1.01).all()
    same = gradest.inverse_variance_gradient(first, zeroth, covariance=covariance, per_parameter=per_parameter)
    bound = 4 * np.sqrt(first.var(0) / len(first))
    assert (np.abs(same.gradient - TRUTH) < bound + 1e-3).all()


def test_steps_are_mixed_one_by_one():
    first, zeroth = np.random.default_rng(4).normal(size=(2, 5, 7, 3))
    together = gradest.inverse_variance_gradient(first, zeroth, covariance=True)
    for t in range(5):
        alone = gradest.inverse_variance_gradient(first[t], zeroth[t], covariance=True)
        for got, want in zip(together, alone, strict=True):
            np.testing.assert_allclose(got[t], want, rtol=1e-12)


def test_a_closed_weight_keeps_infinity_out():
    bad = np.array([np.nan, np.inf, 1.0])
    good = np.array([1.0, 2.0, 3.0])
    assert gradest.mix_gradients(bad, good, 0.0).tolist() == [1.0, 2.0, 3.0]
    assert gradest.mix_gradients(good, bad, 1.0).tolist() == [1.0, 2.0, 3.0]
    with pytest.raises(ValueError, match=r"first has shape \(3,\) and holds 1 NaN"):
        gradest.mix_gradients(bad, good, 0.5)


def test_alpha_is_aligned_and_never_broadcast():
    g = np.ones((4, 5, 3))
    for alpha, option, shape in (
        (np.ones(5), {}, r"\(4,\), the leading axes"),
        (np.ones((4, 3)), {}, r"\(4, 5\), the leading axes"),
        (np.ones(4), {"per_parameter": True}, r"\(3,\), the last axis"),
        (np.ones((4, 1)), {}, r"\(4, 5\), the leading axes"),
    ):
        with pytest.raises(ValueError, match=rf"alpha has shape .*; expected {shape} of first"):
            gradest.mix_gradients(g, g, alpha, **option)
    with pytest.raises(ValueError, match=r"alpha is 1.5; expected a number in \[0, 1\]"):
        gradest.mix_gradients(g, g, 1.5)


class TestAlphaOrder:
    def test_bernstein_by_hand(self):
        got = gradest.bernstein_radius(np.array(8.0), samples=4, dimension=1, bound=3.0, delta=2 / np.e)
        assert np.isclose(got, 2.0 + 0.5, rtol=1e-14)

    def test_bernstein_holds(self):
        """Uniform vectors in a box: the mean of 50 leaves the radius less often than delta."""
        rng = np.random.default_rng(5)
        x = rng.uniform(-1, 1, size=(4000, 50, 2))
        far = np.linalg.norm(x.mean(1), axis=-1)
        radius = gradest.bernstein_radius(np.array(2 / 3), samples=50, dimension=2, bound=float(np.sqrt(2)), delta=0.1)
        assert (far > radius).mean() <= 0.1

    @settings(deadline=None)
    @given(seeds, st.floats(0.0, 3.0))
    def test_the_weight_solves_the_constrained_problem(self, seed, tolerance):
        v1, v0, bias, radius = np.random.default_rng(seed).uniform(0.05, 1.5, size=4)
        alpha = float(gradest.alpha_order_weight(*(np.array(x) for x in (v1, v0, bias, radius)), tolerance=tolerance))
        grid = np.linspace(0, 1, 20001)
        allowed = grid[radius + grid * bias <= tolerance]
        want = allowed[np.argmin(allowed**2 * v1 + (1 - allowed) ** 2 * v0)] if len(allowed) else 0.0
        assert abs(alpha - want) <= 5.1e-5

    def test_any_bias_tolerated_is_inverse_variance(self):
        first, zeroth = per_sample(6, 300)
        got = gradest.alpha_order_gradient(first, zeroth, tolerance=np.inf, bound=10.0, delta=0.05)
        want = gradest.inverse_variance_gradient(first, zeroth)
        np.testing.assert_allclose(got.gradient, want.gradient, rtol=1e-13)
        assert got[-2:] == want[-2:]  # the variances of both means

    def test_slack_is_what_the_radius_leaves_of_a_tolerance(self):
        first, zeroth = per_sample(9, 300)
        options = {"bound": 10.0, "delta": 0.05}
        radius = gradest.alpha_order_gradient(first, zeroth, **options).radius
        for slack in (0.0, 0.01, 0.1, 100.0):
            got = gradest.alpha_order_gradient(first, zeroth, slack=slack, **options)
            want = gradest.alpha_order_gradient(first, zeroth, tolerance=float(radius) + slack, **options)
            np.testing.assert_allclose(got.gradient, want.gradient, rtol=1e-12, atol=1e-14)
            assert got.alpha * got.bias <= slack + 1e-12

    def test_no_bias_tolerated_is_zeroth_order(self):
        first, zeroth = per_sample(7, 300)
        got = gradest.alpha_order_gradient(first, zeroth, tolerance=0.0, bound=10.0, delta=0.05)
        assert got.alpha == 0
        np.testing.assert_allclose(got.gradient, zeroth.mean(0), rtol=1e-14)

    def test_a_bias_that_the_samples_do_not_show_is_seen(self):
        """First-order samples of no variance at the wrong place: inverse variance believes them, this does not."""
        zeroth = np.random.default_rng(8).normal(size=(20_000, 2)) + 1.0
        first = np.zeros((20_000, 2))
        assert gradest.inverse_variance_gradient(first, zeroth).alpha == 1.0
        got = gradest.alpha_order_gradient(first, zeroth, tolerance=0.2, bound=5.0, delta=0.05)
        assert np.linalg.norm(got.gradient - 1.0) < 0.2
        assert got.alpha < 0.15
        assert abs(got.bias - np.sqrt(2)) < 0.05

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"tolerance": -1.0}, r"tolerance is -1.0; expected a number in \[0, inf\]"),
            ({"delta": 0.0}, r"delta is 0.0; expected a number in \(0, 1\]"),
            ({"bound": np.inf}, r"bound is inf; expected a number in \[0, inf\)"),
            ({"slack": 2.0}, r"slack is 2.0 and tolerance is 1.0; give one of them"),
            ({"slack": -2.0}, r"slack is -2.0; expected a number in \[0, inf\)"),
        ],
    )
    def test_options_are_checked(self, option, message):
        options = {"tolerance": 1.0, "bound": 1.0, "delta": 0.1, **option}
        with pytest.raises(ValueError, match=message):
            gradest.alpha_order_gradient(np.eye(3), np.eye(3), **options)
