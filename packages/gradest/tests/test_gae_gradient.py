"""GI-PPO's Eq. 15: one backward pass against one for each step, on closed loops with ends inside the window."""

from __future__ import annotations

import numpy as np
import pytest

import gradest

T, N, M = 9, 4, 2
GAMMA, LAM = 0.95, 0.8
rng = np.random.default_rng(23)
START, NOISE = rng.normal(size=(N, 3)), rng.normal(size=(T, N, M))
A, B, K, W = (0.5 * rng.normal(size=shape) for shape in ((3, 3), (M, 3), (3, M), (3,)))
TERMINATED = np.zeros((T, N), dtype=bool)
TRUNCATED = np.zeros((T, N), dtype=bool)
TERMINATED[2, 0] = TERMINATED[5, 1] = TERMINATED[8, 1] = True
TRUNCATED[4, 0] = TRUNCATED[3, 2] = True
DONE = TERMINATED | TRUNCATED


def roll_out(xp, asarray, offset, worlds=None):
    """Advantages of a nonlinear system under a state-dependent Gaussian policy; ended worlds start anew."""
    pick = slice(None) if worlds is None else worlds
    start, noise, a, b, k, w = (asarray(x) for x in (START[pick], NOISE[:, pick], A, B, K, W))
    terminated, done = asarray(TERMINATED[:, pick]), asarray(DONE[:, pick])
    s, actions, reward, value, value_next = start, [], [], [], []

    def V(s):
        return xp.sin(s @ w)

    for t in range(T):
        mean = xp.tanh(s @ k)
        action = mean + (0.3 + 0.1 * mean**2) * noise[t] + offset[t]
        actions.append(action)
        after = xp.tanh(s @ a + action @ b + 0.2 * s)
        reward.append((after**2).sum(-1) - 0.1 * (action**2).sum(-1))
        value.append(V(s))
        value_next.append(V(after))
        s = xp.where(done[t][:, None], start, after)
    stacked = (xp.stack(x) for x in (reward, value, value_next))
    return gradest.gae(*stacked, terminated, done, gamma=GAMMA, lam=LAM), actions


def numpy_gradient(worlds=None):
    """Central differences of each A_t by a_t, one world and one component at a time."""
    count = N if worlds is None else len(worlds)
    out = np.zeros((T, count, M))
    for t in range(T):
        for n in range(count):
            for j in range(M):
                values = []
                for step in (1e-6, -1e-6):
                    offset = np.zeros((T, count, M))
                    offset[t, n, j] = step
                    values.append(roll_out(np, np.asarray, offset, worlds)[0][t, n])
                out[t, n, j] = (values[0] - values[1]) / 2e-6
    return out


TRUTH = numpy_gradient()
CLOSE = {"rtol": 1e-7, "atol": 1e-8}


def test_the_weights_by_hand():
    done = np.array([[False], [False], [True], [False], [False]])
    got = gradest.gae_action_gradient(np.ones((5, 1, 1)), done, gamma=0.5, lam=0.5)
    assert got[:, 0, 0].tolist() == [1.0, 4.0, 16.0, 1.0, 4.0]


def test_the_objective_sums_the_starts(window):
    want = window.reward[gradest.segment_starts(window.done)].sum()
    assert np.isclose(gradest.gae_objective(window.reward, window.done), want, rtol=1e-14)


@pytest.mark.parametrize(("gamma", "lam"), [(0.0, 0.9), (0.9, 0.0)])
def test_a_product_of_zero_is_refused(gamma, lam):
    with pytest.raises(ValueError, match=r"gamma is .* and lam is .*; expected a product above 0.*by_steps"):
        gradest.gae_action_gradient(np.ones((2, 1, 1)), np.zeros((2, 1), dtype=bool), gamma=gamma, lam=lam)


def test_pairing_the_wrong_samples_is_seen():
    """The released code of GI-PPO flattens advantages time-major and log-probabilities world-major.

    For T > 1 its products pair one sample with another's number. The sum over right pairs does not change when worlds
    change places, and neither does any function here (``test_permuting_worlds_permutes_results``); the mistaken one
    does.
    """
    generator = np.random.default_rng(1)
    ratio, advantage = generator.normal(size=(2, 3, 4))
    order = generator.permutation(4)

    def mistaken(ratio, advantage):
        return (ratio.T.ravel() * advantage.ravel()).sum()

    assert abs(mistaken(ratio, advantage) - mistaken(ratio[:, order], advantage[:, order])) > 1e-3
    zeros = np.zeros_like(ratio)
    got = gradest.additional_return(ratio, zeros, advantage)
    np.testing.assert_allclose(got, gradest.additional_return(ratio[:, order], zeros, advantage[:, order]), rtol=1e-12)
    np.testing.assert_allclose(got, (np.expm1(ratio) * advantage).mean(), rtol=1e-12)


class TestTorch:
    @pytest.fixture(autouse=True)
    def torch(self):
        self.t = pytest.importorskip("torch")

    def roll_out(self, worlds=None):
        count = N if worlds is None else len(worlds)
        offset = self.t.zeros(T, count, M, dtype=self.t.float64, requires_grad=True)
        pick = slice(None) if worlds is None else worlds
        return *roll_out(self.t, self.t.as_tensor, offset, worlds), offset, self.t.as_tensor(DONE[:, pick])

    def test_one_pass_equals_one_for_each_step_and_finite_differences(self):
        from gradest.torch import gae_gradient, gae_gradient_by_steps

        advantage, actions, offset, done = self.roll_out()
        one = gae_gradient(advantage, actions, done, gamma=GAMMA, lam=LAM)
        each = gae_gradient_by_steps(advantage, actions)
        assert one.shape == (T, N, M)
        np.testing.assert_allclose(one, each, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(one, TRUTH, **CLOSE)
        # one tensor whose rows entered the roll-out does as well as a list
        np.testing.assert_allclose(gae_gradient(advantage, offset, done, gamma=GAMMA, lam=LAM), one, rtol=1e-12)
        np.testing.assert_allclose(gae_gradient_by_steps(advantage, offset), one, rtol=1e-11, atol=1e-12)

    def test_permuting_worlds_permutes_the_gradients(self):
        from gradest.torch import gae_gradient

        order = [2, 0, 3, 1]
        results = []
        for worlds in (None, order):
            advantage, actions, _, done = self.roll_out(worlds)
            results.append(gae_gradient(advantage, actions, done, gamma=GAMMA, lam=LAM))
        np.testing.assert_allclose(results[1], results[0][:, order], rtol=1e-12, atol=1e-13)

    def test_errors_name_what_is_wrong(self):
        from gradest.torch import gae_gradient

        advantage, actions, _, done = self.roll_out()
        with pytest.raises(ValueError, match=r"actions \(step 0\) has no part in the graph of advantage"):
            copies = [action.detach().requires_grad_() for action in actions]
            gae_gradient(advantage, copies, done, gamma=GAMMA, lam=LAM)
        with pytest.raises(ValueError, match="advantage carries no graph"):
            gae_gradient(advantage.detach(), actions, done, gamma=GAMMA, lam=LAM)
        with pytest.raises(ValueError, match=r"actions has shape \(8, 4, 2\); expected \[T, N, m\] with"):
            gae_gradient(advantage, actions[:8], done, gamma=GAMMA, lam=LAM)
        with pytest.raises(ValueError, match=r"lam is 0\.0; expected a product above 0"):
            gae_gradient(advantage, actions, done, gamma=GAMMA, lam=0.0)


class TestJax:
    @pytest.fixture(autouse=True)
    def jax(self):
        self.j = pytest.importorskip("jax")
        with self.j.enable_x64(True):
            yield

    def test_one_pass_equals_one_for_each_step_and_finite_differences(self):
        from gradest.jax import gae_gradient, gae_gradient_by_steps

        jnp = self.j.numpy

        def f(offset):
            return roll_out(jnp, jnp.asarray, offset)[0]

        actions, done = jnp.zeros((T, N, M)), jnp.asarray(DONE)
        one = gae_gradient(f, actions, done, gamma=GAMMA, lam=LAM)
        np.testing.assert_allclose(one, gae_gradient_by_steps(f, actions), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(one, TRUTH, **CLOSE)
        with pytest.raises(ValueError, match=r"gamma is 0.0 and lam"):
            gae_gradient(f, actions, done, gamma=0.0, lam=LAM)
