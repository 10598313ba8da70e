from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

from .quadratic import Quadratic, assert_unbiased

PROBLEM = Quadratic.example()


@pytest.fixture(scope="module")
def samples():
    eps = PROBLEM.noise(0)
    return eps, PROBLEM.score(eps), PROBLEM.reward(PROBLEM.action(eps))


def test_the_closed_form_is_the_derivative_of_the_objective():
    def objective(mu, log_std):
        return PROBLEM.c + PROBLEM.b @ mu - 0.5 * mu @ PROBLEM.H @ mu - 0.5 * np.diag(PROBLEM.H) @ np.exp(2 * log_std)

    theta = np.concatenate([PROBLEM.mu, PROBLEM.log_std])
    for i, truth in enumerate(PROBLEM.gradient()):
        step = 1e-5 * np.eye(len(theta))[i]
        plus, minus = objective(*np.split(theta + step, 2)), objective(*np.split(theta - step, 2))
        assert abs((plus - minus) / 2e-5 - truth) < 1e-8


def test_the_bound_is_tight_enough(samples):
    _, score, returns = samples
    estimates = gradest.likelihood_ratio_gradients(score, returns)
    with pytest.raises(AssertionError, match="standard errors"):
        assert_unbiased(estimates, PROBLEM.gradient() * 1.1)


@pytest.mark.parametrize("baseline", ["none", "value", "leave one out", "optimal", "optimal per parameter"])
def test_likelihood_ratio_gradients_are_unbiased(samples, baseline):
    _, score, returns = samples
    if baseline == "value":
        advantage = returns - (PROBLEM.c + 0.3)
    elif baseline == "leave one out":
        advantage = returns - gradest.leave_one_out_baseline(returns)
    elif baseline.startswith("optimal"):
        # from samples of their own, as those it is used on would bias it
        other = PROBLEM.noise(1)
        seen = PROBLEM.score(other), PROBLEM.reward(PROBLEM.action(other))
        each = gradest.optimal_baseline(*seen, per_parameter="per" in baseline)
        advantage = returns[:, None] - each if "per" in baseline else returns - each
    else:
        advantage = returns
    assert_unbiased(gradest.likelihood_ratio_gradients(score, advantage), PROBLEM.gradient())


def test_optimal_baselines_minimise_the_variance(samples):
    _, score, returns = samples

    def variance(baseline):
        advantage = returns[:, None] - baseline if np.ndim(baseline) else returns - baseline
        return gradest.likelihood_ratio_gradients(score, advantage).var(axis=0)

    one, each = gradest.optimal_baseline(score, returns), gradest.optimal_baseline(score, returns, per_parameter=True)
    least = variance(one).sum()
    for other in (0.0, returns.mean(), one + 0.1, one - 0.1):
        assert least < variance(float(other)).sum()
    assert (variance(each) <= variance(float(one)) * (1 + 1e-9)).all()
    for shift in (0.2, -0.2):
        assert (variance(each) < variance(each + shift)).all()


def test_optimal_baseline_without_any_score_is_the_mean():
    returns = np.array([1.0, 2.0, 6.0])
    assert gradest.optimal_baseline(np.zeros((3, 2)), returns) == 3.0
    assert gradest.optimal_baseline(np.zeros((3, 2)), returns, per_parameter=True).tolist() == [3.0, 3.0]


def test_leave_one_out_by_hand():
    assert gradest.leave_one_out_baseline(np.array([1.0, 2.0, 6.0])).tolist() == [4.0, 3.5, 1.5]
    with pytest.raises(ValueError, match=r"returns has shape \(1,\): 1 samples along axis -1; expected at least 2"):
        gradest.leave_one_out_baseline(np.ones(1))


def test_the_mean_of_all_as_baseline_shrinks_the_gradient_and_leave_one_out_does_not():
    """Batches of four samples, where the bias of the plain mean is a quarter of the gradient."""
    eps = PROBLEM.noise(2)
    score = PROBLEM.score(eps).reshape(-1, 4, 6)
    returns = PROBLEM.reward(PROBLEM.action(eps)).reshape(-1, 4)
    own = returns - returns.mean(1, keepdims=True)
    assert_unbiased((score * own[..., None]).mean(1), 0.75 * PROBLEM.gradient())
    others = np.stack([gradest.leave_one_out_baseline(row) for row in returns[:2000]])
    np.testing.assert_allclose(returns[:2000] - others, own[:2000] * 4 / 3)


def test_clipped_surrogate_by_hand():
    ratio = np.array([0.5, 1.0, 1.5, 0.5, 1.0, 1.5])
    advantage = np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0])
    # gains count up to 1.2, losses at least as 0.8
    want = np.array([0.5, 1.0, 1.2, -0.8, -1.0, -1.5]).mean()
    old = np.full(6, -0.3)
    assert np.isclose(gradest.clipped_surrogate(np.log(ratio) + old, old, advantage, clip=0.2), want, rtol=1e-15)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(0.01, 0.99))
def test_clipped_surrogate_is_its_formula(seed, clip):
    log_prob, old, advantage = np.random.default_rng(seed).normal(size=(3, 4, 5))
    ratio = np.exp(log_prob - old)
    want = np.minimum(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage).mean()
    np.testing.assert_allclose(gradest.clipped_surrogate(log_prob, old, advantage, clip=clip), want, rtol=1e-12)


@pytest.mark.parametrize("clip", [1.0, 3.0])
def test_a_clip_range_that_reaches_zero(clip):
    log_prob = np.array([-50.0, -2.0, 0.5, 3.0])
    advantage = np.array([-1.0, -1.0, -1.0, 1.0])
    ratio = np.exp(log_prob)
    want = np.minimum(ratio * advantage, np.clip(ratio, 1 - clip, 1 + clip) * advantage).mean()
    got = gradest.clipped_surrogate(log_prob, np.zeros(4), advantage, clip=clip)
    np.testing.assert_allclose(got, want, rtol=1e-14)


def test_a_gain_far_outside_the_range_is_finite():
    got = gradest.clipped_surrogate(np.array([2000.0]), np.array([0.0]), np.array([1.0]), clip=0.2)
    assert got == 1.2


@pytest.mark.parametrize("clip", [0.0, -0.1, np.nan, np.inf, "wide"])
def test_clip_is_positive(clip):
    with pytest.raises(ValueError, match=r"clip is .*; expected a number in \(0, inf\)"):
        gradest.clipped_surrogate(np.zeros(3), np.zeros(3), np.zeros(3), clip=clip)


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_virtual_policy_is_the_mean_of_the_densities(seed):
    old, alpha = np.random.default_rng(seed).normal(size=(2, 5, 4))
    got = gradest.virtual_log_prob(old, alpha)
    np.testing.assert_allclose(np.exp(got), (np.exp(old) + np.exp(alpha)) / 2, rtol=1e-13)


def test_virtual_policy_of_densities_beyond_all_numbers():
    got = gradest.virtual_log_prob(np.array([1e4, -1e4, -1e4]), np.array([0.0, -1e4, 0.0]))
    np.testing.assert_allclose(got, [1e4 - np.log(2), -1e4, -np.log(2)], rtol=1e-15)


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.t = pytest.importorskip("torch")

    def policy(self):
        mu, log_std = (self.t.tensor(x, requires_grad=True) for x in (PROBLEM.mu, PROBLEM.log_std))
        return mu, log_std

    def log_prob(self, mu, log_std, action):
        return self.t.distributions.Normal(mu, log_std.exp()).log_prob(action).sum(-1)

    def test_gradients_of_the_objective_are_means_of_the_samples(self):
        eps = PROBLEM.noise(3, 50)
        action = self.t.tensor(PROBLEM.action(eps))
        reward = self.t.tensor(PROBLEM.reward(PROBLEM.action(eps)))
        policy = self.policy()
        J = gradest.likelihood_ratio_objective(self.log_prob(*policy, action), reward)
        got = self.t.cat(self.t.autograd.grad(J, policy))
        want = gradest.likelihood_ratio_gradients(PROBLEM.score(eps), reward.numpy()).mean(0)
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("estimator", ["likelihood ratio", "surrogate", "reparameterised"])
    def test_per_sample_gradients_are_unbiased(self, estimator):
        """The policy's own log-density and sampling, differentiated by torch.func, against the closed form."""
        from gradest.torch import per_sample_gradients

        eps = self.t.tensor(PROBLEM.noise(4))
        H, b = self.t.tensor(PROBLEM.H), self.t.tensor(PROBLEM.b)
        params = {"mu": self.t.tensor(PROBLEM.mu), "log_std": self.t.tensor(PROBLEM.log_std)}

        def reward(action):
            return PROBLEM.c + action @ b - 0.5 * action @ H @ action

        def f(p, e):
            action = p["mu"] + p["log_std"].exp() * e
            if estimator == "reparameterised":
                return reward(action)
            action = action.detach()
            z = (action - p["mu"]) * (-p["log_std"]).exp()
            log_prob = -0.5 * (z * z).sum() - p["log_std"].sum()
            if estimator == "surrogate":
                return gradest.clipped_surrogate(log_prob, log_prob.detach(), reward(action), clip=0.2)
            return gradest.likelihood_ratio_objective(log_prob, reward(action))

        got = per_sample_gradients(f, params, eps).numpy()
        assert got.shape == (100_000, 6)
        assert_unbiased(got, PROBLEM.gradient())
        if estimator == "reparameterised":
            np.testing.assert_allclose(got[:100], PROBLEM.reparameterised(eps[:100].numpy()), rtol=1e-12, atol=1e-12)

    def test_surrogate_at_equal_policies_has_the_likelihood_ratio_gradient(self):
        eps = PROBLEM.noise(5, 40)
        action = self.t.tensor(PROBLEM.action(eps))
        advantage = self.t.tensor(PROBLEM.reward(action.numpy()))
        policy = self.policy()
        log_prob = self.log_prob(*policy, action)
        surrogate = gradest.clipped_surrogate(log_prob, log_prob.detach(), advantage, clip=0.2)
        plain = gradest.likelihood_ratio_objective(log_prob, advantage)
        got = self.t.autograd.grad(surrogate, policy, retain_graph=True)
        self.t.testing.assert_close(got, self.t.autograd.grad(plain, policy))

    def test_no_gradient_where_the_ratio_is_cut_however_far(self):
        log_prob = self.t.tensor([2000.0, 0.5, -2000.0, -0.5], requires_grad=True)
        advantage = self.t.tensor([1.0, 1.0, -1.0, -1.0])
        (grad,) = self.t.autograd.grad(
            gradest.clipped_surrogate(log_prob, self.t.zeros(4), advantage, clip=0.2), log_prob
        )
        assert grad.tolist() == [0.0, 0.0, 0.0, 0.0]
