"""V-trace and Retrace: their sums written out, what they are on policy, and that they find the values of a policy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

factor = st.floats(0.0, 1.0)
bound = st.floats(0.2, 3.0)
CLOSE = {"rtol": 1e-11, "atol": 1e-11}


def joined(w):
    """``value_next`` of the same value function as ``value``."""
    value_next = w.value_next.copy()
    value_next[:-1] = np.where(w.done[:-1], w.value_next[:-1], w.value[1:])
    return w._replace(value_next=value_next)


def called(function, w, log_ratio, **options):
    return function(w.reward, w.value, w.value_next, log_ratio, 0 * log_ratio, w.terminated, w.done, **options)


def one_step(w, t, n, gamma):
    return w.reward[t, n] + gamma * (0.0 if w.terminated[t, n] else w.value_next[t, n]) - w.value[t, n]


@settings(deadline=None, max_examples=30)
@given(data=st.data(), gamma=factor, lam=factor, rho_max=bound, c_max=bound, seed=st.integers(0, 2**32))
def test_equal_to_the_sums_of_the_papers(twin, windows, data, gamma, lam, rho_max, c_max, seed):
    w = data.draw(windows)
    log_ratio = np.random.default_rng(seed).normal(size=w.reward.shape)
    rho, c = np.minimum(rho_max, np.exp(log_ratio)), lam * np.minimum(c_max, np.exp(log_ratio))
    v, G = w.value.copy(), w.value.copy()
    steps, worlds = w.reward.shape
    for n in range(worlds):
        for t in range(steps):
            for k in range(twin.rest(w.done, t, n)):
                delta = gamma**k * one_step(w, t + k, n, gamma)
                v[t, n] += np.prod(c[t : t + k, n]) * rho[t + k, n] * delta  # IMPALA, Eq. 1
                G[t, n] += np.prod(c[t + 1 : t + k + 1, n]) * delta  # Munos et al., Eq. 3
    got = called(gradest.vtrace, w, log_ratio, gamma=gamma, lam=lam, rho_max=rho_max, c_max=c_max)
    np.testing.assert_allclose(got.target, v, **CLOSE)
    np.testing.assert_allclose(called(gradest.retrace, w, log_ratio, gamma=gamma, lam=lam, c_max=c_max), G, **CLOSE)
    for n in range(worlds):
        for t in range(steps):
            value = 0.0 if w.terminated[t, n] else w.value_next[t, n]
            if not (w.done[t, n] or t == steps - 1):
                value = (1 - lam) * value + lam * v[t + 1, n]
            want = rho[t, n] * (w.reward[t, n] + gamma * value - w.value[t, n])
            np.testing.assert_allclose(got.advantage[t, n], want, **CLOSE)


@settings(deadline=None, max_examples=30)
@given(data=st.data(), gamma=factor, lam=factor)
def test_on_policy_they_are_gae_and_td_lambda(windows, data, gamma, lam):
    w = data.draw(windows)
    same = np.zeros_like(w.reward)
    for bounds in ({}, {"rho_max": np.inf, "c_max": 7.0}):
        got = called(gradest.vtrace, w, same, gamma=gamma, lam=lam, **bounds)
        np.testing.assert_allclose(got.target - w.value, gradest.gae(*w, gamma=gamma, lam=lam), **CLOSE)
    G = called(gradest.retrace, w, same, gamma=gamma, lam=lam)
    np.testing.assert_allclose(G - w.value, gradest.gae(*w, gamma=gamma, lam=lam), **CLOSE)
    w = joined(w)
    returns = gradest.td_lambda(w.reward, w.value_next, w.terminated, w.done, gamma=gamma, lam=lam)
    got = called(gradest.vtrace, w, same, gamma=gamma, lam=lam)
    np.testing.assert_allclose(got.target, returns, **CLOSE)
    np.testing.assert_allclose(got.advantage, returns - w.value, **CLOSE)
    np.testing.assert_allclose(called(gradest.retrace, w, same, gamma=gamma, lam=lam), returns, **CLOSE)


PI, MU, GAMMA = np.array([0.8, 0.2]), np.array([0.3, 0.7]), 0.9
REWARD = np.array([[1.0, -1.0], [0.5, 2.0]])
"""Of two states and two actions; the action is the next state."""


def episodes(worlds, steps=12):
    rng = np.random.default_rng(0)
    action = (rng.random((steps, worlds)) > MU[0]).astype(int)
    state = np.concatenate([rng.integers(0, 2, (1, worlds)), action[:-1]])
    return state, action, np.log(PI)[action], np.log(MU)[action]


def value_of(policy):
    return np.linalg.solve(np.eye(2) - GAMMA * np.tile(policy, (2, 1)), REWARD @ policy)


def test_they_find_the_values_of_the_policy_that_did_not_act():
    """Two states, actions of ``mu``: the fixed points are V and Q of ``pi``, not those of ``mu``."""
    state, action, log_prob, log_prob_old = episodes(20_000)
    never, reward = np.zeros(state.shape, dtype=bool), REWARD[state, action]
    V, Q = np.zeros(2), np.zeros((2, 2))
    for _ in range(40):
        arrays = (log_prob, log_prob_old, never, never)
        v = gradest.vtrace(reward, V[state], V[action], *arrays, gamma=GAMMA, rho_max=np.inf).target
        V = np.array([v[state == s].mean() for s in (0, 1)])
        G = gradest.retrace(reward, Q[state, action], (Q @ PI)[action], *arrays, gamma=GAMMA)
        Q = np.array([[G[(state == s) & (action == a)].mean() for a in (0, 1)] for s in (0, 1)])
    true = value_of(PI)
    np.testing.assert_allclose(V, true, atol=0.1)
    np.testing.assert_allclose(Q, REWARD + GAMMA * true, atol=0.1)
    assert np.abs(value_of(MU) - true).min() > 1.0  # the test can tell


@pytest.mark.parametrize("name", ["rho_max", "c_max"])
@pytest.mark.parametrize("most", [0.0, -1.0, np.nan, None])
def test_bounds_are_positive(window, name, most):
    with pytest.raises(ValueError, match=rf"{name} is .*; expected a number in \(0, inf\]"):
        called(gradest.vtrace, window, np.zeros_like(window.reward), gamma=0.9, **{name: most})


def test_a_huge_ratio_does_not_overflow(window):
    got = called(gradest.vtrace, window, np.full_like(window.reward, 1e4), gamma=0.9)
    assert all(np.isfinite(x).all() for x in got)
    bounded = called(gradest.vtrace, window, np.zeros_like(window.reward), gamma=0.9)
    np.testing.assert_array_equal(got.target, bounded.target)
