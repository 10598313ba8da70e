"""The bridge from torch to JAX: nobody writes to memory that the other reads, and what does not fit is named."""

from __future__ import annotations

import numpy as np
import pytest

jax = pytest.importorskip("jax")
torch = pytest.importorskip("torch")
pytest.importorskip("brax")

import jax.numpy as jnp  # noqa: E402

from diffsim_core import from_numpy, tree_map  # noqa: E402
from diffsim_core._tree import tree_leaves  # noqa: E402
from diffsim_core.adapters import FromBrax  # noqa: E402

from .brax_worlds import Toy  # noqa: E402

N = 4


@pytest.fixture(scope="module")
def env():
    return FromBrax(Toy(), N, episode_length=3, name="toy")


def acts(seed=0):
    return torch.as_tensor(np.random.default_rng(seed).uniform(-0.8, 0.8, (N, 2)).astype(np.float32))


def tensors(tree):
    return [leaf for _, leaf in tree_leaves(tree)]


def test_every_result_has_memory_of_its_own(env):
    state, obs = env.reset(0)
    for _ in range(4):  # with and without resets
        after, row = env.step(state, acts())
        given = [*tensors(state._replace(seed=None)), obs]
        made = [*tensors(after._replace(seed=None)), *tensors(row)]
        places = [one.data_ptr() for one in (*given, *made) if one.numel()]
        assert len(set(places)) == len(places)
        state, obs = after, row.obs


def test_writing_to_results_changes_nothing_else(env):
    def twice(spoil):
        state, obs = env.reset(1)
        if spoil:
            obs.fill_(7)
        seen = []
        for seed in range(5):
            state, row = env.step(state, acts(seed))
            seen.append(tree_map(torch.clone, row._replace(valid=row.reward)))
            if spoil:
                for one in tensors(row):
                    one.fill_(1)
        return seen

    for one, other in zip(twice(False), twice(True), strict=True):
        for a, b in zip(tensors(one), tensors(other), strict=True):
            assert torch.equal(a, b)
    first, again = env.reset(1), env.reset(1)
    for one in tensors(first[0]._replace(seed=None)):
        one.zero_()
    assert all(torch.equal(a, b) for a, b in zip(tensors(again), tensors(env.reset(1)), strict=True))


def test_inputs_may_be_written_to_after_a_step_but_not_before_its_backward_pass(env):
    state, _ = env.reset(0)
    expected = env.step(state, acts())[1].final_obs
    action = acts()
    found = env.step(state, action)[1].final_obs
    action.fill_(0)
    assert torch.equal(found, expected)

    leaf = acts().requires_grad_()
    action = leaf * 1
    reward = env.step(state, action)[1].reward
    action.fill_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        reward.sum().backward()


@pytest.mark.parametrize(
    "odd",
    [
        lambda a: torch.stack([a, a], dim=2)[:, :, 1],
        lambda a: a.T.contiguous().T,
        lambda a: torch.cat([torch.zeros(1), a.reshape(-1)])[1:].reshape(a.shape),
        lambda a: torch.view_as_complex(torch.stack([a, -a], -1)).conj().imag,
        lambda a: torch.from_numpy(_read_only(a)),
        lambda a: from_numpy(a.numpy(), a),
    ],
    ids=["strided", "transposed", "unaligned", "negative", "read-only", "numpy"],
)
@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_tensors_of_every_layout_give_the_same_numbers(env, odd):
    state, _ = env.reset(0)
    plain, action = acts().requires_grad_(), acts()
    other = odd(action).detach().requires_grad_()
    one, two = env.step(state, plain)[1], env.step(state, other)[1]
    assert torch.equal(one.final_obs, two.final_obs)
    one.reward.sum().backward()
    two.reward.sum().backward()
    assert torch.equal(plain.grad, other.grad)


def _read_only(tensor):
    values = tensor.numpy().copy()
    values.flags.writeable = False
    return values


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        (torch.zeros(N, 3), ValueError, r"action has shape \(4, 3\).*expected shape \(4, 2\)"),
        (torch.zeros(N, 2, dtype=torch.float64), ValueError, "action has .*torch.float64.*expected .*torch.float32"),
        (torch.zeros(N, 2, device="meta"), ValueError, "device meta; expected .*device cpu"),
        (np.zeros((N, 2), np.float32), TypeError, "action is a numpy.ndarray; these worlds take torch tensors"),
        (jnp.zeros((N, 2)), TypeError, "action is a jax.*; these worlds take torch tensors"),
    ],
)
def test_actions_that_do_not_fit_are_named(env, action, error, message):
    state, _ = env.reset(0)
    with pytest.raises(error, match=message):
        env.step(state, action)


def test_states_that_do_not_fit_are_named(env):
    state, _ = env.reset(0)
    with pytest.raises(ValueError, match=r"state.physics.numbers has shape \(3, "):
        env.step(state._replace(physics=type(state.physics)(state.physics.numbers[:3])), acts())
    with pytest.raises(ValueError, match=r"state.t has .*torch.int64.*expected .*torch.int32"):
        env.step(state._replace(t=state.t.long()), acts())


def test_second_derivatives_and_transforms_are_refused(env):
    state, _ = env.reset(0)
    action = acts().requires_grad_()
    (first,) = torch.autograd.grad(env.step(state, action)[1].reward.sum(), action, create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivative"):
        first.sum().backward()
    with pytest.raises(NotImplementedError, match=r"torch\.func"):
        torch.func.grad(lambda a: env.step(state, a)[1].reward.sum())(acts())


def test_results_without_gradients_need_none(env):
    state, _ = env.reset(0)
    after, row = env.step(state, acts().requires_grad_())
    assert {one.requires_grad for one in (after.physics.numbers, row.reward, row.final_obs, row.obs)} == {True}
    rest = (
        after.task.integers,
        after.t,
        after.episode,
        row.terminated,
        row.truncated,
        row.diverged,
        row.metrics["speed"],
    )
    assert not any(one.requires_grad for one in rest)
    with torch.no_grad():
        assert not env.step(state, acts().requires_grad_())[1].reward.requires_grad
