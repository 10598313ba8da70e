"""Discounts and lambdas as arrays: a constant one is the number, and each entry weights what follows its step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

CLOSE = {"rtol": 1e-12, "atol": 1e-12}

# Every function that takes them, from a window and the two factors.
FUNCTIONS = {
    "discounted_returns": lambda w, g, k: gradest.discounted_returns(w.reward, w.done, gamma=g),
    "bootstrapped_returns": lambda w, g, k: gradest.bootstrapped_returns(*tail(w), gamma=g),
    "td_lambda": lambda w, g, k: gradest.td_lambda(*tail(w), gamma=g, lam=k),
    "gae": lambda w, g, k: gradest.gae(*w, gamma=g, lam=k),
    "n_step_returns": lambda w, g, k: gradest.n_step_returns(*tail(w), gamma=g, n=3),
    "n_step_transition": lambda w, g, k: np.stack(gradest.n_step_transition(w.reward, *tail(w)[2:], gamma=g)[:2]),
    "segment_objective": lambda w, g, k: gradest.segment_objective(*tail(w), gamma=g),
    "segment_discounted": lambda w, g, k: gradest.segment_discounted(w.reward, w.done, factor=g),
    "reparameterised_objective": lambda w, g, k: gradest.reparameterised_objective(*tail(w), gamma=g, lam=k),
    "vtrace": lambda w, g, k: np.stack(gradest.vtrace(*w[:3], *ratios(w), *w[3:], gamma=g, lam=k)),
    "retrace": lambda w, g, k: gradest.retrace(*w[:3], *ratios(w), *w[3:], gamma=g, lam=k),
}
every = pytest.mark.parametrize("name", FUNCTIONS)


def tail(w):
    return w.reward, w.value_next, w.terminated, w.done


def ratios(w):
    return 0.3 * w.value, 0.3 * w.reward


@every
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_constant_arrays_equal_numbers_bit_for_bit(window, name, dtype):
    # float32 rounds a number before it multiplies, so the number is one that float32 has
    w = type(window)(*(x if x.dtype == bool else x.astype(dtype) for x in window))
    g, k = (float(np.float32(x)) for x in (0.97, 0.83))
    want = FUNCTIONS[name](w, g, k)
    for shape in (w.reward.shape, (1, w.reward.shape[1]), (len(w.reward), 1), (1, 1)):
        got = FUNCTIONS[name](w, np.full(shape, g, dtype), np.full(shape, k, dtype))
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@settings(deadline=None, max_examples=30)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_equal_to_explicit_recursions(windows, data, seed):
    """rlax's form: ``discount_t`` and ``lambda_t`` stand before what comes after step ``t``."""
    w = data.draw(windows)
    gamma, lam = np.random.default_rng(seed).random((2, *w.reward.shape))
    steps, worlds = w.reward.shape
    G, A, n_step = np.zeros((steps, worlds)), np.zeros((steps, worlds)), np.zeros((steps, worlds))
    for n in range(worlds):
        for t in reversed(range(steps)):
            value = 0.0 if w.terminated[t, n] else w.value_next[t, n]
            last = w.done[t, n] or t == steps - 1
            after = value if last else (1 - lam[t, n]) * value + lam[t, n] * G[t + 1, n]
            G[t, n] = w.reward[t, n] + gamma[t, n] * after
            delta = w.reward[t, n] + gamma[t, n] * value - w.value[t, n]
            A[t, n] = delta + (0.0 if last else gamma[t, n] * lam[t, n] * A[t + 1, n])
            weight = 1.0
            for i in range(t, min(t + 3, steps)):
                n_step[t, n] += weight * w.reward[i, n]
                weight *= gamma[i, n]
                if w.done[i, n] or i == min(t + 2, steps - 1):
                    n_step[t, n] += 0.0 if w.terminated[i, n] else weight * w.value_next[i, n]
                    break
    np.testing.assert_allclose(gradest.td_lambda(*tail(w), gamma=gamma, lam=lam), G, **CLOSE)
    np.testing.assert_allclose(gradest.gae(*w, gamma=gamma, lam=lam), A, **CLOSE)
    np.testing.assert_allclose(gradest.n_step_returns(*tail(w), gamma=gamma, n=3), n_step, **CLOSE)


@settings(deadline=None, max_examples=30)
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_the_same_identities_hold_as_with_numbers(windows, data, seed):
    w = data.draw(windows)
    gamma, lam = np.random.default_rng(seed).random((2, *w.reward.shape))
    steps, starts = len(w.reward), gradest.segment_starts(w.done)
    whole = gradest.bootstrapped_returns(*tail(w), gamma=gamma)
    np.testing.assert_allclose(gradest.td_lambda(*tail(w), gamma=gamma, lam=1.0), whole, **CLOSE)
    np.testing.assert_allclose(gradest.n_step_returns(*tail(w), gamma=gamma, n=steps), whole, **CLOSE)
    np.testing.assert_allclose(gradest.segment_objective(*tail(w), gamma=gamma), np.mean(whole * starts), **CLOSE)
    G = gradest.td_lambda(*tail(w), gamma=gamma, lam=lam)
    objective = gradest.reparameterised_objective(*tail(w), gamma=gamma, lam=lam)
    np.testing.assert_allclose(objective, (G * starts).sum(0), **CLOSE)
    step = gradest.n_step_transition(w.reward, w.terminated, w.done, gamma=gamma)
    first = step.reward + step.discount * w.value_next[step.last, np.arange(w.reward.shape[1])]
    np.testing.assert_allclose(first, whole[0], **CLOSE)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (np.ones(3), r"gamma has shape \(3,\); expected \(17, 6\) like reward"),
        (np.ones((17, 5)), r"gamma has shape \(17, 5\); expected \(17, 6\) like reward"),
        (np.ones((6, 17)), r"gamma has shape \(6, 17\); expected \(17, 6\) like reward"),
        (np.ones((17, 6, 1)), r"gamma has shape \(17, 6, 1\); expected \(17, 6\) like reward"),
        (np.ones((17, 6), np.float32), "gamma has dtype float32; expected float64 like reward"),
        (np.full((17, 1), 1.5), r"gamma has shape \(17, 1\) and holds 17 numbers outside \[0, 1\], the first at \[0"),
        (np.full((1, 6), -0.1), r"gamma has shape \(1, 6\) and holds 6 numbers outside \[0, 1\]"),
        (np.full((17, 6), np.nan), r"gamma has shape \(17, 6\) and holds 102 NaN"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(window, factor, message):
    with pytest.raises(ValueError, match=message):
        gradest.td_lambda(*tail(window), gamma=factor, lam=0.9)
