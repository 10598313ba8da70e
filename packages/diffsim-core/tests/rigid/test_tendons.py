"""Tendons and actuators along lengths: against MuJoCo where it is smooth, the twin, and central differences."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid._twin_tendons import passive_force, tendon_moments
from diffsim_core.rigid.dynamics import RigidDynamics

from .host import random_states, step, vjp
from .tendon_models import ACTUATORS, ROUGH, SMOOTH, machine

DT = 1e-3
ACTIVE = ("lag", "slow", "sum", "flexor", "extensor")


def engine(model, substeps=2, **options):
    return RigidDynamics(model, dt=DT, substeps=substeps, dtype="float64", threads=1, **options)


def states(model, n, seed):
    q, qd, u = random_states(model, n, seed, spread=0.2)
    return q, qd, u, np.random.default_rng(seed + 5).uniform(-0.6, 0.9, (n, model.na))


def test_forces_and_accelerations_are_mujocos():
    m = mujoco.MjModel.from_xml_string(machine())
    d, r = mujoco.MjData(m), load_model(machine())
    assert [r.actuator_name[c] for c in r.tendons.control[r.tendons.activation >= 0]] == list(ACTIVE[:3])
    q, qd, u, act = states(r, 40, 0)
    bare = engine(load_model(machine("<fixed name='grip'><joint joint='l' coef='1'/></fixed>", "")))
    found, without = engine(r).probe(q, qd, u, act=act), bare.probe(q, qd, np.zeros((40, 0)))
    for i in range(40):
        d.qpos[:], d.qvel[:], d.ctrl[:], d.act[:] = q[i], qd[i], u[i], act[i]
        mujoco.mj_forward(m, d)
        np.testing.assert_allclose(tendon_moments(r, *twin.kinematics(r, q[i]), q[i])[0][:4], d.ten_length, rtol=1e-12)
        scale = 1 + np.abs(d.qacc).max()
        np.testing.assert_allclose(found.qdd[i], d.qacc, rtol=1e-10, atol=1e-10 * scale)
        tendons = found.force[i] - without.force[i]
        damping = -r.dof_damping * qd[i]
        expected = d.qfrc_actuator + d.qfrc_passive - damping
        np.testing.assert_allclose(tendons, expected, rtol=1e-10, atol=1e-10 * scale)


def test_activations_are_those_of_mujocos_step():
    xml = machine().replace('jacobian="dense"', 'jacobian="dense" timestep="0.0005"')
    m, r = mujoco.MjModel.from_xml_string(xml), load_model(xml)
    d = mujoco.MjData(m)
    q, qd, u, act = states(r, 20, 1)
    out = step(engine(r), q, qd, u, act)
    clipped = 0
    for i in range(20):
        d.qpos[:], d.qvel[:], d.ctrl[:], d.act[:] = q[i], qd[i], u[i], act[i]
        for _ in range(2):
            mujoco.mj_step(m, d)
        np.testing.assert_allclose(out.act[i], d.act, rtol=1e-13, atol=1e-13)
        clipped += abs(d.act[2]) == 0.3
    assert 0 < clipped < 20


@pytest.mark.parametrize("tendons", [SMOOTH, ROUGH])
def test_the_engine_follows_the_twin(tendons):
    r = load_model(machine(tendons))
    q, qd, u, act = states(r, 6, 2)
    out = step(engine(r, substeps=3), q, qd, u, act)
    for i in range(6):
        expected = twin.control_step_with_muscles(r, q[i], qd[i], act[i], u[i], DT, 3)
        for found, value in zip((out.q[i], out.qd[i], out.act[i]), expected, strict=True):
            np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_gradients_are_those_of_central_differences(memory):
    r = load_model(machine(ROUGH))
    d = engine(r, memory=memory)
    arrays = states(r, 8, 3)
    rng = np.random.default_rng(3)
    bars = [rng.standard_normal(a.shape) for a in (arrays[0], arrays[1], arrays[3])]
    found = vjp(d, *arrays[:3], *bars[:2], arrays[3], bars[2])
    eps = 2e-7
    for k, x in enumerate(arrays):
        for j in range(x.shape[1]):
            values = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += sign * eps
                out = step(d, *moved)
                values.append(sum((a * b).sum(1) for a, b in zip((out.q, out.qd, out.act), bars, strict=True)))
            expected = (values[0] - values[1]) / (2 * eps)
            scale = 1 + max(np.abs(g).max() for g in found)
            np.testing.assert_allclose(found[k][:, j], expected, atol=1e-6 * scale, rtol=0)


def test_limits_push_back_and_friction_brakes():
    r = load_model(machine(ROUGH))
    grip = r.tendons.passive_constants(0)
    assert passive_force(grip, 0.02, 0.0) == 0
    assert passive_force(grip, 0.08, 0.0) < -0.02 * grip.limit_stiffness
    assert passive_force(grip, 0.08, 0.1) < passive_force(grip, 0.08, 0.0)
    assert -0.3 - 0.4 * 0.2 < passive_force(grip, 0.02, 0.2) < -0.29 - 0.4 * 0.2
    # at rest against a limit the tendon sinks in by load / stiffness, and comes to rest there
    xml = """<mujoco><worldbody><body><joint name="j" type="slide" axis="0 0 1"/><geom size=".1" mass="2"/></body>
      </worldbody><tendon><fixed name="t" limited="true" range="-.1 .1"><joint joint="j" coef="2"/></fixed></tendon>
      </mujoco>"""
    r = load_model(xml)
    q, qd = np.zeros((1, 1)), np.zeros((1, 1))
    d = RigidDynamics(r, dt=1.0, substeps=960, dtype="float64", threads=1)
    for _ in range(2):
        out = step(d, q, qd, np.zeros((1, 0)))
        q, qd = out.q, out.qd
    stiffness = r.tendons.passive_constants(0).limit_stiffness
    np.testing.assert_allclose(2 * q[0, 0], -0.1 - 2 * 9.81 / 2 / stiffness, rtol=1e-6)
    assert abs(2 * q[0, 0] + 0.1) < 0.003
    np.testing.assert_allclose(qd, 0, atol=1e-8)


def test_a_machine_far_away_pulls_as_one_at_home():
    tendon = '<spatial name="rope" stiffness="20" damping=".3"><site site="s0"/><site site="s2"/></spatial>'
    motors = '<motor name="jet" site="thruster" gear="1 2 -3 .1 .2 -.3"/>'
    r = load_model(machine(tendon, motors))
    d = RigidDynamics(r, dt=0.01, substeps=2, dtype="float32", threads=1)
    q, qd, u = random_states(r, 4, 0, "float32")
    far = q.copy()
    far[:, :2] = 1e4
    near, there = d.probe(q, qd, u), d.probe(far, qd, u)
    np.testing.assert_array_equal(near.force, there.force)


def test_the_models_are_what_they_are_said_to_be():
    r = load_model(machine(SMOOTH, ACTUATORS))
    assert (r.muscles.n, r.tendons.n, r.na) == (3, 14, 5)
    assert sorted(
        [*r.muscles.activation[r.muscles.activation >= 0], *r.tendons.activation[r.tendons.activation >= 0]]
    ) == [*range(5)]
