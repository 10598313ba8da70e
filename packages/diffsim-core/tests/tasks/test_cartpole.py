"""CartPole against its definition, written again in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402

from .played import placed, rollout  # noqa: E402


def test_observation_and_reward():
    env = make("cartpole", num_envs=16, dtype="float64")
    for _, _, after, tr in rollout(env, 12):
        (x, theta), (xd, thetad) = after.physics.q.numpy().T, after.physics.qd.numpy().T
        expected = np.stack([x, xd, np.sin(theta), np.cos(theta), thetad], axis=1)
        np.testing.assert_allclose(tr.final_obs.numpy(), expected, atol=1e-12)
        wrapped = (theta + np.pi) % (2 * np.pi) - np.pi
        reward = -(wrapped**2) - 0.1 * thetad**2 - 0.05 * x**2 - 0.1 * xd**2
        np.testing.assert_allclose(tr.reward.numpy(), reward, atol=1e-10)
        assert not tr.terminated.any()


def test_starts_hanging_and_spread():
    state, _ = make("cartpole", num_envs=4096).reset(0)
    q, qd = state.physics.q.numpy(), state.physics.qd.numpy()
    for values, centre, half in ((q[:, 0], 0, math.pi / 2), (q[:, 1], -math.pi, math.pi / 2), (qd, 0, 0.25)):
        assert np.abs(values - centre).max() <= half + 1e-6
        assert np.abs(values - centre).max() > 0.99 * half
        assert abs(values.mean() - centre) < 0.05 * half


def test_closed_form_acceleration():
    # x'' and theta'' of a cart with a uniform rod, both dampers and the armature included
    env = make("cartpole", num_envs=1, dtype="float64", substeps=1)
    q, qd = np.array([0.3, 0.7]), np.array([0.5, -1.1])
    force, m, total, half = 1000.0 * 0.25, 2.5, 52.5, 0.5
    inertia = m * (1 + 0.05**2) / 12 + m * half**2
    mass = np.array([[total + 0.01, m * half * np.cos(q[1])], [m * half * np.cos(q[1]), inertia + 0.01]])
    right = np.array(
        [
            force + m * half * np.sin(q[1]) * qd[1] ** 2 - 1.0 * qd[0],
            m * 9.81 * half * np.sin(q[1]) - 1.0 * qd[1],
        ]
    )
    after, _ = env.step(placed(env, q[None], qd[None]), torch.tensor([[0.25]], dtype=torch.float64))
    found = (after.physics.qd.numpy()[0] - qd) * 60
    np.testing.assert_allclose(found, np.linalg.solve(mass, right), rtol=1e-9)
