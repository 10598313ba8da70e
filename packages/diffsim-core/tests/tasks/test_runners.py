"""Ant and Humanoid against their definitions, written again in NumPy from rotation matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402
from diffsim_core.rigid import twin  # noqa: E402
from diffsim_core.tasks.ant import Ant  # noqa: E402
from diffsim_core.tasks.humanoid import Humanoid  # noqa: E402

from .played import RUNNERS, placed, rollout  # noqa: E402

REST = {"ant": np.array(Ant.rest), "humanoid": np.array(Humanoid.rest)}
TARGET = {"ant": 10_000.0, "humanoid": 200.0}
FALLEN = {"ant": 0.27, "humanoid": 0.74}


def height_reward(task, z):
    if task == "ant":
        return z - 0.27
    d = min(max(z - 0.84, -1.0), 0.1)
    return -200 * d**2 if d < 0 else 10 * d


@pytest.mark.parametrize(("task", "price"), [("ant", 0.0), ("ant", 0.3), ("humanoid", 0.002)])
def test_observation_and_reward(task, price):
    options = {} if price in (0.0, 0.002) else {"action_penalty": price}
    env = make(task, num_envs=16, dtype="float64", **options)
    falls, low = 0, 0
    for _, action, after, tr in rollout(env, 60):
        done, terminated = (tr.terminated | tr.truncated).numpy(), tr.terminated.numpy()
        q, qd, obs = after.physics.q.numpy(), after.physics.qd.numpy(), tr.final_obs.numpy()
        for i in np.flatnonzero(~done):
            R = twin.rotation_matrix(q[i, 3:7])
            to = np.array([TARGET[task], 0.0]) - q[i, :2]
            heading = R[:2, 0] @ to / np.linalg.norm(to)
            act = action[i].numpy()
            expected = np.concatenate(
                [q[i, 2:7], qd[i, :3], R @ qd[i, 3:6], q[i, 7:], 0.1 * qd[i, 6:], [R[2, 2], heading], act]
            )
            np.testing.assert_allclose(obs[i], expected, atol=1e-12)
            paid = qd[i, 0] + 0.1 * R[2, 2] + heading + height_reward(task, q[i, 2]) - price * (act**2).sum()
            assert tr.reward[i].item() == pytest.approx(paid, abs=1e-10)
            assert q[i, 2] >= FALLEN[task]
            low += q[i, 2] < 0.84
        assert (obs[terminated, 0] < FALLEN[task]).all()
        falls += terminated.sum()
    assert falls > 0, "nobody fell: the end of an episode was not tried"
    assert task == "ant" or low > 0, "nobody came below the margin: half of the height reward was not tried"


@pytest.mark.parametrize(
    ("task", "num_obs", "first_actions", "substeps"),
    [("ant", 37, ("hip_1", "ankle_1"), 16), ("humanoid", 76, ("abdomen_z", "abdomen_y", "abdomen_x"), 48)],
)
def test_names_and_sizes(task, num_obs, first_actions, substeps):
    env = make(task, num_envs=1)
    assert len(env.spec.obs_names) == num_obs == env.spec.num_obs
    assert env.spec.action_names[: len(first_actions)] == first_actions
    assert env.spec.obs_names[11] == f"{first_actions[0]} [rad]"
    assert env.task.dynamics.substeps == substeps
    assert env.spec.dt == 1 / 60


def test_humanoid_joints_are_in_the_released_order():
    sides = ("hip_x", "hip_z", "hip_y", "knee", "ankle_y", "ankle_x"), ("shoulder1", "shoulder2", "elbow")
    expected = ["abdomen_z", "abdomen_y", "abdomen_x"]
    for part in sides:
        expected += [f"{side}_{name}" for side in ("right", "left") for name in part]
    model = make("humanoid", num_envs=1).task.dynamics.model
    assert list(model.joint_name[1:]) == expected == list(model.actuator_name)
    trunk, leg, arm = [200, 200, 200], [200, 200, 600, 400, 100, 100], [100, 100, 200]
    strength = 0.35 * np.array([*trunk, *leg, *leg, *arm, *arm])
    np.testing.assert_allclose(model.actuator_gear, strength)


@pytest.mark.parametrize("task", RUNNERS)
def test_terminates_when_it_falls_unless_told_not_to(task):
    q = np.tile(REST[task], (2, 1))
    q[1, 2:7] = 0.2, math.sqrt(0.5), 0, math.sqrt(0.5), 0  # flat on its front
    for early in (True, False):
        env = make(task, num_envs=2, dtype="float64", early_termination=early)
        _, tr = env.step(placed(env, q), torch.zeros(2, env.spec.num_actions, dtype=torch.float64))
        assert tr.terminated.tolist() == [False, early]


@pytest.mark.parametrize("task", RUNNERS)
def test_start_is_spread_as_documented(task):
    physics = make(task, num_envs=4096).reset(0)[0].physics
    q, rest = physics.q.numpy().astype(np.float64), REST[task]
    for part, half in ((slice(0, 3), 0.1), (slice(7, None), 0.2)):
        offset = np.abs(q[:, part] - rest[part])
        assert 0.98 * half < offset.max() <= half + 1e-6
        assert (offset.max(axis=0) > 0.98 * half).all()
    angle = 2 * np.arccos(np.clip(q[:, 3], -1, 1))
    assert 0.98 * math.pi / 24 < angle.max() <= math.pi / 24 + 1e-3
    np.testing.assert_allclose(np.linalg.norm(q[:, 3:7], axis=1), 1, atol=1e-6)
    assert (np.abs(physics.qd.numpy()).max(axis=0) > 0.98 * 0.25).all()
    assert physics.qd.abs().max() <= 0.25
    fixed = make(task, num_envs=3, random_start=False).reset(0)[0].physics
    np.testing.assert_array_equal(fixed.q.numpy(), np.tile(rest, (3, 1)).astype(np.float32))
    assert not fixed.qd.any()
