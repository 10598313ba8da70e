"""The tasks against their definitions, written again in NumPy from rotation matrices."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402
from diffsim_core.rigid import twin  # noqa: E402
from diffsim_core.rigid.dynamics import RigidState  # noqa: E402
from diffsim_core.tasks.ant import REST  # noqa: E402

N = 16


def rollout(env, steps, seed=0, scale=1.0):
    """States, actions and transitions of a random policy."""
    generator = torch.Generator().manual_seed(seed)
    state, obs = env.reset(seed)
    rows = []
    for _ in range(steps):
        noise = torch.rand(env.num_envs, env.spec.num_actions, generator=generator, dtype=obs.dtype)
        action = scale * (2 * noise - 1)
        after, transition = env.step(state, action)
        rows.append((state, action, after, transition))
        state = after
    return rows


def test_cartpole_observation_and_reward():
    env = make("cartpole", num_envs=N, dtype="float64")
    for _, _, after, tr in rollout(env, 12):
        (x, theta), (xd, thetad) = after.physics.q.numpy().T, after.physics.qd.numpy().T
        expected = np.stack([x, xd, np.sin(theta), np.cos(theta), thetad], axis=1)
        np.testing.assert_allclose(tr.final_obs.numpy(), expected, atol=1e-12)
        wrapped = (theta + np.pi) % (2 * np.pi) - np.pi
        reward = -(wrapped**2) - 0.1 * thetad**2 - 0.05 * x**2 - 0.1 * xd**2
        np.testing.assert_allclose(tr.reward.numpy(), reward, atol=1e-10)
        assert not tr.terminated.any()


def test_cartpole_starts_hanging_and_spread():
    state, _ = make("cartpole", num_envs=4096).reset(0)
    q, qd = state.physics.q.numpy(), state.physics.qd.numpy()
    for values, centre, half in ((q[:, 0], 0, math.pi / 2), (q[:, 1], -math.pi, math.pi / 2), (qd, 0, 0.25)):
        assert np.abs(values - centre).max() <= half + 1e-6
        assert np.abs(values - centre).max() > 0.99 * half
        assert abs(values.mean() - centre) < 0.05 * half


def test_cartpole_closed_form_acceleration():
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
    state, _ = env.reset(0)
    state = state._replace(physics=RigidState(torch.tensor(q)[None], torch.tensor(qd)[None]))
    after, _ = env.step(state, torch.tensor([[0.25]], dtype=torch.float64))
    found = (after.physics.qd.numpy()[0] - qd) * 60
    np.testing.assert_allclose(found, np.linalg.solve(mass, right), rtol=1e-9)


def test_ant_observation_and_reward():
    env = make("ant", num_envs=N, dtype="float64", action_penalty=0.3)
    for _, action, after, tr in rollout(env, 25):
        keep = ~(tr.terminated | tr.truncated).numpy()
        q, qd, obs = after.physics.q.numpy(), after.physics.qd.numpy(), tr.final_obs.numpy()
        reward = tr.reward.numpy()
        for i in np.flatnonzero(keep):
            R = twin.rotation_matrix(q[i, 3:7])
            to = np.array([10_000.0, 0.0]) - q[i, :2]
            heading = R[:2, 0] @ to / np.linalg.norm(to)
            expected = np.concatenate(
                [q[i, 2:7], qd[i, :3], R @ qd[i, 3:6], q[i, 7:], 0.1 * qd[i, 6:], [R[2, 2], heading], action[i].numpy()]
            )
            np.testing.assert_allclose(obs[i], expected, atol=1e-12)
            paid = qd[i, 0] + 0.1 * R[2, 2] + heading + q[i, 2] - 0.27 - 0.3 * (action[i].numpy() ** 2).sum()
            assert reward[i] == pytest.approx(paid, abs=1e-10)
        assert (tr.terminated.numpy()[keep] == (q[keep, 2] < 0.27)).all()
        assert (obs[tr.terminated.numpy(), 0] < 0.27).all()
    assert len(env.spec.obs_names) == 37 == env.spec.num_obs
    assert env.spec.action_names[:2] == ("hip_1", "ankle_1")


def test_ant_terminates_when_it_falls_unless_told_not_to():
    low = torch.tensor([REST], dtype=torch.float64).repeat(2, 1)
    low[1, 2] = 0.2
    for early in (True, False):
        env = make("ant", num_envs=2, dtype="float64", early_termination=early)
        state, _ = env.reset(0)
        state = state._replace(physics=RigidState(low, torch.zeros(2, 14, dtype=torch.float64)))
        _, tr = env.step(state, torch.zeros(2, 8, dtype=torch.float64))
        assert tr.terminated.tolist() == [False, early]


def test_ant_start_is_spread_as_documented():
    q = make("ant", num_envs=4096).reset(0)[0].physics.q.numpy().astype(np.float64)
    rest = np.array(REST)
    for part, half in ((slice(0, 3), 0.1), (slice(7, 15), 0.2)):
        offset = np.abs(q[:, part] - rest[part])
        assert 0.98 * half < offset.max() <= half + 1e-6
    angle = 2 * np.arccos(np.clip(q[:, 3], -1, 1))
    assert 0.98 * math.pi / 24 < angle.max() <= math.pi / 24 + 1e-3
    np.testing.assert_allclose(np.linalg.norm(q[:, 3:7], axis=1), 1, atol=1e-6)
    fixed = make("ant", num_envs=3, random_start=False).reset(0)[0].physics
    np.testing.assert_array_equal(fixed.q.numpy(), np.tile(rest, (3, 1)).astype(np.float32))
    assert not fixed.qd.any()


@pytest.mark.parametrize("task", ["cartpole", "ant"])
def test_named_variants_change_the_physics(task):
    options = ["limit_law"] + (["contact_law", "inertia_law"] if task == "ant" else [])
    base = rollout(make(task, num_envs=4, dtype="float64"), 30)[-1][2].physics.q
    for option in options:
        other = rollout(make(task, num_envs=4, dtype="float64", **{option: "paper"}), 30)[-1][2].physics.q
        assert (base - other).abs().max() > 1e-6


@pytest.mark.parametrize("task", ["cartpole", "ant"])
def test_episode_length_is_an_option(task):
    env = make(task, num_envs=2, episode_length=3)
    truncated = [row[3].truncated.tolist() for row in rollout(env, 4, scale=0.0)]
    assert truncated == [[False] * 2, [False] * 2, [True] * 2, [False] * 2]
    with pytest.raises(ValueError, match="episode_length=0"):
        make(task, episode_length=0)


def test_total_mass_is_the_released_model_s():
    assert make("ant", num_envs=1).task.dynamics.model.link_mass.sum() == pytest.approx(182.2, abs=0.05)
    assert make("cartpole", num_envs=1).task.dynamics.model.link_mass == pytest.approx([50.0, 2.5])


def test_standard_output_stays_clean():
    code = "from diffsim_core import make; env = make('cartpole', num_envs=2); env.reset(0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
