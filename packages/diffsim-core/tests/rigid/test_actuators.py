"""Servos, force ranges and gears on free and ball joints: against MuJoCo, the twin, and central differences."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.dynamics import RigidDynamics

from .host import random_states, step, vjp

XML = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <body name="box" pos="0 0 2">
      <freejoint name="root"/><geom type="box" size="0.2 0.15 0.1"/>
      <body pos="0.2 0 0"><joint name="ball" type="ball"/><geom type="capsule" size="0.05" fromto="0 0 0 0.3 0 0"/>
        <body pos="0.3 0 0"><joint name="h" axis="0 1 0" ref="0.3"/><joint name="s" type="slide" axis="1 0 0"/>
          <geom type="capsule" size="0.05" fromto="0 0 0 0.3 0.1 0"/></body></body>
    </body>
  </worldbody>
  <actuator>
    <position name="p" joint="h" kp="7" kv="0.3" gear="-1.5" forcerange="-3 4"/>
    <velocity name="v" joint="s" kv="5" gear="2"/>
    <position name="ps" joint="s" kp="40" dampratio="0.7"/>
    <motor name="m" joint="h" gear="3" ctrllimited="true" ctrlrange="-1 1" forcerange="-0.2 0.4"/>
    <motor name="plain" joint="s" gear="3"/>
    <general name="g" joint="h" gainprm="2" biastype="affine" biasprm="0.5 -3 -0.2" gear="1.2"/>
    <motor name="jet" joint="root" gear="1 -2 3 0.5 0 -0.7" forcerange="-0.5 0.5"/>
    <motor name="twist" joint="ball" gear="0.3 0 -0.2"/>
    <general name="wind" joint="ball" biastype="affine" biasprm="0.4 0 0" gear="0.3 1 -0.2"/>
  </actuator>
</mujoco>"""


def states(n, seed):
    model = load_model(XML)
    q, qd, u = random_states(model, n, seed)
    return model, q, qd, u


def test_forces_are_those_of_mujoco():
    model, q, qd, u = states(200, 1)
    m = mujoco.MjModel.from_xml_string(XML)
    d = mujoco.MjData(m)
    clipped = 0
    for i in range(len(q)):
        d.qpos[:], d.qvel[:], d.ctrl[:] = q[i], qd[i], u[i]
        mujoco.mj_forward(m, d)
        np.testing.assert_allclose(twin.actuator_forces(model, q[i], qd[i], u[i]), d.qfrc_actuator, rtol=0, atol=1e-12)
        clipped += np.isin(d.actuator_force, m.actuator_forcerange[np.asarray(m.actuator_forcelimited, bool)]).sum()
    assert 0 < clipped < 3 * len(q), "some forces must be at their bounds, and some within"


def test_which_actuators_become_servos():
    model = load_model(XML)
    names = [model.actuator_name[a] for a in model.servo_actuator]
    assert names == ["p", "v", "ps", "m", "g", *["jet"] * 5, *["twist"] * 2, *["wind"] * 3]
    assert np.flatnonzero(model.actuator_gear).tolist() == [model.actuator_name.index("plain")]


def test_control_step_equals_twin():
    model, q, qd, u = states(5, 2)
    d = RigidDynamics(model, dt=1 / 60, substeps=8, dtype="float64")
    out = step(d, q, qd, u)
    for i in range(len(q)):
        expected = twin.control_step(model, q[i], qd[i], u[i], d.dt, d.substeps)
        np.testing.assert_allclose(out.q[i], expected[0], rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(out.qd[i], expected[1], rtol=1e-9, atol=1e-10)
        expected = twin.forward_dynamics(model, q[i], qd[i], u[i])
        np.testing.assert_allclose(d.probe(q, qd, u).qdd[i], expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("memory", ["fast", "low"])
def test_gradients_equal_central_differences(memory):
    model, q, qd, u = states(6, 3)
    d = RigidDynamics(model, dt=1 / 60, substeps=4, dtype="float64", memory=memory)
    rng = np.random.default_rng(0)
    gq, gqd = rng.standard_normal(q.shape), rng.standard_normal(qd.shape)
    found = vjp(d, q, qd, u, gq, gqd)
    arrays, eps = [q, qd, u], 1e-6
    for k, x in enumerate(arrays):
        for j in range(x.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += sign * eps
                out = step(d, *moved)
                ends.append((out.q * gq).sum(1) + (out.qd * gqd).sum(1))
            np.testing.assert_allclose(found[k][:, j], (ends[0] - ends[1]) / (2 * eps), rtol=1e-6, atol=1e-7)


def test_no_gradient_passes_a_bound():
    model, q, qd, u = states(4, 4)
    d = RigidDynamics(model, dt=1e-3, substeps=1, dtype="float64", integrator="explicit")
    u[:, 0] = 1e3  # the force of "p" is far beyond its range
    ones = np.ones_like(q), np.ones_like(qd)
    gu = vjp(d, q, qd, u, *ones)[2]
    assert (gu[:, 0] == 0).all() and (gu[:, 1] != 0).all()


def test_a_control_that_is_no_number_is_contained():
    model, q, qd, u = states(4, 5)
    d = RigidDynamics(model, dt=1e-3, substeps=1, dtype="float64")
    u[2, 0] = np.nan  # bounded by forcerange: the bound must not hide it
    assert step(d, q, qd, u).ok.tolist() == [1, 1, 0, 1]


def test_a_position_servo_settles_where_spring_and_weight_balance():
    xml = """<mujoco><worldbody><body><joint name="z" type="slide" axis="0 0 1"/><geom size="0.1" mass="2"/></body>
    </worldbody><actuator><position joint="z" kp="400" kv="40" ctrlrange="-1 1"/></actuator></mujoco>"""
    model = load_model(xml)
    d = RigidDynamics(model, dt=2.0, substeps=4000, dtype="float64")
    out = step(d, np.zeros((1, 1)), np.zeros((1, 1)), np.full((1, 1), 0.3))
    np.testing.assert_allclose(out.q, 0.3 - 2 * 9.81 / 400, atol=1e-6)
