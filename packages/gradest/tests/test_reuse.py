"""RPO's objective: several steps of a policy with the gradients of one window."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

from .quadratic import Quadratic, assert_unbiased

PROBLEM = Quadratic.example()
seeds = st.integers(0, 2**32)


def log_prob(u, mean, logstd):
    return -(0.5 * ((u - mean) / np.exp(logstd)) ** 2 + logstd + 0.5 * np.log(2 * np.pi)).sum(-1)


def by_torch(mean, logstd, *others):
    """The gradient of ``reused_objective`` with respect to mean and ``log sigma``."""
    torch = pytest.importorskip("torch")
    leaves = [torch.tensor(x, requires_grad=True) for x in (mean, logstd)]
    value = gradest.reused_objective(*leaves, *map(torch.tensor, others))
    return [x.numpy() for x in torch.autograd.grad(value, leaves)]


def draw(seed, step=0.3, worlds=6, actions=3):
    """A policy, actions of it with their gradients, and a policy near it."""
    rng = np.random.default_rng(seed)
    mean_old, gradient, eps, move = rng.normal(size=(4, 4, worlds, actions))
    logstd_old = rng.normal(size=actions)
    logstd = logstd_old + step * rng.normal(size=actions)
    u = mean_old + np.exp(logstd_old) * eps
    return mean_old, logstd_old, u, eps, gradient, mean_old + step * np.exp(logstd_old) * move, logstd


@settings(max_examples=20)
@given(seeds)
def test_the_policy_that_acted_gets_the_gradient_of_the_window(seed):
    """``mean g (dmu + eps sigma dlogsigma)``: RPO's first epoch is SHAC's."""
    mean, logstd, u, eps, gradient, *_ = draw(seed)
    noise = gradest.recovered_noise(u, mean, logstd)
    np.testing.assert_allclose(noise, eps, rtol=1e-9, atol=1e-9)
    now = log_prob(u, mean, logstd)
    weight = gradest.gated_ratio(now, now)
    assert (weight == 1).all()
    by_mean, by_logstd = by_torch(mean, logstd, noise, gradient, weight)
    np.testing.assert_allclose(by_mean, gradient / now.size, rtol=1e-12)
    np.testing.assert_allclose(by_logstd, (gradient * eps * np.exp(logstd)).sum((0, 1)) / now.size, rtol=1e-9)


@settings(max_examples=20)
@given(seeds, st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([1.0, 2.0, np.inf]))
def test_samples_out_of_range_have_exactly_no_gradient(seed, low, high):
    mean_old, logstd_old, u, _, gradient, mean, logstd = draw(seed, step=0.8)
    new, old = log_prob(u, mean, logstd), log_prob(u, mean_old, logstd_old)
    weight, ratio = gradest.gated_ratio(new, old, low=low, high=high), np.exp(new - old)
    outside = (ratio < low) | (ratio > high)
    assert (weight[outside] == 0).all()
    np.testing.assert_allclose(weight[~outside], ratio[~outside], rtol=1e-12)
    noise = gradest.recovered_noise(u, mean, logstd)
    # Whatever is stored there does not count.
    noise[outside], gradient[outside] = np.inf, np.nan
    by_mean, by_logstd = by_torch(mean, logstd, noise, gradient, weight)
    assert (by_mean[outside] == 0).all() and np.isfinite(by_mean).all() and np.isfinite(by_logstd).all()


@settings(max_examples=20)
@given(seeds, st.floats(0.1, 10.0))
def test_units_of_actions_do_not_matter(seed, unit):
    """Actions in other units: the same weights, noise and divergence, and the chain rule for the gradient."""
    mean_old, logstd_old, u, _, gradient, mean, logstd = draw(seed)
    shift = np.log(unit)
    pairs = [(mean_old, logstd_old, mean, logstd, u, gradient)]
    pairs += [(unit * mean_old, logstd_old + shift, unit * mean, logstd + shift, unit * u, gradient / unit)]
    results = []
    for m_old, s_old, m, s, actions, g in pairs:
        noise = gradest.recovered_noise(actions, m, s)
        weight = gradest.gated_ratio(log_prob(actions, m, s), log_prob(actions, m_old, s_old))
        by_mean, by_logstd = by_torch(m, s, noise, g, weight)
        results.append((noise, weight, gradest.gaussian_kl(m_old, s_old, m, s), m.std() * by_mean, by_logstd))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_the_ratio_makes_the_gradient_that_of_the_learned_policy():
    """On a quadratic reward, with the actions of a wider policy; the gradient without ratios is seen to be another."""
    old = Quadratic(PROBLEM.mu + 0.2, PROBLEM.log_std + 0.3, PROBLEM.H, PROBLEM.b, PROBLEM.c)
    action = old.action(old.noise(0))
    weight = gradest.gated_ratio(PROBLEM.log_prob(action), old.log_prob(action), low=0.0, high=np.inf)
    noise = gradest.recovered_noise(action, np.broadcast_to(PROBLEM.mu, action.shape), PROBLEM.log_std)
    gradient = PROBLEM.reward_gradient(action)
    each = np.concatenate([gradient, gradient * PROBLEM.std * noise], axis=1)
    assert_unbiased(weight[:, None] * each, PROBLEM.gradient())
    with pytest.raises(AssertionError, match="standard errors"):
        assert_unbiased(each, PROBLEM.gradient())
    # The mean of these estimates is what the objective has as its gradient.
    by_mean, by_logstd = by_torch(np.tile(PROBLEM.mu, (len(action), 1)), PROBLEM.log_std, noise, gradient, weight)
    mean = (weight[:, None] * each).mean(0)
    np.testing.assert_allclose(np.concatenate([by_mean.sum(0), by_logstd]), mean, rtol=1e-9)


def test_divergence_and_entropy_are_those_of_torch():
    torch = pytest.importorskip("torch")
    mean_old, logstd_old, *_, mean, logstd = draw(3)
    old, new = (
        torch.distributions.Independent(torch.distributions.Normal(torch.tensor(m), torch.tensor(np.exp(s))), 1)
        for m, s in ((mean_old, logstd_old), (mean, logstd))
    )
    kl = torch.distributions.kl_divergence(old, new).numpy()
    np.testing.assert_allclose(gradest.gaussian_kl(mean_old, logstd_old, mean, logstd), kl, rtol=1e-9)
    np.testing.assert_allclose(gradest.gaussian_entropy(logstd), new.entropy()[0, 0].numpy(), rtol=1e-12)


@settings(max_examples=20)
@given(seeds)
def test_the_divergence_is_zero_from_itself_alone(seed):
    mean_old, logstd_old, *_, mean, logstd = draw(seed)
    assert (gradest.gaussian_kl(mean_old, logstd_old, mean, logstd) > 0).all()
    np.testing.assert_allclose(gradest.gaussian_kl(mean, logstd, mean, logstd), 0.0, atol=1e-12)


def test_a_range_without_one_is_refused():
    zero = np.zeros(3)
    with pytest.raises(ValueError, match=r"^low is 1\.5; expected a number in \[0, 1\]"):
        gradest.gated_ratio(zero, zero, low=1.5)
    with pytest.raises(ValueError, match=r"^high is 0\.5; expected a number in \[1, inf\]"):
        gradest.gated_ratio(zero, zero, high=0.5)
