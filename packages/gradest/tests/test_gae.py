from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

factor = st.floats(0.0, 1.0)


def test_by_hand():
    # gamma = lam = 1/2. TD errors: 1 + 6/2 - 2 = 2; 2 + 8/2 - 6 = 0, truncated; 4 - 12 = -8, terminated;
    # 8 + 4/2 - 2 = 8 at the edge of the window. Advantages: 2 + 0/4; 0; -8; 8.
    reward = np.array([[1.0], [2.0], [4.0], [8.0]])
    value = np.array([[2.0], [6.0], [12.0], [2.0]])
    value_next = np.array([[6.0], [8.0], [50.0], [4.0]])
    terminated = np.array([[False], [False], [True], [False]])
    done = np.array([[False], [True], [True], [False]])
    got = gradest.gae(reward, value, value_next, terminated, done, gamma=0.5, lam=0.5)
    np.testing.assert_array_equal(got, [[2.0], [0.0], [-8.0], [8.0]])


def test_errors_are_weighted_by_gamma_lambda():
    # No value, no ending, rewards 1: 1 + 1/8 (1 + 1/8).
    ones, zeros, never = np.ones((3, 1)), np.zeros((3, 1)), np.zeros((3, 1), dtype=bool)
    got = gradest.gae(ones, zeros, zeros, never, never, gamma=0.25, lam=0.5)
    np.testing.assert_array_equal(got, [[1.140625], [1.125], [1.0]])


@settings(deadline=None)
@given(data=st.data(), gamma=factor, lam=factor)
def test_equal_to_explicit_sums(twin, windows, data, gamma, lam):
    w = data.draw(windows)
    np.testing.assert_allclose(gradest.gae(*w, gamma=gamma, lam=lam), twin.gae(w, gamma, lam), rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_lambda_zero_is_the_td_error(windows, data, gamma):
    w = data.draw(windows)
    delta = w.reward + gamma * np.where(w.terminated, 0.0, w.value_next) - w.value
    np.testing.assert_array_equal(gradest.gae(*w, gamma=gamma, lam=0.0), delta)


@settings(deadline=None)
@given(data=st.data(), gamma=factor, lam=factor)
def test_advantage_plus_value_is_the_lambda_return(windows, data, gamma, lam):
    # The two agree where one value function serves both, that is where V(final_obs_t) = V(s_{t+1}).
    w = data.draw(windows)
    value_next = w.value_next.copy()
    value_next[:-1] = np.where(w.done[:-1], w.value_next[:-1], w.value[1:])
    tail = (value_next, w.terminated, w.done)
    np.testing.assert_allclose(
        gradest.gae(w.reward, w.value, *tail, gamma=gamma, lam=lam) + w.value,
        gradest.td_lambda(w.reward, *tail, gamma=gamma, lam=lam),
        rtol=1e-12,
        atol=1e-12,
    )
    np.testing.assert_allclose(
        gradest.gae(w.reward, w.value, *tail, gamma=gamma, lam=1.0) + w.value,
        gradest.bootstrapped_returns(w.reward, *tail, gamma=gamma),
        rtol=1e-12,
        atol=1e-12,
    )


def test_the_true_value_has_no_advantage():
    # One state, reward 1 for ever: V = 1 / (1 - gamma), whatever the window cuts.
    gamma = 0.95
    reward = np.ones((12, 3))
    value = reward / (1 - gamma)
    done = np.random.default_rng(0).random((12, 3)) < 0.3
    got = gradest.gae(reward, value, value, np.zeros_like(done), done, gamma=gamma, lam=0.9)
    np.testing.assert_allclose(got, 0.0, atol=1e-13)
