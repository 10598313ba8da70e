"""Several actuators on one joint whose sum has bounds: against MuJoCo, the twin, and central differences."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.dynamics import RigidDynamics

from . import parametric
from .host import random_states, step, vjp

XML = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <body pos="0 0 2"><joint name="h" axis="0 1 0" actuatorfrcrange="-2.5 1.5"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0.4 0 0"/>
      <body pos="0.4 0 0"><joint name="s" type="slide" axis="1 0 0" actuatorfrcrange="-4 4"/>
        <joint name="free" axis="0 1 0" armature="0.1"/><geom size="0.08"/></body></body>
  </worldbody>
  <actuator>
    <motor joint="h" gear="2"/>
    <position joint="h" kp="3" kv="0.4" forcerange="-2 2"/>
    <velocity joint="s" kv="2"/>
    <motor joint="s" gear="-3"/>
    <general joint="s" gainprm="2" biastype="affine" biasprm="0.5 -3 -0.2"/>
    <position joint="free" kp="2" kv="0.1" forcerange="-0.5 0.5"/>
  </actuator>
</mujoco>"""


def test_forces_are_those_of_mujoco() -> None:
    model, m = load_model(XML), mujoco.MjModel.from_xml_string(XML)
    d = mujoco.MjData(m)
    cut = 0
    for q, qd, u in zip(*random_states(model, 100, 1), strict=True):
        d.qpos[:], d.qvel[:], d.ctrl[:] = q, qd, u
        mujoco.mj_forward(m, d)
        np.testing.assert_allclose(twin.actuator_forces(model, q, qd, u), d.qfrc_actuator, atol=1e-12)
        cut += np.isin(d.qfrc_actuator[:2], m.jnt_actfrcrange[:2]).sum()
    assert 20 < cut < 180, "some sums must be at their bounds, and some within"


def test_a_step_is_the_twins() -> None:
    model = load_model(XML)
    q, qd, u = random_states(model, 6, 2)
    d = RigidDynamics(model, dt=1 / 60, substeps=4, dtype="float64")
    out = step(d, q, qd, u)
    for i in range(len(q)):
        expected = twin.control_step(model, q[i], qd[i], u[i], d.dt, d.substeps)
        np.testing.assert_allclose(out.q[i], expected[0], rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(out.qd[i], expected[1], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("integrator", ["implicit", "explicit"])
def test_gradients_equal_central_differences(integrator: str) -> None:
    model = load_model(XML)
    arrays = random_states(model, 8, 3)
    d = RigidDynamics(model, dt=1 / 60, substeps=3, dtype="float64", integrator=integrator)
    rng = np.random.default_rng(0)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    found, eps = vjp(d, *arrays, gq, gqd), 1e-6
    for k, x in enumerate(arrays):
        for j in range(x.shape[1]):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[k][:, j] += sign * eps
                out = step(d, *moved)
                ends.append((out.q * gq).sum(1) + (out.qd * gqd).sum(1))
            np.testing.assert_allclose(found[k][:, j], (ends[0] - ends[1]) / (2 * eps), rtol=1e-6, atol=1e-7)


def test_gradients_of_gains() -> None:
    model = load_model(XML)
    d = RigidDynamics(model, dt=1 / 60, substeps=3, dtype="float64", parameters=("actuator_gain", "joint_damping"))
    q, qd, u = random_states(model, 8, 4)
    rng, eps = np.random.default_rng(0), 1e-6
    params = d.parameters.nominal + 0.05 * rng.uniform(0, 1, (8, len(d.parameters)))
    cotangents = [rng.standard_normal(q.shape), rng.standard_normal(qd.shape)]
    found = parametric.vjp(d, q, qd, params, u, cotangents)[2]
    for j in range(params.shape[1]):
        ends = []
        for sign in (1, -1):
            moved = params.copy()
            moved[:, j] += sign * eps
            out = parametric.step(d, q, qd, moved, u)
            ends.append((out.q * cotangents[0]).sum(1) + (out.qd * cotangents[1]).sum(1))
        np.testing.assert_allclose(found[:, j], (ends[0] - ends[1]) / (2 * eps), rtol=1e-6, atol=1e-8)


def test_unbounded_sums_change_nothing() -> None:
    model = load_model(XML)
    assert model.servo_total_range.tolist() == [[-2.5, 1.5]] * 2 + [[-4, 4]] * 3 + [[-1e30, 1e30]]
    wide, none = (replace(model, servo_total_range=x) for x in (np.tile([-1e6, 1e6], (6, 1)), np.zeros((0, 2))))
    q, qd, u = random_states(model, 4, 3)
    a, b = (step(RigidDynamics(x, dt=0.01, substeps=2, dtype="float64"), q, qd, u) for x in (wide, none))
    np.testing.assert_array_equal(a.qd, b.qd)
