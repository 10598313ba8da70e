"""What an episode's end cuts off does not come back: not infinity, not NaN, and not through a gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gradest

T, N = 7, 3
BAD = (np.inf, -np.inf, np.nan)

# Returns of every step, from (reward, value, value_next, terminated, done); no step knows of an earlier episode.
BY_STEP = {
    "gae": lambda r, v, w, e, d: gradest.gae(r, v, w, e, d, gamma=0.9, lam=0.8),
    "td_lambda": lambda r, v, w, e, d: gradest.td_lambda(r, w, e, d, gamma=0.9, lam=0.8),
    "td_lambda of whole returns": lambda r, v, w, e, d: gradest.td_lambda(r, w, e, d, gamma=0.9, lam=1.0),
    "discounted_returns": lambda r, v, w, e, d: gradest.discounted_returns(r, d, gamma=0.9),
    "bootstrapped_returns": lambda r, v, w, e, d: gradest.bootstrapped_returns(r, w, e, d, gamma=0.9),
    "n_step_returns of 1": lambda r, v, w, e, d: gradest.n_step_returns(r, w, e, d, gamma=0.9, n=1),
    "n_step_returns of 3": lambda r, v, w, e, d: gradest.n_step_returns(r, w, e, d, gamma=0.9, n=3),
    "n_step_returns of 9": lambda r, v, w, e, d: gradest.n_step_returns(r, w, e, d, gamma=0.9, n=9),
    "gae without discount": lambda r, v, w, e, d: gradest.gae(r, v, w, e, d, gamma=0.0, lam=0.8),
    "segment_discounted": lambda r, v, w, e, d: gradest.segment_discounted(r, d | e, factor=0.7),
}
by_step = pytest.mark.parametrize("name", BY_STEP)


@st.composite
def windows(draw):
    """A window that is finite up to the first end of each world, and what comes after it is spoilt."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    clean = [rng.normal(size=(T, N)) for _ in range(3)]
    done = rng.random((T, N)) < 0.3
    terminated = done & (rng.random((T, N)) < 0.5)
    first = np.cumsum(done, axis=0) - done == 0
    spoilt = [np.where(~first & (rng.random((T, N)) < 0.7), draw(st.sampled_from(BAD)), x) for x in clean]
    return clean, spoilt, terminated, done, first


def frameworks():
    yield "numpy", np.asarray
    torch = pytest.importorskip("torch")
    yield "torch", torch.from_numpy
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        yield "jax", jax.numpy.asarray


@by_step
@settings(max_examples=25)
@given(windows())
def test_later_episodes_do_not_reach_earlier_ones(name, window):
    clean, spoilt, terminated, done, first = window
    want = BY_STEP[name](*clean, terminated, done)
    for framework, convert in frameworks():
        with gradest.allow_nan(), np.errstate(all="ignore"):
            got = BY_STEP[name](*map(convert, spoilt), convert(terminated), convert(done))
        np.testing.assert_allclose(np.asarray(got)[first], want[first], rtol=1e-12, err_msg=framework)


@by_step
@settings(max_examples=8)
@given(windows())
def test_nor_do_their_gradients(name, window):
    """The sum of the first episodes' returns: finite gradients, and exactly none with respect to later steps."""
    _, spoilt, terminated, done, first = window
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")

    leaves = [torch.from_numpy(x).requires_grad_() for x in spoilt]
    ends = torch.from_numpy(terminated), torch.from_numpy(done)
    with gradest.allow_nan():
        total = BY_STEP[name](*leaves, *ends)[torch.from_numpy(first)].sum()
    by_torch = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
    for gradient in by_torch:
        assert gradient.isfinite().all()
        assert not gradient[~torch.from_numpy(first)].any()

    def f(arrays):
        out = BY_STEP[name](*arrays, jax.numpy.asarray(terminated), jax.numpy.asarray(done))
        return jax.numpy.where(first, out, 0.0).sum()

    with jax.enable_x64(True), gradest.allow_nan():
        by_jax = jax.grad(f)([jax.numpy.asarray(x) for x in spoilt])
    for one, other in zip(by_jax, by_torch, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-12)


@settings(max_examples=25)
@given(windows(), st.sampled_from(["drop", "bootstrap", "restart", "every"]), st.sampled_from([0.0, 0.5, 1.0]))
def test_what_has_no_weight_in_the_credit_does_not_count(window, truncation, alpha):
    (reward, q, q_next), _, terminated, done, _ = window
    ratio = np.full(T, alpha)
    weights = gradest.credit_weights(ratio, terminated, done, gamma=0.9, threshold=0.3, truncation=truncation)
    want = gradest.credit_mean(weights, reward, q, q_next)
    pairs = ((weights.reward, reward), (weights.q_value, q), (weights.q_next, q_next))
    for bad in BAD:
        spoilt = [np.where(weight == 0, bad, x) for weight, x in pairs]
        assert gradest.credit_mean(weights, *spoilt) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("bad", BAD)
def test_a_value_that_no_return_contains_may_be_anything(bad):
    """lambda 1 has no bootstrap inside an episode, lambda 0 and gamma 0 no later rewards."""
    reward, value_next = np.ones((4, 1)), np.array([[bad], [bad], [bad], [2.0]])
    never = np.zeros((4, 1), bool)
    with gradest.allow_nan():
        np.testing.assert_allclose(
            gradest.td_lambda(reward, value_next, never, never, gamma=0.5, lam=1.0)[:, 0], [2.0, 2.0, 2.0, 2.0]
        )
        assert gradest.reparameterised_objective(reward, value_next, never, never, gamma=0.5, lam=1.0) == pytest.approx(
            2.0
        )
        reward[1:] = bad
        assert gradest.segment_objective(reward, value_next, never, never, gamma=0.0) == pytest.approx(0.25)
