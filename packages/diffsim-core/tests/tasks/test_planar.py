"""Hopper, HalfCheetah and Walker2d against their definitions, written again in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402
from diffsim_core.rigid import twin  # noqa: E402

from .played import PLANAR, placed, rollout  # noqa: E402

CAN_FALL = ("hopper", "walker2d")
REST_HEIGHT = {"hopper": 0.0, "half_cheetah": -0.2, "walker2d": 0.0}
NOISE = {"hopper": (0.05, 0.05), "half_cheetah": (0.1, 0.25), "walker2d": (0.05, 0.05)}


def paper_reward(task, q, qd, action):
    """SHAC paper, Eq. 14 and Eq. 15 to 18."""
    paid = qd[0] - 0.1 * (action**2).sum()
    if task == "half_cheetah":
        return paid
    d = min(max(q[1] + 0.3, -1.0), 0.3)
    height = -200 * d**2 if d < 0 else d
    return paid + height + 1 - q[2] ** 2 / (math.pi / 6) ** 2


@pytest.mark.parametrize("task", PLANAR)
def test_observation_and_reward(task):
    env = make(task, num_envs=16, dtype="float64")
    falls, low = 0, 0
    for _, action, after, tr in rollout(env, 120):
        q, qd, obs = after.physics.q.numpy(), after.physics.qd.numpy(), tr.final_obs.numpy()
        terminated = tr.terminated.numpy()
        for i in np.flatnonzero(~terminated):
            np.testing.assert_array_equal(obs[i], np.concatenate([q[i, 1:], qd[i]]))
            expected = paper_reward(task, q[i], qd[i], action[i].numpy())
            assert tr.reward[i].item() == pytest.approx(expected, abs=1e-10)
            assert task not in CAN_FALL or q[i, 1] >= -0.45
            low += q[i, 1] < -0.3
        assert (obs[terminated, 0] < -0.45).all()
        falls += terminated.sum()
    assert (falls > 0) == (task in CAN_FALL)
    assert task not in CAN_FALL or low > 0, "nobody came below the margin: half of the height reward was not tried"


@pytest.mark.parametrize(
    ("task", "joints"),
    [
        ("hopper", "thigh leg foot"),
        ("half_cheetah", "back_thigh back_shin back_foot front_thigh front_shin front_foot"),
        ("walker2d", "thigh leg foot thigh_left leg_left foot_left"),
    ],
)
def test_names_and_sizes(task, joints):
    env, names = make(task, num_envs=1), tuple(joints.split())
    n = len(names)
    assert env.spec.action_names == names
    assert env.spec.num_obs == 5 + 2 * n == len(env.spec.obs_names)
    assert env.spec.obs_names[2 : 2 + n] == tuple(f"{name} [rad]" for name in names)
    assert env.spec.obs_names[5 + n :] == tuple(f"{name} rate [rad/s]" for name in names)
    assert env.spec.obs_names[2 + n] == "velocity x [m/s]"
    assert env.task.dynamics.substeps == 16
    assert env.spec.dt == 1 / 60


@pytest.mark.parametrize("task", PLANAR)
def test_terminates_when_it_falls_unless_told_not_to(task):
    for early in (True, False):
        env = make(task, num_envs=2, dtype="float64", early_termination=early)
        q = np.zeros((2, env.task.dynamics.model.nq))
        q[1, 1:3] = -1.0, math.pi / 2  # flat on its front
        _, tr = env.step(placed(env, q), torch.zeros(2, env.spec.num_actions, dtype=torch.float64))
        assert tr.terminated.tolist() == [False, early and task in CAN_FALL]


@pytest.mark.parametrize("task", PLANAR)
def test_start_is_spread_as_documented(task):
    physics = make(task, num_envs=4096).reset(0)[0].physics
    rest = np.zeros(physics.q.shape[1])
    rest[1] = REST_HEIGHT[task]
    for values, centre, half in zip(physics, (rest, 0.0), NOISE[task], strict=True):
        offset = np.abs(values.numpy().astype(np.float64) - centre).max(axis=0)
        assert (offset <= half + 1e-6).all()
        assert (offset > 0.98 * half).all()
    fixed = make(task, num_envs=3, random_start=False).reset(0)[0].physics
    np.testing.assert_array_equal(fixed.q.numpy(), np.tile(rest, (3, 1)).astype(np.float32))
    assert not fixed.qd.any()


@pytest.mark.parametrize(("law", "drag"), [("released", 10.0), ("paper", 0.0)])
@pytest.mark.parametrize(("task", "armature"), [("hopper", 1.0), ("half_cheetah", 0.1), ("walker2d", 0.1)])
def test_released_limit_damping_drags_the_root(task, armature, law, drag):
    """In flight, the momentum along x (the armature's included) changes by ``-drag`` times the way."""
    env = make(task, num_envs=1, dtype="float64", limit_law=law, early_termination=False, substeps=256)
    model = env.task.dynamics.model
    np.testing.assert_array_equal(model.dof_armature, armature)
    rng = np.random.default_rng(0)
    q, qd = rng.uniform(-0.2, 0.2, model.nq), rng.normal(size=model.nv)
    q[1] = 100.0

    def momentum(q, qd):
        return (twin.mass_matrix(model, twin.kinematics(model, q)) @ qd)[0]

    state, actions = placed(env, q[None], qd[None]), rng.uniform(-1, 1, (6, 1, env.spec.num_actions))
    for action in actions:
        state, _ = env.step(state, torch.tensor(action))
    q_end, qd_end = (part.numpy()[0] for part in state.physics)
    way = q_end[0] - q[0]
    assert abs(way) > 0.05
    assert momentum(q_end, qd_end) - momentum(q, qd) == pytest.approx(-drag * way, abs=0.02 * abs(10 * way))
