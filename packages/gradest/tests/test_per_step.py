"""IVW-H's mixture of every step, and DDCG's test and mixture, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

from .quadratic import Quadratic

PROBLEM = Quadratic.example()
TRUTH = PROBLEM.gradient()
seeds = st.integers(0, 10**6)


def per_sample(seed, samples):
    """Both gradients of each sample, their values and the first-order gradients by the noise."""
    eps = PROBLEM.noise(seed, samples)
    value = PROBLEM.reward(PROBLEM.action(eps))
    zeroth = gradest.likelihood_ratio_gradients(PROBLEM.score(eps), value - gradest.leave_one_out_baseline(value))
    return PROBLEM.reparameterised(eps), zeroth, value, PROBLEM.std * PROBLEM.reward_gradient(PROBLEM.action(eps))


def drawn(seed, steps=3, worlds=7, size=4):
    """Gradients of steps and worlds whose spreads differ by orders of magnitude."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-3, 3, size=(2, steps, 1, size))
    return rng.normal(size=(2, steps, worlds, size)) * scale


# The mixture of every step --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variance", ["coordinate", "trace"])
@settings(deadline=None, max_examples=30)
@given(seeds)
def test_it_lies_between_its_inputs(variance, seed):
    first, zeroth = drawn(seed)
    mixed = gradest.per_step_mixture(first, zeroth, variance=variance)
    low, high = np.minimum(first, zeroth), np.maximum(first, zeroth)
    margin = 1e-12 * (np.abs(first) + np.abs(zeroth))
    assert ((low - margin <= mixed.gradient) & (mixed.gradient <= high + margin)).all()
    assert ((mixed.alpha >= 0) & (mixed.alpha <= 1)).all() and mixed.used.all()


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_its_steps_are_inverse_variance_gradients(seed):
    """The mean over worlds is that of ``inverse_variance_gradient``, a trace or a component at a time."""
    first, zeroth = drawn(seed)
    for variance, per_parameter in (("coordinate", True), ("trace", False)):
        mixed = gradest.per_step_mixture(first, zeroth, variance=variance)
        want = gradest.inverse_variance_gradient(first, zeroth, per_parameter=per_parameter)
        np.testing.assert_allclose(mixed.gradient.mean(1), want.gradient, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(mixed.alpha, want.alpha, rtol=1e-10)
        np.testing.assert_allclose(mixed.variance_first / first.shape[1], want.variance_first, rtol=1e-10)


def test_weights_are_0_and_1_in_the_limits():
    first, zeroth = drawn(3)
    calm = gradest.per_step_mixture(first * 0 + 2.0, zeroth)
    np.testing.assert_array_equal(calm.gradient, np.full_like(first, 2.0))
    with np.errstate(over="ignore"):
        wild = gradest.per_step_mixture(first * 1e200, zeroth)  # whose squares overflow
    np.testing.assert_array_equal(wild.alpha, 0)
    np.testing.assert_array_equal(wild.gradient, zeroth)
    same = gradest.per_step_mixture(first * 0 + 2.0, first * 0 + 4.0)
    np.testing.assert_array_equal(same.gradient, np.full_like(first, 3.0))


def test_it_is_unbiased_on_a_quadratic():
    """Within three standard errors: the bias of weights from the same samples is O(1/N), their error O(1/sqrt N)."""
    samples = 20_000
    first, zeroth, *_ = per_sample(0, samples)
    for variance in ("coordinate", "trace"):
        mixed = gradest.per_step_mixture(first, zeroth, variance=variance)
        error = mixed.gradient.std(0, ddof=1) / np.sqrt(samples)
        assert (np.abs(mixed.gradient.mean(0) - TRUTH) <= 3 * error).all()
        # It varies less than either would, were they independent: by 1 / (1 / v1 + 1 / v0) with errors of 10 %.
        spread = mixed.variance_first * mixed.variance_zeroth / (mixed.variance_first + mixed.variance_zeroth)
        assert (spread < mixed.variance_first).all() and (mixed.alpha > 0.5).all()


@pytest.mark.parametrize("fake", [np.inf, np.nan, -np.inf])
def test_gradients_that_are_not_finite(fake):
    first, zeroth = drawn(5)
    first[1, 2, 0] = fake
    strict = gradest.per_step_mixture(first, zeroth)
    np.testing.assert_array_equal(strict.gradient[1], zeroth[1])
    np.testing.assert_array_equal(strict.alpha[1], 0)
    masked = gradest.per_step_mixture(first, zeroth, nonfinite="mask")
    others = np.arange(7) != 2
    alone = gradest.per_step_mixture(first[1][others], zeroth[1][others])
    np.testing.assert_allclose(masked.variance_first[1], alone.variance_first, rtol=1e-12)
    np.testing.assert_array_equal(masked.gradient[1, 2], zeroth[1, 2])
    np.testing.assert_array_equal(masked.used, np.isfinite(first).all(-1))
    for step in (0, 2):
        np.testing.assert_allclose(strict.gradient[step], masked.gradient[step])
        assert (strict.alpha[step] > 0).all()


def test_a_long_gradient_is_left_out_alone():
    rng = np.random.default_rng(7)
    first, zeroth = rng.normal(size=(2, 1, 64, 2)) + 1.0
    first[0, 10] *= 1e6
    plain = gradest.per_step_mixture(first, zeroth)
    assert (plain.alpha < 1e-9).all()
    robust = gradest.per_step_mixture(first, zeroth, outliers=10.0)
    assert (robust.alpha > 0.3).all() and (~robust.used).sum() == 1
    np.testing.assert_array_equal(robust.gradient[0, 10], zeroth[0, 10])


def test_worlds_that_took_no_step_and_steps_that_are_not_trusted():
    first, zeroth = drawn(9, worlds=8)
    valid = np.arange(8) < 5
    first[:, 6] = np.nan
    mixed = gradest.per_step_mixture(first, zeroth, np.tile(valid, (3, 1)), np.array([True, False, True]))
    alone = gradest.per_step_mixture(first[:, valid], zeroth[:, valid])
    np.testing.assert_array_equal(mixed.gradient[:, ~valid], 0)
    np.testing.assert_allclose(mixed.gradient[::2, valid], alone.gradient[::2])
    np.testing.assert_array_equal(mixed.gradient[1, valid], zeroth[1, valid])
    few = gradest.per_step_mixture(first, zeroth, np.tile(np.arange(8) == 0, (3, 1)))
    np.testing.assert_array_equal(few.alpha, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variance": "sum"}, "variance is 'sum'; expected one of 'coordinate', 'trace'"),
        ({"nonfinite": "drop"}, "nonfinite is 'drop'; expected one of 'zero', 'mask'"),
        ({"outliers": 0.0}, r"outliers is 0.0; expected a number in \(0, inf\)"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        gradest.per_step_mixture(*drawn(0), **options)


@pytest.mark.parametrize(
    "call",
    [
        lambda g, f: gradest.per_step_mixture(g, g),
        lambda g, f: gradest.smoothness_test(g, f),
        lambda g, f: gradest.composite_gradient(g, g, f, sigma=1.0),
    ],
)
def test_one_world_has_no_variance(call):
    with pytest.raises(ValueError, match=r"first has shape \(1, 3\): 1 samples along axis -2; expected at least 2"):
        call(np.ones((1, 3)), np.ones(1))


# DDCG -----------------------------------------------------------------------------------------------------------------


def test_on_a_quadratic_both_sides_of_the_test_are_equal():
    """With v1 = tr((S H S)^2), |g|^2 = |S (b - H mu)|^2 and Var f = |g|^2 + v1 / 2, for S = diag(std)."""
    S, slope = np.diag(PROBLEM.std), PROBLEM.b - PROBLEM.H @ PROBLEM.mu
    v1, g = np.trace(np.linalg.matrix_power(S @ PROBLEM.H @ S, 2)), ((S @ slope) ** 2).sum()
    _, _, value, by_noise = per_sample(1, 200_000)
    test = gradest.smoothness_test(by_noise, value, slack=0.0)
    assert abs(test.variance_first / v1 - 1) < 0.02 and abs(test.least / v1 - 1) < 0.05
    assert abs(value.var() / (g + v1 / 2) - 1) < 0.02
    slack = gradest.smoothness_test(by_noise, value)
    np.testing.assert_allclose(test.least - slack.least, 0.6 * value.var(ddof=1), rtol=1e-9)
    assert slack.smooth and gradest.smoothness_test(by_noise, value, order="first").smooth


@pytest.mark.parametrize("order", ["second", "first"])
@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(-2, 2), min_size=2, max_size=4), st.floats(0.3, 2.0))
def test_continuous_functions_pass(order, weights, frequency):
    """Sums of a quadratic function, a wave and a kink, at the points of a quadrature."""
    eps, mass = np.polynomial.hermite_e.hermegauss(60)
    values = weights[0] * eps + weights[1] * np.sin(frequency * eps)
    slopes = weights[0] + weights[1] * frequency * np.cos(frequency * eps)
    mass = mass / mass.sum()
    mean, g = mass @ values, mass @ slopes
    variance, v1 = mass @ (values - mean) ** 2, mass @ (slopes - g) ** 2
    assert v1 + 2 * g**2 >= 2 * variance - 1e-9 and v1 + g**2 >= variance - 1e-9
    picked = np.random.default_rng(0).choice(60, p=mass, size=5_000)
    if variance > 1e-3:
        assert gradest.smoothness_test(slopes[picked, None], values[picked], order=order).smooth


@pytest.mark.parametrize("order", ["second", "first"])
def test_a_jump_is_seen(order):
    """The samples of a step function have slopes of 0: its whole variance, h^2 / 4, is left unexplained."""
    eps = np.random.default_rng(0).normal(size=(1_000, 1))
    jump, slope = (eps[:, 0] > 0) * 3.0, np.zeros_like(eps)
    test = gradest.smoothness_test(slope, jump, order=order)
    assert not test.smooth and test.variance_first == 0
    assert abs(test.least / ((2 if order == "second" else 1) * 0.7 * 9 / 4) - 1) < 0.01
    assert gradest.smoothness_test(slope + 3.0, jump + 3.0 * eps[:, 0], order=order, slack=1.0).smooth


def test_samples_of_two_slopes_are_smooth_to_first_order_only():
    """Worlds in two states, f = s eps with s = 1 or -1: g = 0 and v1 = Var f = 1, where Eq. 14 wants 2 (1 - c)."""
    rng = np.random.default_rng(2)
    slope, eps = rng.choice([-1.0, 1.0], size=(2_000, 1)), rng.normal(size=2_000)
    assert not gradest.smoothness_test(slope, slope[:, 0] * eps).smooth
    assert gradest.smoothness_test(slope, slope[:, 0] * eps, order="first").smooth


def test_samples_that_do_not_count_may_hold_anything():
    rng = np.random.default_rng(4)
    first, value, valid = rng.normal(size=(3, 9, 2)), rng.normal(size=(3, 9)), np.tile(np.arange(9) < 6, (3, 1))
    first[:, 7], value[:, 8] = np.nan, np.inf
    test = gradest.smoothness_test(first, value, valid)
    for got, want in zip(test, gradest.smoothness_test(first[:, :6], value[:, :6]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
    with pytest.raises(ValueError, match=r"first has shape .* and holds 6 NaN"):
        gradest.smoothness_test(first, value)


def test_the_composite_is_inverse_variance_where_the_test_passes_and_zeroth_order_elsewhere():
    rng, sigma = np.random.default_rng(3), 0.5
    x = 0.1 + sigma * (eps := rng.normal(size=(4_000, 1)))
    values = {"smooth": np.sin(x[:, 0]), "jump": np.sin(x[:, 0]) - 4.0 * (x[:, 0] > 0)}
    truth = {"smooth": np.cos(0.1) * np.exp(-(sigma**2) / 2)}
    truth["jump"] = truth["smooth"] - 4.0 * np.exp(-0.5 * (0.1 / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    for name, value in values.items():
        zeroth = (value - value.mean())[:, None] * eps / sigma
        got = gradest.composite_gradient(np.cos(x), zeroth, value, sigma=sigma)
        plain = gradest.inverse_variance_gradient(np.cos(x), zeroth)
        assert got.smooth == (name == "smooth")
        np.testing.assert_allclose(got.alpha, plain.alpha if got.smooth else 0.0)
        np.testing.assert_allclose(got.gradient, plain.gradient if got.smooth else zeroth.mean(0))
        np.testing.assert_allclose(got.variance_first, plain.variance_first)
        error = np.sqrt(got.alpha**2 * got.variance_first + (1 - got.alpha) ** 2 * got.variance_zeroth)
        assert abs(got.gradient[0] - truth[name]) <= 3 * error
        if name == "jump":  # which the inverse variances do not see: their weight is almost 1
            assert abs(plain.gradient[0] - truth[name]) > 10 * error


@pytest.mark.parametrize("options", [{"sigma": 0.0}, {"sigma": 1.0, "slack": 2.0}])
def test_ranges_are_checked(options):
    with pytest.raises(ValueError, match=r"(sigma is 0.0; expected a number in \(0|slack is 2.0; expected a number)"):
        gradest.composite_gradient(np.eye(3), np.eye(3), np.ones(3), **options)
