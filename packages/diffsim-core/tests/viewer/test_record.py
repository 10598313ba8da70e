"""What is recorded, against the twin and against what the environment itself says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import TaskEnv, make  # noqa: E402
from diffsim_core.io import load_model  # noqa: E402
from diffsim_core.rigid import MuscleState, RigidDynamics, RigidState, Sensors, twin  # noqa: E402
from diffsim_core.tasks import RigidTask  # noqa: E402
from diffsim_core.viewer import Recorder, motion_of, record  # noqa: E402

from ..io.test_muscles import ACTUATORS, ARM  # noqa: E402
from ..pendulum import make_pendulum  # noqa: E402
from ..rigid.host import random_states  # noqa: E402
from ..rigid.models import model as small_model  # noqa: E402
from ..rigid.test_pairs import tumbled_states, two_bodies  # noqa: E402
from ..rigid.test_surfaces import hills, world  # noqa: E402


class Still(RigidTask):
    """A task around any model."""

    name = "still"

    def initial(self, xp, random):
        raise AssertionError("states are given here")

    def observe(self, xp, physics, task):
        return physics.q

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return physics.q[:, 0]


class Bare(Still):
    """The same, whose actions are the commands."""

    def control(self, xp, action):
        return (action,)


def around(model, dtype="float64", kind=Still, **options) -> TaskEnv:
    dynamics = RigidDynamics(model, dt=0.01, substeps=1, dtype=dtype, **options)
    task = kind(dynamics, episode_length=10, obs_names=("q",) * model.nq)
    return TaskEnv(task, 2, arrays="torch", dtype=dtype)


def noisy(env, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda obs: 2 * torch.rand(len(obs), env.spec.num_actions, generator=generator) - 1


def placed(motion, frame, world_, shape):
    """Where a shape of a motion is: centre and axes."""
    pos, axes = np.array(shape.pos), twin.rotation_matrix(np.array(shape.quat))
    if shape.body < 0:
        return pos, axes
    R = twin.rotation_matrix(motion.quaternion[frame, world_, shape.body].astype(float))
    return motion.position[frame, world_, shape.body] + R @ pos, R @ axes


@pytest.mark.parametrize("name", ["free-ball-hinge", "planar-slides", "two-trees"])
def test_shapes_are_where_the_twin_has_them(name):
    model = small_model(name)
    q, qd, _ = random_states(model, 6, seed=1)
    physics = RigidState(q.reshape(3, 2, -1), qd.reshape(3, 2, -1))
    motion = motion_of(around(model, kind=Bare), physics, np.zeros((3, 2, model.nu)))
    assert motion.begins.tolist() == [[True, True], [False, False], [False, False]]
    for k in range(6):
        kin = twin.kinematics(model, q[k])
        for geom, shape in zip(model.geoms, motion.shapes, strict=True):
            R, x = (kin.rotation[geom.link], kin.position[geom.link]) if geom.link >= 0 else (np.eye(3), np.zeros(3))
            centre, axes = placed(motion, k // 2, k % 2, shape)
            np.testing.assert_allclose(centre, x + R @ geom.pos, atol=1e-5)
            np.testing.assert_allclose(axes, R @ twin.rotation_matrix(geom.quat), atol=1e-5)


def generalised(model, motion, frame, world_, kin):
    """Joint forces of the recorded contact forces, all on link 0, which is free."""
    rows = (motion.contacts.frame == frame) & (motion.contacts.world == world_)
    x, f = motion.contacts.point[rows].astype(float), motion.contacts.force[rows].astype(float)
    wrench = np.concatenate([np.cross(x, f).sum(0), f.sum(0)]) if rows.any() else np.zeros(6)
    return kin.S.T @ wrench


@pytest.mark.parametrize("kind", ["ellipsoid", "box"])
@pytest.mark.parametrize("ground", ["level", "hills"])
def test_contact_forces_are_the_twins(kind, ground):
    model = world(kind, hills() if ground == "hills" else 0.0)
    q, qd, _ = tumbled_states(model, 40, seed=2)
    q[:, 2] = np.abs(q[:, 2]) % 0.4
    motion = motion_of(around(model), RigidState(q.reshape(20, 2, -1), qd.reshape(20, 2, -1)), np.zeros((20, 2, 0)))
    touching = 0
    for k in range(40):
        kin = twin.kinematics(model, q[k])
        expected = twin.contact_forces(model, kin, qd[k])
        found = generalised(model, motion, k // 2, k % 2, kin)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max() + 1e-9)
        touching += expected.any()
    assert touching > 5


@pytest.mark.parametrize("kinds", [("capsule", "sphere"), ("capsule", "box")])
def test_shapes_that_touch_each_other(kinds):
    model = two_bodies(*kinds)
    q, qd, _ = tumbled_states(model, 40, seed=3)
    motion = motion_of(around(model), RigidState(q[None], qd[None]), np.zeros((1, 40, 0)))
    forces = np.zeros((40, 3))
    np.add.at(forces, motion.contacts.world, motion.contacts.force)
    for k in range(40):
        tau = twin.contact_forces(model, twin.kinematics(model, q[k]), qd[k])
        first = tau[:3] if model.pairs.link[0, 0] == 0 else -tau[:3]
        np.testing.assert_allclose(forces[k], first, rtol=1e-5, atol=1e-5 * np.abs(tau).max() + 1e-9)
    assert 3 < len(np.unique(motion.contacts.world)) < 40


def test_a_rollout_is_what_the_environment_did():
    env = make("ant", num_envs=3, episode_length=7)
    motion = record(env, noisy(env), steps=20, seed=4, worlds=2, value=lambda obs: obs[:, 0])
    assert (motion.num_frames, motion.num_worlds, motion.name) == (20, 2, "ant")
    state, obs = env.reset(4)
    policy, sensors = noisy(env), Sensors(env.task.dynamics, ["position:torso", "contact_force:foot_1"])
    begins = torch.ones(3, dtype=torch.bool)
    foot = env.task.dynamics.model.contact_geom.index("foot_1")
    assert foot >= 0
    for t in range(20):
        read = sensors(state.physics)[:2].numpy()
        np.testing.assert_allclose(motion.position[t, :, 0], read[:, :3], atol=1e-6)
        np.testing.assert_array_equal(motion.begins[t], begins[:2])
        np.testing.assert_array_equal(motion.curves["value"][t], obs[:2, 0])
        state, transition = env.step(state, policy(obs))
        np.testing.assert_array_equal(motion.curves["reward"][t], transition.reward[:2])
        begins, obs = transition.terminated | transition.truncated, transition.obs
    assert motion.begins.sum(0).tolist() == [3, 3]
    total = sum(record(env, noisy(env), episodes=1, seed=4).begins.sum(0))
    assert total == 3


def test_forces_of_a_rollout_are_the_sensors():
    env = make("ant", num_envs=2)
    geoms = sorted(set(env.task.dynamics.model.contact_geom))
    sensors = Sensors(env.task.dynamics, [f"contact_force:geom/{name}" for name in geoms])
    recorder = Recorder(env)
    (state, obs), policy, summed = env.reset(0), noisy(env), []
    for _ in range(60):
        action = policy(obs)
        summed.append(sensors(state.physics).reshape(2, -1, 3).sum(1).numpy())
        before = state
        state, transition = env.step(before, action)
        recorder.add(before, action, transition)
        obs = transition.obs
    motion = recorder.motion()
    found = np.zeros((60, 2, 3))
    np.add.at(found, (motion.contacts.frame, motion.contacts.world), motion.contacts.force)
    expected = np.stack(summed)
    assert (np.abs(expected).max((0, 1)) > 10).all()
    # At rest under the ground's edge single precision decides which way friction points.
    np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_muscles_without_activation_show_their_control():
    env = make("humanoid_mtu", num_envs=1)
    motion = record(env, lambda obs: torch.linspace(-1.5, 1.5, 152)[None], steps=2)
    np.testing.assert_allclose(
        motion.activation[0, 0], np.clip(np.linspace(-1.5, 1.5, 152), -1, 1) / 2 + 0.5, atol=1e-6
    )
    model, muscles = env.task.dynamics.model, motion.muscles
    kin = twin.kinematics(model, env.reset(0)[0].physics.q[0].double().numpy())
    lengths = np.zeros(152)
    for m, bodies, ends in zip(muscles.muscle, muscles.body, muscles.pos, strict=True):
        a, b = (
            motion.position[0, 0, body] + twin.rotation_matrix(motion.quaternion[0, 0, body].astype(float)) @ pos
            for body, pos in zip(bodies, ends, strict=True)
        )
        lengths[m] += np.linalg.norm(a - b)
    np.testing.assert_allclose(lengths, twin.muscle_lengths(model, kin), atol=1e-5)
    strongest = np.abs(model.muscles.gear).argmax()
    assert muscles.width.argmax() == strongest and muscles.width.min() > 0


def test_muscles_with_activation_show_it():
    model = load_model(ARM.format(bodies="", tendons="", actuators=ACTUATORS))
    q, qd, _ = random_states(model, 3, seed=0)
    act = np.random.default_rng(1).uniform(-0.1, 1.1, (3, model.na))
    action = np.linspace(-1, 1, 3 * model.nu).reshape(1, 3, model.nu)
    motion = motion_of(around(model), MuscleState(q[None], qd[None], act[None]), action)
    own = dict(zip(model.muscles.name, model.muscles.activation, strict=True))
    for k, name in enumerate(motion.muscles.names):
        if own[name] >= 0:
            np.testing.assert_allclose(motion.activation[0, :, k], np.clip(act[:, own[name]], 0, 1), rtol=1e-6)
    k = motion.muscles.names.index("cord")  # a motor on a tendon, with controls from 0 to 1
    u = action[0, :, model.actuator_name.index("cord")] / 2 + 0.5
    np.testing.assert_allclose(motion.activation[0, :, k], u, rtol=1e-6)
    bare = dataclasses.replace(model, bodies=(), geoms=())
    with pytest.raises(ValueError, match="muscle 'quick' is on link 0, which has no body"):
        motion_of(around(bare), MuscleState(q[None], qd[None], act[None]), action)


def test_jax_gives_the_same_motion():
    pytest.importorskip("jax")
    envs = [make("hopper", num_envs=2, arrays=arrays) for arrays in ("torch", "jax")]
    q, qd, u = random_states(envs[0].task.dynamics.model, 10, seed=0, dtype="float32")
    states = RigidState(q.reshape(5, 2, -1), qd.reshape(5, 2, -1))
    a, b = (motion_of(env, states, u.reshape(5, 2, -1)) for env in envs)
    np.testing.assert_allclose(a.position, b.position, atol=1e-6)
    np.testing.assert_array_equal(a.contacts.frame, b.contacts.frame)
    assert len(a.contacts.frame)


def test_what_cannot_be_recorded_is_said():
    pendulum = make_pendulum(num_envs=2)
    with pytest.raises(TypeError, match="only rigid bodies can be recorded, and this is PendulumDynamics"):
        Recorder(pendulum)
    env = make("cartpole", num_envs=2)
    with pytest.raises(ValueError, match="worlds=3: the environment has 2"):
        Recorder(env, 3)
    with pytest.raises(ValueError, match="nothing was recorded"):
        Recorder(env).motion()
    with pytest.raises(ValueError, match="steps=0"):
        record(env, noisy(env), steps=0)
    gentle = make("ant", num_envs=1, randomize={"contact_mu": (0.5, 1.0)})
    motion = record(gentle, noisy(gentle), steps=30)
    assert motion.notes and not len(motion.contacts.frame)
