"""What holds for torch tensors; skipped as a whole where the optional extra is not installed."""

from __future__ import annotations

import numpy as np
import pytest

import gradest

torch = pytest.importorskip("torch")


@pytest.fixture
def tensors(window):
    return tuple(torch.from_numpy(x.copy()) for x in window)


def calls(reward, value, value_next, terminated, done):
    """Every function of floats on one window, as (name, function of the floats, floats)."""
    ends = (terminated, done)
    return (
        ("discounted", lambda r: gradest.discounted_returns(r, done, gamma=0.9), (reward,)),
        ("bootstrapped", lambda r, v: gradest.bootstrapped_returns(r, v, *ends, gamma=0.9), (reward, value_next)),
        ("td_lambda", lambda r, v: gradest.td_lambda(r, v, *ends, gamma=0.9, lam=0.7), (reward, value_next)),
        ("objective", lambda r, v: gradest.segment_objective(r, v, *ends, gamma=0.9), (reward, value_next)),
        (
            "gae",
            lambda r, u, v: gradest.gae(r, u, v, *ends, gamma=0.9, lam=0.7),
            (reward, value, value_next),
        ),
    )


def test_equal_to_numpy(window, tensors):
    for (name, f_np, x_np), (_, f, x) in zip(calls(*window), calls(*tensors), strict=True):
        got = f(*x)
        assert got.dtype == torch.float64
        np.testing.assert_allclose(got.numpy(), f_np(*x_np), rtol=1e-13, atol=1e-13, err_msg=name)
    starts = gradest.segment_starts(tensors[-1])
    assert starts.dtype == torch.bool
    np.testing.assert_array_equal(starts.numpy(), gradest.segment_starts(window.done))


def test_gradients_are_finite_differences(tensors):
    small = tuple(x[:5, 3:].clone() for x in tensors)
    for _, f, floats in calls(*small):
        leaves = tuple(x.requires_grad_() for x in floats)
        assert torch.autograd.gradcheck(f, leaves, atol=1e-9, rtol=1e-7)


def test_float32_stays_float32(tensors):
    single = tuple(x.float() if x.dtype == torch.float64 else x for x in tensors)
    for name, f, floats in calls(*single):
        assert f(*floats).dtype == torch.float32, name


def test_objective_and_returns_have_the_same_gradient(tensors):
    reward, _, value_next, terminated, done = tensors
    leaves = (reward.requires_grad_(), value_next.requires_grad_())
    short = gradest.segment_objective(*leaves, terminated, done, gamma=0.97)
    long = (gradest.bootstrapped_returns(*leaves, terminated, done, gamma=0.97) * gradest.segment_starts(done)).mean()
    torch.testing.assert_close(torch.autograd.grad(short, leaves), torch.autograd.grad(long, leaves))


def test_no_gradient_reaches_a_value_that_is_not_bootstrapped(tensors):
    reward, _, value_next, terminated, done = tensors
    value_next = value_next.masked_fill(terminated, float("nan")).requires_grad_()
    gradest.bootstrapped_returns(reward, value_next, terminated, done, gamma=0.97).sum().backward()
    used = done.clone()
    used[-1] = True
    used &= ~terminated
    assert bool((value_next.grad[~used] == 0).all())
    assert bool((value_next.grad[used] > 0).all())


def test_backward_twice_gives_the_same_bits(tensors):
    reward, _, value_next, terminated, done = tensors
    reward.requires_grad_()
    grads = []
    for _ in range(2):
        out = gradest.td_lambda(reward, value_next, terminated, done, gamma=0.97, lam=0.95)
        grads.append(torch.autograd.grad((out**2).sum(), reward)[0])
    assert torch.equal(*grads)


def test_mixed_frameworks_are_refused(window, tensors):
    with pytest.raises(ValueError, match="done is a NumPy array but reward is a torch array; convert one"):
        gradest.gae(*tensors[:4], window.done, gamma=0.9, lam=0.9)


def test_errors_name_torch_dtypes(tensors):
    reward, _, value_next, terminated, done = tensors
    with pytest.raises(ValueError, match=r"value_next has dtype torch.float32; expected torch.float64 like reward"):
        gradest.bootstrapped_returns(reward, value_next.float(), terminated, done, gamma=0.9)
    with pytest.raises(ValueError, match=r"done has dtype torch.int64; expected bool"):
        gradest.bootstrapped_returns(reward, value_next, terminated, done.long(), gamma=0.9)
