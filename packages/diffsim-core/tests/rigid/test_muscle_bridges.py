"""Activations through both bridges: torch and JAX give one gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from diffsim_core import differentiable, make  # noqa: E402
from diffsim_core.rigid import MuscleState, RigidDynamics  # noqa: E402

from .test_muscles import random_muscle_states, tree  # noqa: E402


def test_torch_and_jax_agree():
    m = tree(5)
    step = differentiable(RigidDynamics(m, dt=0.01, substeps=4))
    q, qd, u, act = (a.astype(np.float32) for a in random_muscle_states(m, 4, 5))

    def loss(control, start):
        state: Any = MuscleState(*start)
        total: Any = 0.0
        for _ in range(3):
            state, _ = step(state, (control,))
            total = total + (state.qd**2).sum() + (state.act**2).sum()
        return total

    in_torch = torch.tensor(u, requires_grad=True)
    loss(in_torch, [torch.tensor(a) for a in (q, qd, act)]).backward()
    in_jax = jax.grad(lambda control: loss(control, [jnp.asarray(a) for a in (q, qd, act)]))(jnp.asarray(u))
    np.testing.assert_allclose(in_jax, in_torch.grad.numpy(), rtol=1e-6, atol=1e-6 * np.abs(in_jax).max())
    assert np.abs(in_jax).max() > 0


def test_the_legs_walk_in_jax_too():
    rewards = []
    for arrays, zeros in (("torch", torch.zeros(3, 152)), ("jax", jnp.zeros((3, 152)))):
        env = make("humanoid_mtu", num_envs=3, arrays=arrays)
        state, _ = env.reset(0)
        rewards.append(np.asarray(env.step(state, zeros)[1].reward))
    np.testing.assert_allclose(rewards[0], rewards[1], rtol=1e-5)
