from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest
from gradest import AlphaController

from .quadratic import Quadratic, assert_unbiased

PROBLEM = Quadratic.example()
seeds = st.integers(0, 10**6)


def normal(x, mean=0.0, std=1.0):
    return np.exp(-0.5 * ((x - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))


class TestDeterminants:
    @settings(deadline=None)
    @given(seeds, st.floats(0.0, 0.5))
    def test_equal_to_the_eigenvalues(self, seed, alpha):
        root = np.random.default_rng(seed).normal(size=(4, 3, 3))
        hessian = root + np.swapaxes(root, -1, -2)
        want = np.prod(1 + alpha * np.linalg.eigvalsh(hessian), axis=-1)
        np.testing.assert_allclose(gradest.hessian_determinant(hessian, alpha=alpha), want, rtol=1e-9, atol=1e-12)

    @settings(deadline=None)
    @given(seeds)
    def test_closed_form_densities_and_hessian_are_one_number(self, seed):
        """A quadratic advantage moves a Gaussian to a Gaussian: all ways to the determinant give the same."""
        rng = np.random.default_rng(seed)
        curvature = rng.uniform(-0.8, 2.0, size=3)  # a diagonal Hessian keeps the components apart
        mean, std, eps = rng.normal(size=3), rng.uniform(0.2, 2.0, size=3), rng.normal(size=(5, 3))
        action = mean + std * eps
        alpha = 0.7
        moved = gradest.alpha_policy_target(action, curvature * action + 0.3, alpha=alpha)
        spread = (1 + alpha * curvature) * std
        centre = (1 + alpha * curvature) * mean + 0.3 * alpha
        np.testing.assert_allclose(moved, centre + spread * eps, rtol=1e-10, atol=1e-12)
        want = gradest.hessian_determinant(np.diag(curvature)[None] * np.ones((5, 1, 1)), alpha=alpha)
        ones = np.ones((5, 3))
        np.testing.assert_allclose(gradest.gaussian_determinant(spread * ones, std * ones), want, rtol=1e-12)
        old, new = (np.log(normal(*x)).sum(-1) for x in ((action, mean, std), (moved, centre, spread)))
        np.testing.assert_allclose(gradest.density_determinant(new, old), want, rtol=1e-9)
        np.testing.assert_allclose(gradest.alpha_policy_log_prob(old, want), new, rtol=1e-9, atol=1e-9)

    def test_many_components_do_not_overflow(self):
        std = np.full((1, 2000), 1e200)
        assert gradest.gaussian_determinant(std, std) == 1.0

    def test_below_the_largest_alpha_the_map_keeps_order_and_above_it_folds(self):
        """Ackley's function in one dimension, whose curvature changes sign."""
        x = np.linspace(-3, 3, 4001)
        x = x[np.abs(x) > 1e-9]
        slope, hessian = -ackley_slope(x), -ackley_curvature(x)[:, None, None]
        limit = float(gradest.largest_alpha(hessian))
        for factor, one_to_one in ((0.98, True), (1.5, False)):
            moved = gradest.alpha_policy_target(x[:, None], slope[:, None], alpha=factor * limit)[:, 0]
            # each side of the cusp by itself
            assert all(bool((np.diff(part) > 0).all()) == one_to_one for part in (moved[x < 0], moved[x > 0]))
            assert bool((gradest.hessian_determinant(hessian, alpha=factor * limit) > 0).all()) == one_to_one

    def test_no_limit_where_nothing_curves_down(self):
        assert gradest.largest_alpha(np.eye(2)[None]) == np.inf
        assert gradest.largest_alpha(np.diag([3.0, -4.0])[None]) == 0.25

    @pytest.mark.parametrize("alpha", [0.1, 0.4])
    def test_mass_is_conserved(self, alpha):
        """Lemma 4.2 by numerical integration: A(a) = sin(2 a) - a^2 / 2 under a standard normal policy."""
        a = np.linspace(-9, 9, 200_001)
        slope, curvature = 2 * np.cos(2 * a) - a, -4 * np.sin(2 * a) - 1
        alpha = alpha * float(gradest.largest_alpha(curvature[:, None, None]))
        moved = gradest.alpha_policy_target(a[:, None], slope[:, None], alpha=alpha)[:, 0]
        determinant = gradest.hessian_determinant(curvature[:, None, None], alpha=alpha)
        density = np.exp(gradest.alpha_policy_log_prob(np.log(normal(a)), determinant))
        assert abs(np.trapezoid(density, moved) - 1) < 1e-8
        inside = (a > -1) & (a < 0.5)
        want = np.trapezoid(normal(a[inside]), a[inside])
        assert abs(np.trapezoid(density[inside], moved[inside]) - want) < 1e-8

    def test_a_small_step_is_better_and_the_gain_is_alpha_times_the_squared_gradient(self):
        """Proposition 4.3 on the quadratic problem, where both sides have closed forms."""
        eps = PROBLEM.noise(0)
        action = PROBLEM.action(eps)
        slope = PROBLEM.reward_gradient(action)
        for alpha in (1e-3, 1e-4):
            moved = gradest.alpha_policy_target(action, slope, alpha=alpha)
            gain = (PROBLEM.reward(moved) - PROBLEM.reward(action)).mean()
            np.testing.assert_allclose(gain, alpha * (slope**2).sum(-1).mean(), rtol=30 * alpha)


def ackley(x):
    """Ackley's function of one variable (GI-PPO, 7.5.1)."""
    return -20 * np.exp(-0.2 * np.abs(x)) - np.exp(np.cos(2 * np.pi * x)) + 20 + np.e


def ackley_slope(x):
    wave = 2 * np.pi * np.sin(2 * np.pi * x) * np.exp(np.cos(2 * np.pi * x))
    return 4 * np.sign(x) * np.exp(-0.2 * np.abs(x)) + wave


def ackley_curvature(x):
    """Away from the cusp at zero."""
    inner = np.cos(2 * np.pi * x) - np.sin(2 * np.pi * x) ** 2
    return -0.8 * np.exp(-0.2 * np.abs(x)) + 4 * np.pi**2 * inner * np.exp(np.cos(2 * np.pi * x))


FUNCTIONS = {
    "De Jong": (lambda x: 2 * x, lambda x: 2 + 0 * x),
    "Ackley": (ackley_slope, ackley_curvature),
}


class TestFigure1:
    """GI-PPO, Figure 1: alpha-policies of a Gaussian on De Jong's and Ackley's functions, negated."""

    mean, std = 0.6, 0.8

    @pytest.mark.parametrize(
        ("name", "alpha"), [("De Jong", 0.1), ("De Jong", 0.3), ("Ackley", 1e-3), ("Ackley", 2e-3)]
    )
    def test_densities_are_those_of_moved_samples(self, name, alpha):
        slope, curvature = FUNCTIONS[name]
        a = np.linspace(-5, 6, 400_001)
        a = a[np.abs(a) > 1e-9]
        log_prob = np.log(normal(a, self.mean, self.std))
        moved = gradest.alpha_policy_target(a[:, None], -slope(a)[:, None], alpha=alpha)[:, 0]
        determinant = gradest.hessian_determinant(-curvature(a)[:, None, None], alpha=alpha)
        density = np.exp(gradest.alpha_policy_log_prob(log_prob, determinant))
        drawn = self.mean + self.std * np.random.default_rng(0).normal(size=(400_000, 1))
        drawn = gradest.alpha_policy_target(drawn, -slope(drawn), alpha=alpha)[:, 0]
        for low in np.arange(0.1, 1.6, 0.05):
            inside = (moved >= low) & (moved < low + 0.05)
            share = np.trapezoid(density[inside], moved[inside])
            got = ((drawn >= low) & (drawn < low + 0.05)).mean()
            assert abs(got - share) < 4 * np.sqrt(share / len(drawn)) + 2e-5

    def test_de_jong_stays_a_gaussian(self):
        a = np.linspace(-3, 3, 101)
        for alpha in (0.1, 0.3):
            determinant = gradest.hessian_determinant(np.full((101, 1, 1), -2.0), alpha=alpha)
            got = gradest.alpha_policy_log_prob(np.log(normal(a, self.mean, self.std)), determinant)
            want = normal((1 - 2 * alpha) * a, (1 - 2 * alpha) * self.mean, (1 - 2 * alpha) * self.std)
            np.testing.assert_allclose(np.exp(got), want, rtol=1e-12)

    def test_ackley_folds_at_its_cusp_for_any_alpha_and_nowhere_else(self):
        """What the paper sees at 2e-3: actions from either side of zero, whose slopes jump by 8, change places."""
        beside = np.array([-1e-6, 1e-6])
        x = np.linspace(1e-6, 5, 10_001)
        for alpha in (1e-3, 2e-3):
            moved = gradest.alpha_policy_target(beside[:, None], -ackley_slope(beside)[:, None], alpha=alpha)[:, 0]
            np.testing.assert_allclose(moved[0] - moved[1], 8 * alpha, rtol=1e-2)
            right = gradest.alpha_policy_target(x[:, None], -ackley_slope(x)[:, None], alpha=alpha)[:, 0]
            assert (np.diff(right) > 0).all()


class TestMeasures:
    def test_out_of_range_by_hand(self):
        ratio = np.array([0.79, 0.81, 1.0, 1.19, 1.21])
        assert gradest.out_of_range_ratio(np.log(ratio), np.zeros(5), clip=0.2) == 0.4
        assert gradest.out_of_range_ratio(np.log(ratio), np.zeros(5), clip=1.0) == 0.0
        # far outside all numbers
        assert gradest.out_of_range_ratio(np.array([2000.0, -2000.0]), np.zeros(2), clip=0.2) == 1.0

    def test_additional_return_is_unbiased(self):
        """Samples of one Gaussian, the return of another."""
        eps = PROBLEM.noise(1)
        action = PROBLEM.action(eps)
        advantage = PROBLEM.reward(action)
        other = Quadratic(PROBLEM.mu + 0.1, PROBLEM.log_std - 0.1, PROBLEM.H, PROBLEM.b, PROBLEM.c)

        def expected(p):
            return p.c + p.b @ p.mu - 0.5 * p.mu @ p.H @ p.mu - 0.5 * np.diag(p.H) @ p.std**2

        log_prob, old = other.log_prob(action), PROBLEM.log_prob(action)
        truth = expected(other) - expected(PROBLEM)
        ratio = np.exp(log_prob - old)
        assert_unbiased(((ratio - 1) * advantage)[:, None], np.array([truth]))
        assert np.isclose(gradest.additional_return(log_prob, old, advantage), ((ratio - 1) * advantage).mean())
        letter = gradest.additional_return(log_prob, old, advantage, centred=False)
        assert np.isclose(letter, (ratio * advantage).mean())

    def test_no_single_sample_decides(self):
        got = gradest.additional_return(np.array([3000.0, 0.0]), np.zeros(2), np.ones(2))
        assert np.isclose(got, np.expm1(16.0) / 2)


class TestLemma46:
    """The reparameterised gradient is the first step towards the alpha-policy."""

    def test_by_hand(self):
        eps = PROBLEM.noise(2, 1000)
        action = PROBLEM.action(eps)
        target = gradest.alpha_policy_target(action, PROBLEM.reward_gradient(action), alpha=0.01)
        by_action = 2 * (action - target)  # of one sample's loss
        got = np.concatenate([by_action, by_action * PROBLEM.std * eps], axis=1)
        np.testing.assert_allclose(got, -2 * 0.01 * PROBLEM.reparameterised(eps), rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("framework", ["torch", "jax"])
    @pytest.mark.parametrize("alpha", [1.0, 0.3])
    def test_of_a_state_dependent_policy(self, framework, alpha):
        """Random state-dependent Gaussian policies and a nonlinear advantage, by automatic differentiation."""
        rng = np.random.default_rng(5)
        s, eps = rng.normal(size=(2, 20, 3))
        theta = 0.5 * rng.normal(size=(2, 3, 3))
        if framework == "torch":
            xp = pytest.importorskip("torch")
            s, eps, theta = xp.tensor(s), xp.tensor(eps), xp.tensor(theta, requires_grad=True)

            def grad(f, x):
                x = x.detach().requires_grad_()
                return xp.autograd.grad(f(x), x)[0]
        else:
            jax = pytest.importorskip("jax")
            xp = jax.numpy

            def grad(f, x):
                return jax.grad(f)(xp.asarray(x))

        def action(theta):
            return xp.tanh(s @ theta[0]) + xp.exp(0.3 * xp.sin(s @ theta[1])) * eps

        def advantage(a):
            return (xp.sin(a) - 0.2 * a**3 + a[:, :1] * a[:, 1:2]).sum(-1)

        taken = action(theta)
        taken = taken.detach() if framework == "torch" else taken
        by_action = grad(lambda a: advantage(a).sum(), taken)
        target = gradest.alpha_policy_target(taken, by_action, alpha=alpha)
        first_step = grad(lambda p: gradest.alpha_policy_loss(action(p), target), theta)
        reparameterised = grad(lambda p: advantage(action(p)).mean(), theta)
        tolerance = 1e-12 if framework == "torch" else 1e-4  # JAX in its own single precision
        np.testing.assert_allclose(first_step, -2 * alpha * reparameterised, rtol=tolerance, atol=tolerance)


GOOD = {"determinant": (0.9, 1.1), "additional_return": 0.5, "out_of_range": 0.1}


class TestController:
    def test_grows_to_its_limit(self):
        controller = AlphaController(alpha_init=0.5, factor=1.5)
        state = controller.init()
        assert (state.alpha, state.reason) == (0.5, "start")
        alphas = []
        for _ in range(3):
            state = controller.update(state, **GOOD)
            alphas.append(state.alpha)
        assert alphas == [0.75, 1.0, 1.0]
        assert state.reason == "grew"

    @pytest.mark.parametrize(
        ("measured", "reason"),
        [
            ({"determinant": (0.59, 1.1)}, "determinant"),
            ({"determinant": (0.9, 1.41)}, "determinant"),
            ({"additional_return": -1e-9}, "bias"),
            ({"out_of_range": 0.51}, "out of range"),
            ({"determinant": (np.nan, 1.0)}, "not finite"),
            ({"additional_return": np.inf}, "not finite"),
            ({"out_of_range": np.nan}, "not finite"),
        ],
    )
    def test_each_rule_shrinks_it(self, measured, reason):
        controller = AlphaController(alpha_init=0.5, factor=2.0)
        state = controller.update(controller.init(), **{**GOOD, **measured})
        assert (state.alpha, state.reason) == (0.25, reason)
        # and it recovers
        assert controller.update(state, **GOOD).alpha == 0.5

    def test_on_the_edge_nothing_fails(self):
        controller = AlphaController(alpha_init=0.25, factor=2.0, delta_det=0.5)
        state = controller.update(controller.init(), determinant=(0.5, 1.5), additional_return=0.0, out_of_range=0.5)
        assert state.alpha == 0.5

    def test_the_least_alpha(self):
        controller = AlphaController(alpha_init=0.5, factor=10.0, alpha_min=0.2)
        bad = {**GOOD, "additional_return": -1.0}
        assert controller.update(controller.init(), **bad).alpha == 0.2

    def test_zscore_rule_waits_for_what_is_unusual(self):
        controller = AlphaController(alpha_init=0.5, factor=2.0, alpha_max=1e6, bias_rule="zscore")
        state, seen = controller.init(), [1.0, -1.0, 0.5, -0.5, -0.9, -4.0]
        reasons = []
        for gain in seen:
            state = controller.update(state, **{**GOOD, "additional_return": gain})
            reasons.append(state.reason)
        z = [(g - np.mean(seen[:i])) / np.std(seen[:i], ddof=1) if i > 1 else 0.0 for i, g in enumerate(seen)]
        assert reasons == ["bias" if g < 0 and score < -1 else "grew" for g, score in zip(seen, z, strict=True)]
        assert "bias" in reasons[4:]
        assert np.isclose(state.mean, np.mean(seen))
        assert np.isclose(state.square, np.var(seen) * len(seen))

    def test_state_is_json_and_resumes(self):
        controller = AlphaController(alpha_init=0.1)
        state = controller.init()
        for gain in (0.3, -0.2, 0.7):
            state = controller.update(state, **{**GOOD, "additional_return": gain})
        again = type(state)(*json.loads(json.dumps(state)))
        assert controller.update(again, **GOOD) == controller.update(state, **GOOD)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"alpha_init": 0.0}, r"alpha_init is 0.0; expected a number in \(0, inf\)"),
            ({"alpha_init": 2.0}, r"alpha_init is 2.0; expected a number from alpha_min \(0.0\) to alpha_max \(1.0\)"),
            ({"factor": 1.0}, r"factor is 1.0; expected a number in \(1, inf\)"),
            ({"delta_oorr": 1.5}, r"delta_oorr is 1.5; expected a number in \[0, 1\]"),
            ({"delta_det": -0.1}, r"delta_det is -0.1"),
            ({"bias_rule": "mean"}, r"bias_rule is 'mean'; expected one of 'sign', 'zscore'"),
        ],
    )
    def test_options_are_checked(self, options, message):
        with pytest.raises(ValueError, match=message):
            AlphaController(**{"alpha_init": 0.1, **options})


def test_a_negative_alpha_is_refused():
    with pytest.raises(ValueError, match=r"alpha is -0.1; expected a number in \[0, inf\)"):
        gradest.alpha_policy_target(np.ones((2, 1)), np.ones((2, 1)), alpha=-0.1)
