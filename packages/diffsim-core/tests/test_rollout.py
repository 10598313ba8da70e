"""``rollout`` against the plain loop it stands for."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from diffsim_core import rollout, stop_gradient

from .pendulum import make_pendulum

pytestmark = pytest.mark.usefixtures("both_ways")

WEIGHTS = 0.7 * np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)


def test_equals_a_loop():
    env = make_pendulum(5, horizon=6)
    w = torch.tensor(WEIGHTS)
    seen, state, obs = rollout(env, lambda obs: torch.tanh(obs @ w), *env.reset(0), 15)
    now, last = env.reset(0)
    for t in range(15):
        action = torch.tanh(last @ w)
        assert torch.equal(seen.obs[t], last) and torch.equal(seen.action[t], action)
        now, row = env.step(now, action)
        for name in ("reward", "terminated", "truncated", "final_obs", "diverged"):
            assert torch.equal(getattr(seen, name)[t], getattr(row, name))
        assert torch.equal(seen.done[t], row.terminated | row.truncated)
        assert torch.equal(seen.metrics["speed"][t], row.metrics["speed"])
        last = row.obs
    assert torch.equal(obs, last) and torch.equal(state.physics.q, now.physics.q)
    assert seen.done.sum() == 10 and (seen.divergences.step == -1).all()


def test_two_windows_make_one():
    env = make_pendulum(5, horizon=6)
    w = torch.tensor(WEIGHTS)

    def policy(obs):
        return torch.tanh(obs @ w)

    whole, end, _ = rollout(env, policy, *env.reset(0), 11)
    first, state, obs = rollout(env, policy, *env.reset(0), 4)
    second, last, _ = rollout(env, policy, state, obs, 7)
    for name in ("obs", "reward", "done", "final_obs"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(first, name), getattr(second, name)]))
    assert torch.equal(end.physics.qd, last.physics.qd)


def test_jax_scan_equals_torch():
    on_torch, on_jax = make_pendulum(5, horizon=6), make_pendulum(5, "jax", horizon=6)
    w, w_jax = torch.tensor(WEIGHTS), jnp.asarray(WEIGHTS)
    a, end, _ = rollout(on_torch, lambda obs: torch.tanh(obs @ w), *on_torch.reset(0), 15)
    b, end_jax, _ = jax.jit(lambda s, o: rollout(on_jax, lambda obs: jnp.tanh(obs @ w_jax), s, o, 15))(*on_jax.reset(0))
    for name in ("obs", "action", "reward", "final_obs"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), rtol=1e-4, atol=1e-5)
    for name in ("terminated", "truncated", "done", "diverged"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(end.episode, end_jax.episode)


def test_jax_policies_may_take_a_key_for_each_step():
    env = make_pendulum(4, "jax")

    def policy(obs, key):
        return jax.random.uniform(key, (4, 2), minval=-1.0)

    run = jax.jit(lambda key: rollout(env, policy, *env.reset(0), 6, key)[0])
    one, two, other = (run(jax.random.key(seed)) for seed in (1, 1, 2))
    assert (one.action == two.action).all() and (one.reward == two.reward).all()
    assert not (one.action == other.action).any() and len(np.unique(one.action)) == one.action.size


class Seen(NamedTuple):
    """What a policy may tell of a step, in every container that may hold arrays."""

    mean: Any
    more: Any


def make_policy(xp, weights):
    """``tanh(obs @ weights)``, which tells its mean and, in a tuple and a mapping, a flag and a number per world."""

    def policy(obs):
        mean = obs @ weights
        return xp.tanh(mean), Seen(mean, ({"fast": mean[:, 0] > 0.1}, xp.sum(mean, axis=1)))

    return policy


def both(num_envs: int = 5, horizon: int = 6):
    """``(xp, env, weights)`` in torch and in JAX."""
    yield torch, make_pendulum(num_envs, horizon=horizon), torch.tensor(WEIGHTS, requires_grad=True)
    yield jnp, make_pendulum(num_envs, "jax", horizon=horizon), jnp.asarray(WEIGHTS)


@pytest.mark.parametrize("which", [0, 1], ids=["torch", "jax"])
def test_what_a_policy_returns_besides_actions_is_stacked(which):
    xp, env, weights = list(both())[which]
    seen, *_ = rollout(env, make_policy(xp, weights), *env.reset(0), 9)
    assert isinstance(seen.aux, Seen) and isinstance(seen.aux.more, tuple) and list(seen.aux.more[0]) == ["fast"]
    assert seen.aux.mean.shape == (9, 5, 2) and seen.aux.more[1].shape == (9, 5)
    assert seen.aux.more[0]["fast"].dtype == xp.bool
    mean = stop_gradient(seen.aux.mean)
    np.testing.assert_allclose(np.tanh(np.asarray(mean)), stop_gradient(seen.action), rtol=1e-6)
    np.testing.assert_allclose(mean, stop_gradient(seen.obs @ weights), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(seen.aux.more[0]["fast"], mean[:, :, 0] > 0.1)


@pytest.mark.parametrize("which", [0, 1], ids=["torch", "jax"])
def test_what_a_policy_returns_besides_actions_changes_nothing_else(which):
    xp, env, weights = list(both())[which]
    policy = make_policy(xp, weights)
    more, state, _ = rollout(env, policy, *env.reset(0), 9)
    bare, last, _ = rollout(env, lambda obs: policy(obs)[0], *env.reset(0), 9)
    assert bare.aux == ()
    for name in ("obs", "action", "reward", "done", "final_obs"):
        assert (getattr(more, name) == getattr(bare, name)).all()
    assert (state.physics.q == last.physics.q).all()


def aux_loss(seen):
    """Of the whole window's actions before tanh: later ones depend on earlier ones through the worlds."""
    return (seen.aux.mean**2).mean() + seen.aux.more[1].sum() / 100


def aux_gradients(between=(None, None)):
    """``aux_loss`` and its gradient with respect to the weights, in torch and in JAX (under ``jit``)."""
    (_, on_torch, w), (_, on_jax, w_jax) = both()
    seen, *_ = rollout(on_torch, make_policy(torch, w), *on_torch.reset(0), 9, between=between[0])
    loss = aux_loss(seen)
    loss.backward()

    @jax.jit
    @jax.value_and_grad
    def value_and_grad(w):
        return aux_loss(rollout(on_jax, make_policy(jnp, w), *on_jax.reset(0), 9, between=between[1])[0])

    return (loss.item(), w.grad.numpy()), tuple(map(np.asarray, value_and_grad(w_jax)))


def test_gradients_flow_through_aux_and_agree_in_both_libraries():
    (loss, grad), (loss_jax, grad_jax) = aux_gradients()
    np.testing.assert_allclose(loss, loss_jax, rtol=1e-5)
    np.testing.assert_allclose(grad, grad_jax, rtol=1e-4, atol=1e-5)

    def value(weights):
        env = make_pendulum(5, horizon=6, dtype="float64")
        return aux_loss(rollout(env, make_policy(torch, torch.tensor(weights)), *env.reset(0), 9)[0]).item()

    direction = np.random.default_rng(1).normal(size=WEIGHTS.shape)
    h = 1e-5
    difference = (value(WEIGHTS + h * direction) - value(WEIGHTS - h * direction)) / (2 * h)
    np.testing.assert_allclose((grad * direction).sum(), difference, rtol=1e-4)


def test_a_hook_that_cuts_every_step_leaves_the_gradient_of_single_steps():
    """With every step cut off, the gradient is that of the same sum with the observations held fixed."""

    def cut(t, state, obs):
        return stop_gradient((state, obs))

    (loss, grad), (loss_jax, grad_jax) = aux_gradients((cut, cut))
    (whole, whole_grad), _ = aux_gradients()
    assert loss == whole and np.abs(grad - whole_grad).max() > 0.01 * np.abs(whole_grad).max()
    np.testing.assert_allclose(loss, loss_jax, rtol=1e-5)
    np.testing.assert_allclose(grad, grad_jax, rtol=1e-4, atol=1e-6)

    xp, env, weights = next(both())
    obs = rollout(env, make_policy(xp, weights), *env.reset(0), 9)[0].obs.detach()
    mean = obs @ weights
    ((mean**2).mean() + mean.sum() / 100).backward()
    np.testing.assert_allclose(grad, weights.grad, rtol=1e-5, atol=1e-6)


def test_a_hook_is_called_before_each_step_in_order():
    env = make_pendulum(5, horizon=6)
    weights = torch.tensor(WEIGHTS)
    calls = []

    def between(t, state, obs):
        calls.append((t, state, obs))
        return state, obs

    def policy(obs):
        calls.append("policy")
        return torch.tanh(obs @ weights)

    seen, state, _ = rollout(env, policy, *env.reset(0), 8, between=between)
    assert [call if call == "policy" else call[0] for call in calls] == [x for t in range(8) for x in (t, "policy")]
    states, given = [call[1] for call in calls[::2]], [call[2] for call in calls[::2]]
    assert torch.equal(torch.stack(given), seen.obs)
    assert [int(one.t[0]) for one in states] == [0, 1, 2, 3, 4, 5, 0, 1] and int(state.t[0]) == 2
    plain, *_ = rollout(env, lambda obs: torch.tanh(obs @ weights), *env.reset(0), 8)
    assert torch.equal(plain.reward, seen.reward)


@pytest.mark.parametrize("which", [0, 1], ids=["torch", "jax"])
def test_the_policy_sees_and_the_step_starts_from_what_a_hook_returns(which):
    """A hook that turns every world round at step 2, against two windows with the turn between them."""
    xp, env, weights = list(both())[which]

    def turned(state, obs):
        physics = state.physics._replace(q=-state.physics.q, qd=-state.physics.qd)
        return state._replace(physics=physics), -obs

    def between(t, state, obs):
        there, new = turned(state, obs)
        now = xp.asarray(t == 2)
        q, qd = (xp.where(now, a, b) for a, b in zip(there.physics, state.physics, strict=True))
        return state._replace(physics=state.physics._replace(q=q, qd=qd)), xp.where(now, new, obs)

    policy = make_policy(xp, weights)
    seen, last, _ = rollout(env, policy, *env.reset(0), 5, between=between)
    first, *middle = rollout(env, policy, *env.reset(0), 2)
    second, end, _ = rollout(env, policy, *turned(*middle), 3)
    for name in ("obs", "action", "reward", "final_obs"):
        parts = [np.asarray(stop_gradient(getattr(part, name))) for part in (first, second)]
        np.testing.assert_array_equal(stop_gradient(getattr(seen, name)), np.concatenate(parts))
    np.testing.assert_array_equal(stop_gradient(last.physics.q), stop_gradient(end.physics.q))
    np.testing.assert_array_equal(stop_gradient(seen.obs[2]), stop_gradient(-first.final_obs[-1]))


def test_errors():
    env = make_pendulum(4)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        rollout(env, lambda obs: obs[:, :2], *env.reset(0), 0)
    with pytest.raises(ValueError, match="key is for JAX"):
        rollout(env, lambda obs: obs[:, :2], *env.reset(0), 1, key=1)
    for returned in ((), (1, 2, 3)):
        with pytest.raises(ValueError, match=rf"the policy returned a tuple of {len(returned)}; .*\(action, aux\)"):
            rollout(env, lambda obs, returned=returned: returned, *env.reset(0), 1)


@pytest.mark.parametrize("arrays", ["torch", "jax"])
def test_policies_get_the_row_of_their_step(arrays):
    env = make_pendulum(5, arrays, horizon=4)
    noise = np.random.default_rng(1).normal(size=(6, 5, 2)).astype(np.float32)
    given = {"noise": torch.tensor(noise) if arrays == "torch" else jnp.asarray(noise)}
    seen, *_ = rollout(env, lambda obs, row: 0.1 * obs[:, :2] + row["noise"], *env.reset(0), 6, inputs=given)
    np.testing.assert_allclose(seen.action, 0.1 * np.asarray(seen.obs)[..., :2] + noise, rtol=1e-6, atol=1e-6)


def test_gradients_reach_the_inputs_in_both_libraries():
    on_torch = make_pendulum(3, dtype="float64")
    noise = 0.3 * np.random.default_rng(2).normal(size=(7, 3, 2))
    given = torch.tensor(noise, requires_grad=True)
    seen, *_ = rollout(on_torch, lambda obs, row: torch.tanh(row), *on_torch.reset(0), 7, inputs=given)
    (by_torch,) = torch.autograd.grad(seen.reward.sum(), given)
    with jax.enable_x64(True):
        on_jax = make_pendulum(3, "jax", dtype="float64")
        state, obs = on_jax.reset(0)

        def total(inputs):
            return rollout(on_jax, lambda obs, row: jnp.tanh(row), state, obs, 7, inputs=inputs)[0].reward.sum()

        by_jax = jax.jit(jax.grad(total))(jnp.asarray(noise))
        np.testing.assert_allclose(by_torch, by_jax, rtol=1e-9, atol=1e-12)


def test_inputs_need_a_row_for_each_step():
    env = make_pendulum(5)
    with pytest.raises(ValueError, match=r"inputs.noise has shape \(3, 5\); its first axis is the 4 steps"):
        rollout(env, lambda obs, row: obs, *env.reset(0), 4, inputs={"noise": torch.zeros(3, 5)})
