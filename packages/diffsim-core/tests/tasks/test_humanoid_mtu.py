"""The muscle-driven legs: the table, the observation, the reward, the two sides, and a user's own files."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diffsim_core import make  # noqa: E402
from diffsim_core.rigid import twin  # noqa: E402
from diffsim_core.rigid._twin_muscles import lengths_and_moments  # noqa: E402

from .played import placed, rollout  # noqa: E402


@pytest.fixture(scope="module")
def legs():
    return make("humanoid_mtu", num_envs=8, dtype="float64")


def test_eleven_bodies_and_152_muscles(legs):
    m = legs.task.dynamics.model
    assert (m.nl, m.nq, m.nv, m.nu, m.muscles.n, m.na, m.nc) == (11, 29, 24, 152, 152, 0, 88)
    assert m.link_mass.sum() == pytest.approx(37.0)
    assert (legs.spec.num_obs, legs.spec.num_actions) == (53, 152)
    assert len(set(legs.spec.action_names)) == 152
    assert legs.spec.obs_names[11] == "femur_left quaternion w" and legs.spec.obs_names[15] == "tibia_left [rad]"
    assert all(m.muscles.first[1:] - m.muscles.first[:-1] >= 1)


def test_moment_arms_have_the_anatomical_signs(legs):
    m = legs.task.dynamics.model
    _, arms = lengths_and_moments(m, *twin.kinematics(m, m.q_ref))
    dof = {name: int(d) for name, d in zip(m.joint_name, m.joint_dof, strict=True)}

    def shortens(muscle, joint, axis=0):
        """Motion about +y (of the hip and ankle: their second axis) that the muscle pulls towards."""
        return -np.sign(arms[m.muscles.name.index(muscle), dof[joint] + axis])

    for side in ("left", "right"):
        for name in ("rectus_femoris_1", "vastus_lateralis_1", "vastus_intermedius_2"):
            assert shortens(f"{name}_{side}", f"tibia_{side}") == -1, "extends the knee"
        for name in ("biceps_femoris_long_1", "semimembranosus_2", "gracilis_1", "gastrocnemius_medial_1"):
            assert shortens(f"{name}_{side}", f"tibia_{side}") == 1, "bends the knee"
        for name in ("gluteus_maximus_3", "semitendinosus_1", "adductor_magnus_5"):
            assert shortens(f"{name}_{side}", f"femur_{side}", 1) == 1, "extends the hip"
        for name in ("psoas_major_1", "iliacus_2", "rectus_femoris_2", "sartorius_1"):
            assert shortens(f"{name}_{side}", f"femur_{side}", 1) == -1, "bends the hip"
        outwards = {"left": 1, "right": -1}[side]
        for name in ("gluteus_medius_2", "gluteus_minimus_1", "tensor_fasciae_latae_1"):
            assert shortens(f"{name}_{side}", f"femur_{side}") == outwards, "spreads the leg"
        for name in ("adductor_longus_1", "adductor_magnus_2", "pectineus_1"):
            assert shortens(f"{name}_{side}", f"femur_{side}") == -outwards, "closes the leg"
        for name in ("soleus_1", "gastrocnemius_lateral_2", "tibialis_posterior", "flexor_hallucis_longus"):
            assert shortens(f"{name}_{side}", f"foot_{side}", 1) == 1, "points the foot"
        for name in ("tibialis_anterior", "extensor_digitorum_longus", "peroneus_tertius"):
            assert shortens(f"{name}_{side}", f"foot_{side}", 1) == -1, "lifts the foot"
        assert shortens(f"flexor_hallucis_longus_{side}", f"hallux_{side}") == 1
        assert shortens(f"extensor_digitorum_longus_{side}", f"toes_{side}") == -1


@pytest.mark.parametrize("pays_height", [False, True])
def test_observation_and_reward(pays_height):
    env = make("humanoid_mtu", num_envs=8, dtype="float64", height_reward=pays_height)
    high = 0
    for _, action, after, tr in rollout(env, 30):
        done = (tr.terminated | tr.truncated).numpy()
        q, qd, obs = after.physics.q.numpy(), after.physics.qd.numpy(), tr.final_obs.numpy()
        for i in np.flatnonzero(~done):
            R = twin.rotation_matrix(q[i, 3:7])
            to = np.array([10_000.0, 0.0]) - q[i, :2]
            heading = R[:2, 0] @ to / np.linalg.norm(to)
            expected = np.concatenate(
                [q[i, 2:7], qd[i, :3], R @ qd[i, 3:6], q[i, 7:], 0.1 * qd[i, 6:], [R[2, 2], heading]]
            )
            np.testing.assert_allclose(obs[i], expected, atol=1e-12)
            d = min(max(q[i, 2] - 0.51, -1.0), 0.05)
            height = (-200 * d**2 if d < 0 else 4 * d) if pays_height else 0.0
            activation = (action[i].numpy() + 1) / 2
            paid = qd[i, 0] + 0.1 * R[2, 2] + heading + height - 0.001 * activation.sum()
            assert tr.reward[i].item() == pytest.approx(paid, abs=1e-10)
            high += d > 0
        assert (obs[tr.terminated.numpy(), 0] < 0.46).all()
    assert high > 0


def test_mirrored_states_and_actions_give_the_mirrored_motion(legs):
    m = legs.task.dynamics.model
    other = {"left": "right", "right": "left"}

    def mirrored_name(name):
        stem, _, side = name.rpartition("_")
        return f"{stem}_{other[side]}" if side in other else name

    joints = {name: i for i, name in enumerate(m.joint_name)}
    muscles = {name: i for i, name in enumerate(m.actuator_name)}

    def mirror(q, qd):
        """y turns round; an axis of rotation keeps its y and turns x and z round."""
        q2, qd2 = np.empty_like(q), np.empty_like(qd)
        q2[:, :3], q2[:, 3:7] = q[:, :3] * [1, -1, 1], q[:, 3:7] * [1, -1, 1, -1]
        qd2[:, :3], qd2[:, 3:6] = qd[:, :3] * [1, -1, 1], qd[:, 3:6] * [-1, 1, -1]
        for name, i in joints.items():
            if i:
                j = joints[mirrored_name(name)]
                a, b, c, d = m.joint_q[i], m.joint_q[j], m.joint_dof[i], m.joint_dof[j]
                if m.joint_type[i] == 1:
                    q2[:, b : b + 4] = q[:, a : a + 4] * [1, -1, 1, -1]
                    qd2[:, d : d + 3] = qd[:, c : c + 3] * [-1, 1, -1]
                else:
                    q2[:, b], qd2[:, d] = q[:, a], qd[:, c]
        return q2, qd2

    swap = [muscles[mirrored_name(name)] for name in m.actuator_name]
    rng = np.random.default_rng(0)
    q = np.tile(np.array(legs.task.rest), (8, 1)) + rng.uniform(-0.1, 0.1, (8, 29))
    q[:, 2] -= 0.1
    for start in (3, *m.joint_q[m.joint_type == 1]):
        q[:, start : start + 4] /= np.linalg.norm(q[:, start : start + 4], axis=1, keepdims=True)
    qd = 0.5 * rng.normal(size=(8, 24))
    here, there = placed(legs, q, qd), placed(legs, *mirror(q, qd))
    for action in rng.uniform(-1, 1, (4, 8, 152)):
        here, paid = legs.step(here, torch.tensor(action))
        there, paid_there = legs.step(there, torch.tensor(action[:, swap]))
    assert legs.task.dynamics.active_contacts(here.physics).sum() > 0
    expected = mirror(here.physics.q.numpy(), here.physics.qd.numpy())
    np.testing.assert_allclose(there.physics.q, expected[0], atol=1e-8)
    np.testing.assert_allclose(there.physics.qd, expected[1], atol=1e-6)
    torch.testing.assert_close(paid.reward, paid_there.reward, atol=1e-8, rtol=0)


def test_start_is_spread_as_documented():
    physics = make("humanoid_mtu", num_envs=512).reset(0)[0].physics
    q, rest = physics.q.numpy(), np.array(make("humanoid_mtu", num_envs=1).task.rest)
    offset = np.abs(q[:, :3] - rest[:3])
    assert 0.09 < offset.max() <= 0.1 + 1e-6
    np.testing.assert_array_equal(q[:, 7:], np.tile(rest[7:], (512, 1)).astype(np.float32))
    assert 0.24 < np.abs(physics.qd.numpy()).max() <= 0.25


def test_files_must_come_together(tmp_path):
    with pytest.raises(ValueError, match="muscles is not given: pass both"):
        make("humanoid_mtu", num_envs=1, skeleton=tmp_path / "human.xml")
    with pytest.raises(ValueError, match="no such file"):
        make("humanoid_mtu", num_envs=1, skeleton=tmp_path / "a.xml", muscles=tmp_path / "b.xml")
