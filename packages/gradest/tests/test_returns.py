from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

factor = st.floats(0.0, 1.0)

# One world, gamma = 1/2: a step, a truncation, a step, a termination, a step at the edge of the window.
REWARD = np.array([[1.0], [2.0], [4.0], [8.0], [16.0]])
VALUE_NEXT = np.array([[100.0], [10.0], [200.0], [300.0], [20.0]])
TERMINATED = np.array([[False], [False], [False], [True], [False]])
DONE = np.array([[False], [True], [False], [True], [False]])


def test_discounted_returns_by_hand():
    got = gradest.discounted_returns(REWARD, DONE, gamma=0.5)
    np.testing.assert_array_equal(got, [[2.0], [2.0], [8.0], [8.0], [16.0]])


def test_bootstrapped_returns_by_hand():
    # Backwards: 16 + 20/2; 8 alone; 4 + 8/2; 2 + 10/2; 1 + 7/2.
    got = gradest.bootstrapped_returns(REWARD, VALUE_NEXT, TERMINATED, DONE, gamma=0.5)
    np.testing.assert_array_equal(got, [[4.5], [7.0], [8.0], [8.0], [26.0]])


def test_td_lambda_by_hand():
    # lam = 1/2. Where nothing ends: 4 + 1/2 (200/2 + 8/2) and 1 + 1/2 (100/2 + 7/2).
    got = gradest.td_lambda(REWARD, VALUE_NEXT, TERMINATED, DONE, gamma=0.5, lam=0.5)
    np.testing.assert_array_equal(got, [[27.75], [7.0], [56.0], [8.0], [26.0]])


@settings(deadline=None)
@given(data=st.data(), gamma=factor, lam=factor)
def test_equal_to_explicit_sums(twin, windows, data, gamma, lam):
    w = data.draw(windows)
    arrays = (w.reward, w.value_next, w.terminated, w.done)
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(
        gradest.discounted_returns(w.reward, w.done, gamma=gamma), twin.discounted_returns(w, gamma), **close
    )
    np.testing.assert_allclose(
        gradest.bootstrapped_returns(*arrays, gamma=gamma), twin.bootstrapped_returns(w, gamma), **close
    )
    np.testing.assert_allclose(gradest.td_lambda(*arrays, gamma=gamma, lam=lam), twin.td_lambda(w, gamma, lam), **close)


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_td_lambda_at_its_ends(windows, data, gamma):
    w = data.draw(windows)
    arrays = (w.reward, w.value_next, w.terminated, w.done)
    one_step = w.reward + gamma * np.where(w.terminated, 0.0, w.value_next)
    np.testing.assert_allclose(gradest.td_lambda(*arrays, gamma=gamma, lam=0.0), one_step, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(
        gradest.td_lambda(*arrays, gamma=gamma, lam=1.0),
        gradest.bootstrapped_returns(*arrays, gamma=gamma),
        rtol=1e-13,
        atol=1e-13,
    )


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_bootstrapping_with_zero_is_discounting(windows, data, gamma):
    w = data.draw(windows)
    got = gradest.bootstrapped_returns(w.reward, np.zeros_like(w.reward), w.terminated, w.done, gamma=gamma)
    np.testing.assert_array_equal(got, gradest.discounted_returns(w.reward, w.done, gamma=gamma))


def two_state_chain(steps: int, truncate_every: int | None = None):
    """A <-> B for ever, rewards 1 (from A) and -3 (from B), one world starting in each."""
    state = (np.arange(steps)[:, None] + np.array([0, 1])) % 2
    done = np.zeros((steps, 2), dtype=bool)
    if truncate_every:
        # A new episode starts in the state that the old one would have gone on to.
        done[truncate_every - 1 :: truncate_every] = True
    return state, np.array([1.0, -3.0])[state], done


@pytest.mark.parametrize("truncate_every", [None, 1, 3, 4])
@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
def test_value_learned_from_truncated_windows_is_the_infinite_horizon_value(truncate_every, lam):
    gamma, never = 0.9, np.zeros((10, 2), dtype=bool)
    truth = np.linalg.solve(np.eye(2) - gamma * np.array([[0.0, 1.0], [1.0, 0.0]]), [1.0, -3.0])
    state, reward, done = two_state_chain(10, truncate_every)

    def learn(terminated):
        value = np.zeros(2)
        for _ in range(200):
            target = gradest.td_lambda(reward, value[1 - state], terminated, done, gamma=gamma, lam=lam)
            value = np.array([target[state == s].mean() for s in (0, 1)])
        return value

    np.testing.assert_allclose(learn(never), truth, rtol=0, atol=1e-6)
    if truncate_every:
        # Calling the time limit a termination gives another value altogether: the test can tell.
        assert np.abs(learn(done) - truth).max() > 0.1


def test_a_truncated_window_has_the_infinite_horizon_value():
    gamma = 0.99
    truth = np.linalg.solve(np.eye(2) - gamma * np.array([[0.0, 1.0], [1.0, 0.0]]), [1.0, -3.0])
    state, reward, done = two_state_chain(32, truncate_every=5)
    never = np.zeros_like(done)
    got = gradest.bootstrapped_returns(reward, truth[1 - state], never, done, gamma=gamma)
    np.testing.assert_allclose(got, truth[state], rtol=0, atol=1e-6)


def test_value_of_a_terminated_state_never_enters(window):
    value_next = np.where(window.terminated, np.nan, window.value_next)
    kept = (window.reward, window.value_next, window.terminated, window.done)
    poisoned = (window.reward, value_next, window.terminated, window.done)
    assert np.isnan(value_next).any()
    for got, want in (
        (gradest.bootstrapped_returns(*poisoned, gamma=0.9), gradest.bootstrapped_returns(*kept, gamma=0.9)),
        (gradest.td_lambda(*poisoned, gamma=0.9, lam=0.8), gradest.td_lambda(*kept, gamma=0.9, lam=0.8)),
        (gradest.segment_objective(*poisoned, gamma=0.9), gradest.segment_objective(*kept, gamma=0.9)),
    ):
        np.testing.assert_array_equal(got, want)


def test_worlds_are_independent(window):
    reward = window.reward.copy()
    reward[3, 2] = np.nan
    others = [0, 1, 3, 4, 5]
    rest = (window.value_next, window.terminated, window.done)
    for lam in (0.0, 0.7, 1.0):
        sound = gradest.td_lambda(window.reward, *rest, gamma=0.9, lam=lam)
        with gradest.allow_nan():
            struck = gradest.td_lambda(reward, *rest, gamma=0.9, lam=lam)
        assert np.isnan(struck[3, 2])
        np.testing.assert_array_equal(struck[:, others], sound[:, others])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept_and_arguments_are_not_changed(window, dtype):
    arrays = tuple(x.astype(dtype) if x.dtype != bool else x.copy() for x in window)
    before = tuple(x.copy() for x in arrays)
    reward, value, value_next, terminated, done = arrays
    results = (
        gradest.discounted_returns(reward, done, gamma=0.9),
        gradest.bootstrapped_returns(reward, value_next, terminated, done, gamma=0.9),
        gradest.td_lambda(reward, value_next, terminated, done, gamma=0.9, lam=0.9),
        gradest.gae(reward, value, value_next, terminated, done, gamma=0.9, lam=0.9),
    )
    for result in results:
        assert result.dtype == dtype
        assert result.shape == reward.shape
    assert gradest.segment_objective(reward, value_next, terminated, done, gamma=0.9).dtype == dtype
    for array, kept in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, kept)
