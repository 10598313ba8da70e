from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

from .quadratic import Quadratic

PROBLEM = Quadratic.example()
seeds = st.integers(0, 10**6)


class TestMoments:
    def test_a_right_estimator_has_no_bias_and_a_wrong_one_its_own(self):
        gradients = PROBLEM.reparameterised(PROBLEM.noise(0))
        right = gradest.empirical_bias(gradients, PROBLEM.gradient())
        assert right.bias < 3 * right.standard_error
        wrong = gradest.empirical_bias(gradients, PROBLEM.gradient() + np.array([0, 0.4, 0, 0, 0.3, 0]))
        assert abs(wrong.bias - 0.5) < 3 * wrong.standard_error
        assert wrong.bias > 10 * wrong.standard_error

    def test_the_standard_error_is_the_length_of_the_noise(self):
        """Over many batches the squared distance of the mean from the truth averages to its square."""
        batches = PROBLEM.reparameterised(PROBLEM.noise(1)).reshape(1000, 100, 6)
        each = [gradest.empirical_bias(batch, PROBLEM.gradient()) for batch in batches]
        ratio = np.mean([e.bias**2 for e in each]) / np.mean([e.standard_error**2 for e in each])
        assert abs(ratio - 1) < 0.15

    def test_signal_to_noise_of_a_known_distribution(self):
        """N((3, 4), 2 I): 25 / 4 for a sample, N times that for the mean."""
        g = np.random.default_rng(2).normal(size=(200_000, 2)) * np.sqrt(2) + np.array([3.0, 4.0])
        assert abs(gradest.signal_to_noise(g) / 6.25 - 1) < 0.02
        one, mean = gradest.signal_to_noise(g[:50]), gradest.signal_to_noise(g[:50], of_mean=True)
        assert np.isclose(mean, 50 * one)
        assert gradest.signal_to_noise(np.ones((3, 2))) == np.inf

    @settings(deadline=None)
    @given(seeds, st.floats(0.0, 1.0))
    def test_variance_by_horizon_is_that_of_each_return(self, seed, gamma):
        g = np.random.default_rng(seed).normal(size=(6, 5, 3))
        want = []
        for h in range(1, 7):
            total = sum(gamma**t * g[t] for t in range(h))
            want.append(total.var(0, ddof=1).sum())
        np.testing.assert_allclose(gradest.variance_by_horizon(g, gamma=gamma), want, rtol=1e-10, atol=1e-12)

    def test_chaos_shows_as_a_straight_line_on_a_log_scale(self):
        """x' = 2 x: the sensitivity doubles with each step, the variance of its gradient grows fourfold."""
        rng = np.random.default_rng(3)
        g = 2.0 ** np.arange(30)[:, None, None] * rng.normal(size=(1, 500, 1))
        variance = gradest.variance_by_horizon(g, gamma=1.0)
        np.testing.assert_allclose(variance[11:] / variance[10:-1], 4.0, rtol=2e-3)

    def test_one_sample(self):
        for call in (
            lambda: gradest.signal_to_noise(np.ones((1, 2))),
            lambda: gradest.empirical_bias(np.ones((1, 2)), np.ones(2)),
            lambda: gradest.variance_by_horizon(np.ones((4, 1, 2)), gamma=0.9),
        ):
            with pytest.raises(ValueError, match=r"gradients has shape .*: 1 samples along axis"):
                call()


class TestDirections:
    @settings(deadline=None)
    @given(seeds, st.floats(-150, 150), st.floats(-150, 150))
    def test_cosines_do_not_depend_on_length(self, seed, p, q):
        a, b = np.random.default_rng(seed).normal(size=(2, 4, 3))
        want = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        np.testing.assert_allclose(gradest.cosine_similarity(10.0**p * a, 10.0**q * b), want, rtol=1e-9, atol=1e-12)

    def test_cosines_by_hand(self):
        a = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [2.0, 0.0]])
        b = np.array([[0.0, 3.0], [2.0, 2.0], [1.0, 1.0], [-1.0, 0.0]])
        np.testing.assert_allclose(gradest.cosine_similarity(a, b), [0.0, 1.0, 0.0, -1.0], atol=1e-15)
        with pytest.raises(ValueError, match=r"a has shape \(\); expected \[..., P\]"):
            gradest.cosine_similarity(np.array(1.0), np.array(1.0))

    def test_trust_ends_where_agreement_first_does(self):
        cosine = np.array([[1.0, 0.5, 1.0], [0.95, 1.0, 1.0], [0.2, 1.0, 0.9], [1.0, 1.0, 1.0]])
        assert gradest.horizon_of_trust(cosine).tolist() == [2, 0, 4]
        assert gradest.horizon_of_trust(cosine[:, 0], threshold=-1.0) == 4
        with pytest.raises(ValueError, match=r"threshold is 1.5; expected a number in \[-1, 1\]"):
            gradest.horizon_of_trust(cosine, threshold=1.5)


def objective(theta):
    """Any framework's arrays: cubic, so that the error of a central difference is known."""
    return (theta**3).sum() + 2 * theta[0] * theta[1]


def asarray(framework, x):
    if framework == "torch":
        return pytest.importorskip("torch").tensor(x)
    if framework == "jax":
        return pytest.importorskip("jax").numpy.asarray(x)
    return x


@pytest.mark.parametrize("framework", ["numpy", "torch", "jax"])
class TestLandscapes:
    theta = np.array([0.5, -1.0, 2.0])

    def test_differences(self, framework):
        theta = asarray(framework, self.theta)
        want = 3 * self.theta**2 + np.array([2 * self.theta[1], 2 * self.theta[0], 0.0])
        got = gradest.finite_difference_gradient(objective, theta)
        assert type(got) is type(theta)
        assert got.dtype == theta.dtype
        # JAX works in single precision here
        np.testing.assert_allclose(got, want, rtol=3e-3 if framework == "jax" else 1e-9)
        if framework != "jax":
            # the truncation error of x^3 is exactly eps^2
            got = gradest.finite_difference_gradient(objective, theta, eps=0.1)
            np.testing.assert_allclose(got, want + 0.01, rtol=1e-12)
            directions = asarray(framework, np.array([[1.0, 1.0, 0.0], [0.0, 0.0, -2.0]]))
            got = gradest.finite_difference_gradient(objective, theta, directions=directions)
            np.testing.assert_allclose(got, directions @ asarray(framework, want), rtol=1e-9)

    def test_directions_are_orthonormal_and_the_same_everywhere(self, framework):
        theta = asarray(framework, np.zeros(7))
        got = np.asarray(gradest.random_directions(np.random.default_rng(0), theta, count=3))
        np.testing.assert_allclose(got @ got.T, np.eye(3), atol=1e-6)
        want = gradest.random_directions(np.random.default_rng(0), np.zeros(7), count=3)
        np.testing.assert_allclose(got, want, atol=1e-6)

    def test_lines_and_planes(self, framework):
        theta = asarray(framework, self.theta)
        directions = asarray(framework, np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
        radii = [-1.0, 0.0, 0.5]
        line = gradest.landscape_line(objective, theta, directions[1, :], radii)
        plane = gradest.landscape_plane(objective, theta, directions, radii)
        want = [[objective(self.theta + np.array([r, 0.0, s])) for s in radii] for r in radii]
        np.testing.assert_allclose(plane, want, rtol=1e-6)
        np.testing.assert_allclose(line, want[1], rtol=1e-6)

    def test_errors(self, framework):
        theta = asarray(framework, self.theta)
        with pytest.raises(ValueError, match=r"f returned shape \(3,\); expected one number"):
            gradest.finite_difference_gradient(lambda x: x, theta)
        with pytest.raises(ValueError, match=r"f returned inf; expected a finite number"):
            gradest.finite_difference_gradient(lambda x: float("inf"), theta)
        with pytest.raises(ValueError, match=r"eps is 0.0; expected a number in \(0, inf\)"):
            gradest.finite_difference_gradient(objective, theta, eps=0.0)
        with pytest.raises(ValueError, match=r"count is 4; expected at most 3"):
            gradest.random_directions(np.random.default_rng(0), theta, count=4)
        with pytest.raises(ValueError, match=r"directions has shape \(3, 3\); expected \[2, P\]"):
            gradest.landscape_plane(objective, theta, asarray(framework, np.eye(3)), [0.0])
        assert np.isinf(np.asarray(gradest.landscape_line(lambda x: float("inf"), theta, theta, [0.0, 1.0]))).all()


def test_random_directions_do_not_prefer_any():
    """The mean over many seeds of d_i^2 is 1/P for every component."""
    d = np.stack([gradest.random_directions(np.random.default_rng(i), np.zeros(4), count=1)[0] for i in range(4000)])
    np.testing.assert_allclose((d**2).mean(0), 0.25, atol=0.02)
    np.testing.assert_allclose(d.mean(0), 0.0, atol=0.04)
