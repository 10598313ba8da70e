"""The twin against MuJoCo on random trees: mass matrix, bias force, acceleration."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin

from .trees import random_state, random_tree

TREES = 200


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


@pytest.mark.parametrize("first", range(0, TREES, 20))
def test_mass_matrix_bias_and_acceleration(first: int) -> None:
    for seed in range(first, first + 20):
        xml = random_tree(seed)
        model = load_model(xml)
        m = mujoco.MjModel.from_xml_string(xml)
        m.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL
        d = mujoco.MjData(m)
        rng = np.random.default_rng(10_000 + seed)
        q, qd = random_state(rng, m.nq, m.jnt_type)
        u = rng.normal(size=m.nu)
        d.qpos[:], d.qvel[:], d.ctrl[:] = q, qd, u
        mujoco.mj_forward(m, d)
        M = np.zeros((m.nv, m.nv))
        for column, unit in zip(M, np.eye(m.nv), strict=True):
            mujoco.mj_mulM(m, d, column, unit)
        kin = twin.kinematics(model, q)
        assert relative(twin.mass_matrix(model, kin), M) < 1e-9, seed
        assert relative(twin.bias_force(model, kin, qd), d.qfrc_bias) < 1e-9, seed
        assert relative(twin.forward_dynamics(model, q, qd, u), d.qacc) < 1e-9, seed


def test_poses_of_all_bodies_and_shapes() -> None:
    for seed in range(40):
        xml = random_tree(seed)
        model = load_model(xml)
        m = mujoco.MjModel.from_xml_string(xml)
        d = mujoco.MjData(m)
        q, _ = random_state(np.random.default_rng(seed), m.nq, m.jnt_type)
        d.qpos[:] = q
        mujoco.mj_kinematics(m, d)
        kin = twin.kinematics(model, q)
        for b, body in enumerate(model.bodies, start=1):
            R, x = kin.rotation[body.link], kin.position[body.link]
            np.testing.assert_allclose(x + R @ body.pos, d.xpos[b], atol=1e-12)
            np.testing.assert_allclose(R @ twin.rotation_matrix(body.quat), d.xmat[b].reshape(3, 3), atol=1e-12)
        for g, geom in enumerate(model.geoms):
            R, x = kin.rotation[geom.link], kin.position[geom.link]
            np.testing.assert_allclose(x + R @ geom.pos, d.geom_xpos[g], atol=1e-12)
            np.testing.assert_allclose(R @ twin.rotation_matrix(geom.quat), d.geom_xmat[g].reshape(3, 3), atol=1e-12)
