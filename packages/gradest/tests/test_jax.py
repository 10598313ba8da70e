"""What holds for JAX arrays; skipped as a whole where the optional extra is not installed."""

from __future__ import annotations

import numpy as np
import pytest

import gradest

jax = pytest.importorskip("jax")
jnp = jax.numpy


@pytest.fixture
def x64():
    """Double precision for one test: switching it on for the process would leak into other packages' tests."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def arrays(x64, window):
    return tuple(jnp.asarray(x) for x in window)


def functions():
    """Every function of a whole window, by name."""
    return {
        "discounted": lambda r, u, v, e, d: gradest.discounted_returns(r, d, gamma=0.9),
        "bootstrapped": lambda r, u, v, e, d: gradest.bootstrapped_returns(r, v, e, d, gamma=0.9),
        "td_lambda": lambda r, u, v, e, d: gradest.td_lambda(r, v, e, d, gamma=0.9, lam=0.7),
        "gae": lambda r, u, v, e, d: gradest.gae(r, u, v, e, d, gamma=0.9, lam=0.7),
        "objective": lambda r, u, v, e, d: gradest.segment_objective(r, v, e, d, gamma=0.9),
    }


def scalar(f):
    """A scalar whose gradient depends on where it is taken."""
    return lambda *x: (f(*x) ** 2).sum()


@pytest.mark.parametrize("name", functions())
def test_equal_to_numpy_with_and_without_jit(window, arrays, name):
    f = functions()[name]
    for got in (f(*arrays), jax.jit(f)(*arrays)):
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, f(*window), rtol=1e-12, atol=1e-12)


def test_starts_equal_to_numpy(window, arrays):
    got = jax.jit(gradest.segment_starts)(arrays[-1])
    assert got.dtype == jnp.bool
    np.testing.assert_array_equal(got, gradest.segment_starts(window.done))


@pytest.mark.parametrize("name", functions())
def test_gradients_are_finite_differences(window, arrays, name):
    f = scalar(functions()[name])
    grads = jax.jit(jax.grad(f, argnums=(0, 1, 2)))(*arrays)
    # NumPy computes the differences, so that they know nothing of JAX. f is quadratic: a central
    # difference is exact but for rounding.
    for i, grad in enumerate(grads):
        for t, n in ((0, 0), (5, 3), (16, 1), (16, 3)):
            values = []
            for step in (0.5, -0.5):
                shifted = [x.copy() for x in window]
                shifted[i][t, n] += step
                values.append(f(*shifted))
            np.testing.assert_allclose(grad[t, n], values[0] - values[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", functions())
def test_gradients_equal_torch(window, arrays, name):
    torch = pytest.importorskip("torch")
    f = scalar(functions()[name])
    leaves = [torch.from_numpy(x.copy()).requires_grad_() for x in window[:3]]
    want = torch.autograd.grad(
        f(*leaves, *map(torch.from_numpy, window[3:])), leaves, allow_unused=True, materialize_grads=True
    )
    for got, expected in zip(jax.grad(f, argnums=(0, 1, 2))(*arrays), want, strict=True):
        np.testing.assert_allclose(got, expected.numpy(), rtol=1e-12, atol=1e-12)


def test_gradient_of_a_terminated_value_is_zero(arrays):
    reward, _, value_next, terminated, done = arrays
    value_next = jnp.where(terminated, jnp.nan, value_next)
    grad = jax.grad(lambda v: gradest.bootstrapped_returns(reward, v, terminated, done, gamma=0.9).sum())(value_next)
    np.testing.assert_array_equal(grad[terminated], 0.0)
    assert bool(jnp.isfinite(grad).all())


def test_vmap_over_seeds(arrays):
    batch = tuple(jnp.stack([x, x[::-1]]) for x in arrays)
    f = functions()["gae"]
    got = jax.vmap(f)(*batch)
    np.testing.assert_allclose(got[1], f(*(x[1] for x in batch)), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("name", functions())
def test_the_program_does_not_grow_with_the_window(name):
    def size(steps):
        floats = [jnp.zeros((steps, 2))] * 3
        flags = [jnp.zeros((steps, 2), dtype=bool)] * 2
        return len(jax.make_jaxpr(functions()[name])(*floats, *flags).eqns)

    assert size(4) == size(256)


def test_float32_by_default(window):
    single = [jnp.asarray(x) for x in window]
    assert single[0].dtype == jnp.float32
    for f in functions().values():
        assert f(*single).dtype == jnp.float32


def test_checks_hold_inside_jit(arrays):
    reward, _, value_next, terminated, done = arrays
    f = jax.jit(lambda *x: gradest.bootstrapped_returns(*x, gamma=0.9))
    with pytest.raises(ValueError, match=r"done has shape \(16, 6\); expected \(17, 6\) like reward"):
        f(reward, value_next, terminated, done[1:])
    with pytest.raises(ValueError, match=r"terminated has dtype int32; expected bool"):
        f(reward, value_next, terminated.astype(jnp.int32), done)


def test_mixed_frameworks_are_refused(window, arrays):
    with pytest.raises(ValueError, match="done is a NumPy array but reward is a JAX array; convert one"):
        gradest.gae(*arrays[:4], window.done, gamma=0.9, lam=0.9)
