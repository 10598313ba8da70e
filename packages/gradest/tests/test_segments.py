from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

factor = st.floats(0.0, 1.0)


def shac_objective(reward, value_next, terminated, done, gamma):
    """Eq. 5 of SHAC as its text describes it, world by world: walk along the window with a running
    discount; where an episode ends or the window does, add the discounted value and start afresh."""
    steps, worlds = reward.shape
    total = 0.0
    for n in range(worlds):
        discount = 1.0
        for t in range(steps):
            total += discount * reward[t, n]
            discount *= gamma
            if done[t, n] or t == steps - 1:
                if not terminated[t, n]:
                    total += discount * value_next[t, n]
                discount = 1.0
    return total / (steps * worlds)


def test_starts_by_hand():
    done = np.array([[False, True], [True, True], [False, False], [False, True]])
    got = gradest.segment_starts(done)
    assert got.dtype == bool
    np.testing.assert_array_equal(got, [[True, True], [False, True], [True, True], [False, False]])


@settings(deadline=None)
@given(data=st.data())
def test_every_segment_starts_once(windows, data):
    done = data.draw(windows).done
    starts = gradest.segment_starts(done)
    assert starts[0].all()
    # The last step's own end opens no segment inside this window.
    np.testing.assert_array_equal(starts.sum(axis=0), 1 + done[:-1].sum(axis=0))


def test_objective_by_hand():
    # gamma = 1/2, two worlds of three steps. World 0: (1 + 2/2 + 8/4) truncated, then (4 + 16/2).
    # World 1: (3), terminated, then (5 + 7/2), terminated at the edge.
    reward = np.array([[1.0, 3.0], [2.0, 5.0], [4.0, 7.0]])
    value_next = np.array([[90.0, 91.0], [8.0, 92.0], [16.0, 93.0]])
    terminated = np.array([[False, True], [False, False], [False, True]])
    done = np.array([[False, True], [True, False], [False, True]])
    got = gradest.segment_objective(reward, value_next, terminated, done, gamma=0.5)
    assert got == (4.0 + 12.0 + 3.0 + 8.5) / 6


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_objective_is_the_papers_loop(windows, data, gamma):
    w = data.draw(windows)
    arrays = (w.reward, w.value_next, w.terminated, w.done)
    got = gradest.segment_objective(*arrays, gamma=gamma)
    np.testing.assert_allclose(got, shac_objective(*arrays, gamma), rtol=1e-12, atol=1e-13)


def test_objective_with_several_segments_per_world(window):
    arrays = (window.reward, window.value_next, window.terminated, window.done)
    assert (window.done[:-1].sum(axis=0) >= 2).any()
    got = gradest.segment_objective(*arrays, gamma=0.97)
    assert abs(got - shac_objective(*arrays, 0.97)) <= 1e-12


@settings(deadline=None)
@given(data=st.data(), gamma=factor)
def test_objective_is_the_mean_of_returns_at_starts(windows, data, gamma):
    w = data.draw(windows)
    arrays = (w.reward, w.value_next, w.terminated, w.done)
    want = np.mean(gradest.bootstrapped_returns(*arrays, gamma=gamma) * gradest.segment_starts(w.done))
    np.testing.assert_allclose(gradest.segment_objective(*arrays, gamma=gamma), want, rtol=1e-12, atol=1e-13)


def test_a_terminated_step_counts_as_done(window):
    reward, value, value_next, terminated, done = window
    only_truncated = done & ~terminated
    assert (only_truncated != done).any()
    for f in (gradest.bootstrapped_returns, gradest.segment_objective):
        want = f(reward, value_next, terminated, done, gamma=0.9)
        np.testing.assert_array_equal(f(reward, value_next, terminated, only_truncated, gamma=0.9), want)
    for lam in (0.0, 0.6, 1.0):
        np.testing.assert_array_equal(
            gradest.td_lambda(reward, value_next, terminated, only_truncated, gamma=0.9, lam=lam),
            gradest.td_lambda(reward, value_next, terminated, done, gamma=0.9, lam=lam),
        )
        np.testing.assert_array_equal(
            gradest.gae(reward, value, value_next, terminated, only_truncated, gamma=0.9, lam=lam),
            gradest.gae(reward, value, value_next, terminated, done, gamma=0.9, lam=lam),
        )
