"""De Jong's and Ackley's function: values, slopes, precision near the minimum, and environments of one step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

torch = pytest.importorskip("torch")
import array_api_compat.torch as xp  # noqa: E402

from diffsim_core import make  # noqa: E402
from diffsim_core.check import check_env, check_gradients  # noqa: E402
from diffsim_core.tasks import functions  # noqa: E402

BOUND = {"dejong": 5.12, "dejong_64": 5.12, "ackley": 32.768, "ackley_64": 32.768}
TASKS = list(BOUND)


def by_the_book(name, x):
    """The formulas of the paper's appendix 7.5.1 in NumPy."""
    if name.startswith("dejong"):
        return (x**2).sum(1)
    root, waves = np.sqrt((x**2).mean(1)), np.cos(2 * np.pi * x).mean(1)
    return -20 * np.exp(-0.2 * root) - np.exp(waves) + 20 + np.e


@pytest.mark.parametrize("name", ["dejong", "ackley"])
@settings(deadline=None)
@given(x=st.integers(1, 9).flatmap(lambda n: arrays(np.float64, (3, n), elements=st.floats(-40, 40))))
def test_values_are_the_papers(name, x):
    found = getattr(functions, name)(xp, torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, by_the_book(name, x), rtol=1e-12, atol=1e-13)


def test_known_points():
    x = torch.tensor([[0.0, 0.0], [1.0, -1.0]], dtype=torch.float64)
    assert functions.dejong(xp, x).tolist() == [0.0, 2.0]
    zero, one = functions.ackley(xp, x).tolist()
    assert zero == 0.0 and one == pytest.approx(20 * (1 - np.exp(-0.2)), rel=1e-12)


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-8])
def test_single_precision_has_digits_near_the_minimum(size):
    """Of the formula as printed nothing is left there: 20 has no float32 neighbour within 1e-6."""
    x = size * np.array([[1.0, -0.3], [0.2, 0.1]])
    found = functions.ackley(xp, torch.tensor(x, dtype=torch.float32)).numpy()
    # Near 0 the function is 4 root(mean x^2), of which the printed formula has 16 digits less those of 20.
    np.testing.assert_allclose(found, by_the_book("ackley", x), rtol=1e-5, atol=2e-14)


def test_the_slope_at_the_minimum_is_given_as_zero():
    x = torch.zeros(2, 3, requires_grad=True)
    functions.ackley(xp, x).sum().backward()
    assert torch.equal(x.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("name", TASKS)
def test_every_promise_of_the_protocol(name):
    check_env(make(name, num_envs=4), fewer=make(name, num_envs=2))


@pytest.mark.parametrize("name", TASKS)
def test_gradients_are_those_of_differences(name):
    assert check_gradients(make(name, num_envs=4, dtype="float64")).max_rel_error < 1e-6


@pytest.mark.parametrize("name", TASKS)
def test_one_step_is_an_episode(name):
    env = make(name, num_envs=5, dtype="float64")
    assert (env.spec.num_obs, env.spec.num_actions, env.spec.horizon) == (1, 64 if "64" in name else 1, 1)
    state, obs = env.reset(3)
    assert not obs.any()
    action = torch.linspace(-1.5, 1.5, 5 * env.spec.num_actions, dtype=torch.float64).view(5, -1)
    state, step = env.step(state, action)
    assert step.terminated.all() and not step.truncated.any() and not step.diverged.any()
    assert not step.obs.any() and not step.final_obs.any() and (state.episode == 1).all()
    x = BOUND[name] * np.clip(action.numpy(), -1, 1)
    np.testing.assert_allclose(step.reward.numpy(), -by_the_book(name, x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["dejong", "ackley"])
def test_jax_agrees_with_torch(name):
    jax = pytest.importorskip("jax")
    a = np.linspace(-0.9, 0.9, 12, dtype=np.float32).reshape(4, 3)
    env = make(name, num_envs=4, dim=3)
    action = torch.tensor(a, requires_grad=True)
    reward = env.step(env.reset(0)[0], action)[1].reward
    (slope,) = torch.autograd.grad(reward.sum(), action)
    twin = make(name, num_envs=4, dim=3, arrays="jax")
    state = twin.reset(0)[0]
    other, other_slope = jax.value_and_grad(lambda x: twin.step(state, x)[1].reward.sum())(jax.numpy.asarray(a))
    assert float(other) == pytest.approx(reward.sum().item(), rel=1e-6)
    np.testing.assert_allclose(other_slope, slope.numpy(), rtol=2e-5)


@pytest.mark.parametrize("dim", [0, -1, 2.5, True])
def test_dimensions_that_do_not_exist_are_named(dim):
    with pytest.raises(ValueError, match=f"dim of task 'ackley' is {dim}; it takes an integer from 1"):
        make("ackley", dim=dim)
