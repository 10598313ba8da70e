"""``rollout`` against the plain loop it stands for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from diffsim_core import rollout

from .pendulum import make_pendulum

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


def test_errors():
    env = make_pendulum(4)
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        rollout(env, lambda obs: obs[:, :2], *env.reset(0), 0)
    with pytest.raises(ValueError, match="key is for JAX"):
        rollout(env, lambda obs: obs[:, :2], *env.reset(0), 1, key=1)
