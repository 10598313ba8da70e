from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

factor = st.floats(0.0, 1.0)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def arrays(w):
    return w.reward, w.value_next, w.terminated, w.done


@settings(deadline=None)
@given(data=st.data(), gamma=factor, n=st.integers(1, 12))
def test_equal_to_explicit_sums(twin, windows, data, gamma, n):
    w = data.draw(windows)
    steps, worlds = w.reward.shape
    want = [[twin.k_step(w, t, i, min(n, twin.rest(w.done, t, i)), gamma) for i in range(worlds)] for t in range(steps)]
    np.testing.assert_allclose(gradest.n_step_returns(*arrays(w), gamma=gamma, n=n), want, **CLOSE)


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_one_step_is_td_zero_and_all_steps_are_lambda_one(windows, data, gamma):
    w = data.draw(windows)
    steps = len(w.reward)
    one = gradest.n_step_returns(*arrays(w), gamma=gamma, n=1)
    np.testing.assert_allclose(one, gradest.td_lambda(*arrays(w), gamma=gamma, lam=0.0), **CLOSE)
    for n in (steps, steps + 1, 10**6):
        every = gradest.n_step_returns(*arrays(w), gamma=gamma, n=n)
        np.testing.assert_allclose(every, gradest.td_lambda(*arrays(w), gamma=gamma, lam=1.0), **CLOSE)


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_all_steps_without_a_value_are_monte_carlo(windows, data, gamma):
    w = data.draw(windows)
    got = gradest.n_step_returns(w.reward, np.zeros_like(w.reward), w.terminated, w.done, gamma=gamma, n=len(w.reward))
    np.testing.assert_allclose(got, gradest.discounted_returns(w.reward, w.done, gamma=gamma), **CLOSE)


@settings(deadline=None)
@given(data=st.data(), gamma=factor, lam=factor)
def test_td_lambda_is_their_average(windows, data, gamma, lam):
    """SHAC's Eq. 7 with returns of all lengths; past a segment's end they stay the same, so the sum may run on."""
    w = data.draw(windows)
    steps = len(w.reward)
    each = [gradest.n_step_returns(*arrays(w), gamma=gamma, n=n) for n in range(1, steps + 1)]
    weights = [(1 - lam) * lam ** (n - 1) for n in range(1, steps)] + [lam ** (steps - 1)]
    want = sum(weight * G for weight, G in zip(weights, each, strict=True))
    np.testing.assert_allclose(gradest.td_lambda(*arrays(w), gamma=gamma, lam=lam), want, **CLOSE)


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None, "3", np.ones(2)])
def test_n_is_a_whole_number(window, n):
    with pytest.raises(ValueError, match=r"n is .*; expected a whole number of at least 1"):
        gradest.n_step_returns(*arrays(window), gamma=0.9, n=n)


def test_numpy_integers_serve(window):
    got = gradest.n_step_returns(*arrays(window), gamma=0.9, n=np.int64(3))
    np.testing.assert_array_equal(got, gradest.n_step_returns(*arrays(window), gamma=0.9, n=3))


@settings(deadline=None)
@given(data=st.data(), gamma=factor, temperature=st.floats(0.0, 3.0))
def test_soft_returns_are_saposs_sums(twin, windows, data, gamma, temperature):
    """SAPO's Eq. 10: rewards plus temperature times the entropy of the same step, and a soft value after them."""
    w = data.draw(windows)
    soft = gradest.soft_reward(w.reward, w.value, temperature=temperature)
    want = twin.bootstrapped_returns(w._replace(reward=w.reward + temperature * w.value), gamma)
    got = gradest.bootstrapped_returns(soft, w.value_next, w.terminated, w.done, gamma=gamma)
    np.testing.assert_allclose(got, want, **CLOSE)


def test_soft_values_of_a_maximum_entropy_chain():
    """One state for ever, reward 1 and entropy 2: the soft value is (1 + 2 temperature) / (1 - gamma)."""
    gamma, temperature = 0.9, 0.5
    V = (1 + 2 * temperature) / (1 - gamma)
    ones, never = np.ones((8, 3)), np.zeros((8, 3), dtype=bool)
    soft = gradest.soft_reward(ones, 2 * ones, temperature=temperature)
    for got in (
        gradest.td_lambda(soft, V * ones, never, never, gamma=gamma, lam=0.7),
        gradest.n_step_returns(soft, V * ones, never, never, gamma=gamma, n=3),
        V + gradest.gae(soft, V * ones, V * ones, never, never, gamma=gamma, lam=0.7),
    ):
        np.testing.assert_allclose(got, V, rtol=1e-13)
    # SAC's action value leaves the entropy of the present step out, which gives back V = Q + temperature H
    Q = gradest.td_lambda(soft, V * ones, never, never, gamma=gamma, lam=0.0) - temperature * 2
    np.testing.assert_allclose(Q, 1 + gamma * V, rtol=1e-13)


@pytest.mark.parametrize("temperature", [-0.1, np.nan, np.inf, None])
def test_temperature_is_not_negative(temperature):
    with pytest.raises(ValueError, match=r"temperature is .*; expected a number in \[0, inf\)"):
        gradest.soft_reward(np.ones((2, 2)), np.ones((2, 2)), temperature=temperature)


@settings(deadline=None)
@given(data=st.data(), gamma=factor, lam=factor)
def test_reparameterised_objective_is_the_sum_over_starts(windows, data, gamma, lam):
    w = data.draw(windows)
    G = gradest.td_lambda(*arrays(w), gamma=gamma, lam=lam)
    starts = gradest.segment_starts(w.done)
    got = gradest.reparameterised_objective(*arrays(w), gamma=gamma, lam=lam)
    np.testing.assert_allclose(got, (G * starts).sum(0), **CLOSE)
    # GI-PPO's loss has advantage plus value in its place, which is the same number
    if lam == 1.0:
        np.testing.assert_allclose(got.sum() / w.reward.size, gradest.segment_objective(*arrays(w), gamma=gamma))


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_a_transition_is_the_first_row_of_the_returns(twin, windows, data, gamma):
    w = data.draw(windows)
    steps, worlds = w.reward.shape
    got = gradest.n_step_transition(w.reward, w.terminated, w.done, gamma=gamma)
    np.testing.assert_array_equal(got.last, [twin.rest(w.done, 0, i) - 1 for i in range(worlds)])
    np.testing.assert_array_equal(
        got.discount == 0, w.terminated[got.last, range(worlds)] | (gamma ** (got.last + 1) == 0)
    )
    want = gradest.n_step_returns(*arrays(w), gamma=gamma, n=steps)[0]
    np.testing.assert_allclose(got.reward + got.discount * w.value_next[got.last, range(worlds)], want, **CLOSE)


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_what_follows_the_end_does_not_enter_a_transition(windows, data, gamma):
    w = data.draw(windows)
    got = gradest.n_step_transition(w.reward, w.terminated, w.done, gamma=gamma)
    later = np.arange(len(w.reward))[:, None] > got.last
    poisoned = np.where(later, np.nan, w.reward)
    again = gradest.n_step_transition(poisoned, w.terminated | later, w.done, gamma=gamma)
    for a, b in zip(got, again, strict=True):
        np.testing.assert_array_equal(a, b)
    entered = np.where(later, w.reward, np.nan)
    with pytest.raises(ValueError, match=r"^reward has shape .* NaN"):
        gradest.n_step_transition(entered, w.terminated, w.done, gamma=gamma)


@settings(deadline=None)
@given(data=st.data(), decay=factor)
def test_segment_discounted_counts_steps_since_the_start(windows, data, decay):
    w = data.draw(windows)
    got = gradest.segment_discounted(w.reward, w.done, factor=decay)
    for n in range(w.reward.shape[1]):
        k = 0
        for t in range(w.reward.shape[0]):
            np.testing.assert_allclose(got[t, n], decay**k * w.reward[t, n], **CLOSE)
            k = 0 if w.done[t, n] else k + 1


def test_a_temperature_may_be_a_scalar_array():
    reward, entropy = np.arange(6.0).reshape(3, 2), np.ones((3, 2))
    expected = gradest.soft_reward(reward, entropy, temperature=0.5)
    for temperature in (np.asarray(0.5), np.float64(0.5)):
        np.testing.assert_array_equal(gradest.soft_reward(reward, entropy, temperature=temperature), expected)
    with pytest.raises(ValueError, match="temperature"):
        gradest.soft_reward(reward, entropy, temperature=np.asarray([0.5]))
