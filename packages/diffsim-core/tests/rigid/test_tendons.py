"""Tendons and actuators along lengths: against MuJoCo where it is smooth, the twin, and central differences."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import tendon_rates, twin
from diffsim_core.rigid._twin_tendons import passive_force, tendon_moments
from diffsim_core.rigid.coupled import full_state
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


def test_dampers_of_sums_are_implicit():
    """A servo a hundred times as stiff as explicit sub-steps bear comes to rest at its set point."""
    xml = """<mujoco><worldbody>
      <body><joint name="l" type="slide" axis="0 1 0"/><geom size=".03" mass=".01" contype="0" conaffinity="0"/></body>
      <body><joint name="r" type="slide" axis="0 -1 0"/><geom size=".03" mass=".01" contype="0" conaffinity="0"/></body>
      </worldbody><tendon><fixed name="t"><joint joint="l" coef=".5"/><joint joint="r" coef=".5"/></fixed></tendon>
      <actuator><position tendon="t" kp="900" kv="900"/></actuator></mujoco>"""
    r = load_model(xml)
    d = RigidDynamics(r, dt=1 / 60, substeps=16, dtype="float64", threads=1)
    q, qd = np.zeros((1, 2)), np.array([[0.3, 0.1]])
    for _ in range(600):
        out = step(d, q, qd, np.full((1, 1), 0.04))
        q, qd = out.q, out.qd
    np.testing.assert_allclose(0.5 * q.sum(), 0.04, rtol=1e-3)
    np.testing.assert_allclose(qd[0, 0] - qd[0, 1], 0.2, rtol=1e-9)  # what no tendon holds goes on


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


HELD = """<mujoco><worldbody>
    <body><joint name="l" type="slide" axis="0 1 0"/><geom size=".03" contype="0" conaffinity="0"/></body>
    <body><joint name="r" type="slide" axis="0 -1 0"/><geom size=".04" contype="0" conaffinity="0"/></body>
    <site name="w" pos=".1 0 1.3"/>
    <body pos="0 0 1"><joint name="a" axis="0 1 0"/><geom type="capsule" size=".02" fromto="0 0 0 .2 0 0"/>
      <site name="s" pos=".1 0 .05"/>
      <body pos=".2 0 0"><joint name="b" axis="0 1 0"/><geom type="capsule" size=".02" fromto="0 0 0 .2 0 0"/>
        <body pos=".2 0 0"><joint name="c" axis="0 1 0"/><geom type="capsule" size=".02" fromto="0 0 0 .2 0 0"/></body>
      </body></body></worldbody>
  <default><geom contype="0" conaffinity="0"/></default>
  <tendon><fixed name="pair" damping=".3"><joint joint="l" coef=".5"/><joint joint="r" coef="-.25"/></fixed>
    <fixed name="sum"><joint joint="a" coef="1"/><joint joint="b" coef="-.5"/><joint joint="c" coef=".7"/></fixed>
    <fixed name="one"><joint joint="l" coef="1"/><joint joint="r" coef="1"/></fixed>
    <spatial name="rope"><site site="w"/><site site="s"/></spatial></tendon>
  <equality><tendon name="gear" tendon1="pair" polycoef=".02 0 0 0 0"/><tendon name="three" tendon1="sum"/>
    <tendon name="tied" tendon1="rope" tendon2="one" polycoef="0 .1 0 0 0"/></equality>
  <actuator><position tendon="one" kp="30" kv="2"/></actuator></mujoco>"""


def test_tendons_held_by_equality_constraints():
    """Two joints become one exactly; other lengths are held by a spring and damper of what they move."""
    m, r = mujoco.MjModel.from_xml_string(HELD), load_model(HELD)
    data = mujoco.MjData(m)
    assert (r.nv, len(r.couplings), r.tendons.name) == (4, 1, ("pair", "three", "tied", "one"))
    d = engine(r, substeps=1)
    q, qd, u, _ = states(r, 4, 6)
    out = step(d, q, qd, u)
    for i in range(4):
        expected = twin.control_step(r, q[i], qd[i], u[i], DT, 1)
        np.testing.assert_allclose(np.r_[out.q[i], out.qd[i]], np.r_[expected], rtol=1e-9, atol=1e-9)
    x = full_state(r, q).q
    np.testing.assert_allclose(0.5 * x[:, 0] - 0.25 * x[:, 1], 0.02, atol=1e-12)
    bars = [np.random.default_rng(0).standard_normal(x.shape) for x in (q, qd)]
    found = vjp(d, q, qd, u, *bars)
    for k, y in enumerate((q, qd, u)):
        for j in range(y.shape[1]):
            values = []
            for sign in (1, -1):
                moved = [q.copy(), qd.copy(), u.copy()]
                moved[k][:, j] += sign * 2e-7
                out = step(d, *moved)
                values.append((out.q * bars[0] + out.qd * bars[1]).sum(1))
            expected = (values[0] - values[1]) / 4e-7
            np.testing.assert_allclose(found[k][:, j], expected, atol=1e-6 * (1 + np.abs(found[k]).max()), rtol=0)
    # hanging for two seconds: the lengths are where they were told to be
    q, qd = r.q_ref[None].copy(), np.zeros((1, r.nv))
    d = RigidDynamics(r, dt=1.0, substeps=1500, dtype="float64", threads=1)
    for _ in range(2):
        out = step(d, q, qd, np.full((1, 1), 0.05))
        q, qd = out.q, out.qd
    data.qpos[:] = full_state(r, q[0]).q
    mujoco.mj_forward(m, data)
    assert abs(data.ten_length[1]) < 0.01
    assert abs(data.ten_length[3] - m.tendon_length0[3] - 0.1 * data.ten_length[2]) < 0.01
    rest = tendon_rates(r, q[0])
    assert (rest.inertia > 0).all() and rest.decay.max() < 1500
