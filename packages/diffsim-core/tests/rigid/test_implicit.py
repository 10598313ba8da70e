"""The implicit part of a sub-step: dampers of joints, servos, limits and the ground, and dry friction."""

import itertools
from dataclasses import replace

import mujoco
import numpy as np
import pytest
import torch

from diffsim_core import differentiable
from diffsim_core.io import LimitParams, load_model
from diffsim_core.rigid import ModelParameters, RigidDynamics, RigidState, twin

EVERYTHING = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <geom type="plane" size="5 5 1"/>
    <body pos="0 0 0.4">
      <freejoint/>
      <geom type="box" size="0.2 0.15 0.1" pos="0.02 0 0.01"/>
      <body pos="0.2 0 0.05" quat="0.9 0.1 0.3 -0.2">
        <joint type="ball" stiffness="6" damping="30" frictionloss="0.2"/>
        <geom type="capsule" size="0.05" fromto="0 0 0 0.3 0 -0.1"/>
        <body pos="0.3 0 -0.1">
          <joint name="wrist" type="hinge" axis="0.2 1 0.1" range="-0.2 0.3" damping="20" frictionloss="0.9"/>
          <joint name="push" type="slide" axis="1 0 0.5" stiffness="40" armature="0.1" frictionloss="0.5"/>
          <geom type="ellipsoid" size="0.07 0.05 0.06" pos="0.1 0 0"/>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <position joint="wrist" kp="50" kv="5" forcerange="-4 4"/>
    <velocity joint="push" kv="30" forcerange="-20 20"/>
  </actuator>
</mujoco>
"""
ROTOR = """
<mujoco>
  <worldbody>
    <body>
      <joint name="j" axis="0 0 1" damping="{damping}" frictionloss="{friction}"/>
      <geom type="cylinder" size="0.1 0.05" mass="2" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator><motor joint="j"/></actuator>
</mujoco>
"""
INERTIA = 0.5 * 2 * 0.1**2


def states(model, worlds, seed):
    rng = np.random.default_rng(seed)
    q = np.tile(model.q_ref, (worlds, 1)) + 0.2 * rng.normal(size=(worlds, model.nq))
    q[:, 2] = rng.uniform(0.05, 0.3, worlds)  # low enough for the ground to push
    return q, rng.normal(size=(worlds, model.nv)), 2 * rng.normal(size=(worlds, model.nu))


@pytest.mark.parametrize(("law", "smoothing", "memory"), [("paper", 0.0, "fast"), ("released", 0.01, "low")])
def test_twin_and_gradients_agree(law, smoothing, memory):
    model = load_model(EVERYTHING, contact_law=law)
    model = replace(model, contact_kt=20 * model.contact_kt)
    names = ["contact_kn", "contact_kd", "contact_kt", "contact_mu", "joint_damping", "joint_friction"]
    names += ["limit_damping", "actuator_gain", "link_mass"]
    d = RigidDynamics(
        model, dt=1 / 60, substeps=4, dtype="float64", contact_smoothing=smoothing, memory=memory, parameters=names
    )
    q, qd, u = states(model, 6, 0)
    params = np.tile(d.parameters.nominal, (6, 1))
    inputs = [torch.tensor(x, requires_grad=True) for x in (q, qd, u, params)]
    weights = torch.tensor(np.random.default_rng(1).normal(size=(6, model.nq + model.nv)))
    step = differentiable(d)

    def weighted(q, qd, u, params):
        after, ok = step(RigidState(q, qd), (u,), ModelParameters(params))
        assert ok.all()
        return (torch.cat([after.q, after.qd], 1) * weights).sum(1), after

    value, after = weighted(*inputs)
    for i in range(6):
        expected = np.concatenate(twin.control_step(d.model, q[i], qd[i], u[i], d.dt, d.substeps))
        found = torch.cat([after.q[i], after.qd[i]]).detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(value.sum(), inputs)
    rng = np.random.default_rng(2)
    for k, x in enumerate(inputs):
        scale = np.maximum(np.abs(x.detach().numpy()), 1e-3) if k == 3 else 1.0
        direction = torch.tensor(rng.normal(size=x.shape) * scale)
        up, down = (
            [y.detach() + (s * 1e-6 * direction if i == k else 0) for i, y in enumerate(inputs)] for s in (1, -1)
        )
        numeric = (weighted(*up)[0] - weighted(*down)[0]).detach() / 2e-6
        analytic = (gradients[k] * direction).sum(1)
        errors = (numeric - analytic).abs() / (1 + analytic.abs())
        # a world in which a bound or a limit is crossed within 1e-6 has a kink there
        assert errors.median() < 1e-7 and errors.sort().values[-2] < 1e-5, (k, errors)


def test_a_damper_acts_on_the_velocity_it_leaves():
    """``v' = v / (1 + h c / I)``, at a rate ``h c / I`` at which an explicit damper would fly apart."""
    model = load_model(ROTOR.format(damping=50, friction=0))
    d = RigidDynamics(model, dt=0.1, substeps=10, dtype="float64")
    after, ok = differentiable(d)(
        RigidState(torch.zeros(1, 1).double(), torch.ones(1, 1).double()), (torch.zeros(1, 1).double(),)
    )
    np.testing.assert_allclose(after.qd.item(), (1 + 0.01 * 50 / INERTIA) ** -10.0, rtol=1e-12)
    assert ok.all()


def test_dry_friction_creeps_under_load_and_slides_beyond():
    """Below ``f`` at ``w artanh(tau / f)``, where friction holds the torque; above with ``(tau - f) / I``."""
    model = load_model(ROTOR.format(damping=0, friction=0.5))
    step = differentiable(RigidDynamics(model, dt=0.1, substeps=100, dtype="float64"))
    state = RigidState(*(torch.zeros(2, 1).double() for _ in range(2)))
    u = torch.tensor([[0.3], [0.9]], dtype=torch.float64)
    for _ in range(10):
        state, _ = step(state, (u,))
    np.testing.assert_allclose(state.qd[0].item(), model.friction_width * np.arctanh(0.6), rtol=1e-9)
    np.testing.assert_allclose(state.qd[1].item(), 0.4 / INERTIA, rtol=0.02)
    assert any("creeps" in note for note in model.notes)


def test_both_integrators_converge_to_one_motion_with_first_order():
    model = load_model(EVERYTHING)
    model = replace(model, dof_damping=0.02 * model.dof_damping, friction_width=0.5, contact_kt=0.1 * model.contact_kt)
    q, qd, u = (x[0] for x in states(model, 1, 3))

    def end(substeps, integrator):
        return np.concatenate(twin.control_step(model, q, qd, u, 1 / 200, substeps, integrator))

    ends = [end(n, "implicit") for n in (32, 64, 128)]
    steps = [np.linalg.norm(b - a) for a, b in itertools.pairwise(ends)]
    assert 1.7 < steps[0] / steps[1] < 2.4
    gaps = [np.linalg.norm(end(n, "explicit") - e) for n, e in zip((64, 128), ends[1:], strict=True)]
    assert 1.7 < gaps[0] / gaps[1] < 2.4


@pytest.mark.parametrize("bounds", ["", 'forcerange="-12 12"'])
def test_a_stiff_servo_on_a_light_link_comes_to_rest_as_in_mujoco(bounds):
    xml = f"""<mujoco><option integrator="implicitfast"/><worldbody><body pos="0 0 1"><joint name="wrist" axis="0 1 0"/>
    <geom type="capsule" size="0.03" fromto="0 0 0 0.1 0 0" contype="0" conaffinity="0"/></body></worldbody>
    <actuator><position joint="wrist" kp="450" kv="45" {bounds}/></actuator></mujoco>"""
    m = mujoco.MjModel.from_xml_string(xml)
    data = mujoco.MjData(m)
    mujoco.mj_step(m, data, 500)
    model = load_model(xml)
    step = differentiable(RigidDynamics(model, dt=1 / 60, substeps=16, dtype="float64"))
    # thrown hard, the servo at its bounds: neither chatters nor diverges
    state = RigidState(torch.zeros(2, 1).double(), torch.tensor([[0.0], [50.0]]).double())
    for _ in range(60):
        state, ok = step(state, (torch.zeros(2, 1).double(),))
    np.testing.assert_allclose(state.q[0].item(), data.qpos[0], rtol=1e-3)
    assert ok.all() and state.qd.abs().max() < 1e-3 and state.q.abs().max() < 2e-3


def test_a_joint_outside_of_its_range_comes_back_without_a_throw():
    """Critically damped: from rest 0.5 rad outside it comes back, and keeps 1/50 of the speed of a spring alone."""
    xml = """<mujoco><option gravity="0 0 0"/><compiler angle="radian"/><worldbody><body><joint range="-1 0"/>
    <geom type="capsule" size="0.01" fromto="0 0 0 0.2 0 0" contype="0" conaffinity="0"/></body></worldbody></mujoco>"""
    model = load_model(xml)
    assert model.limit_law == "damped"
    step = differentiable(RigidDynamics(model, dt=1 / 60, dtype="float64"))
    state = RigidState(torch.tensor([[0.5]]).double(), torch.zeros(1, 1).double())
    fastest = 0.0
    for _ in range(30):
        state, _ = step(state, (torch.zeros(1, 0).double(),))
        fastest = max(fastest, state.qd.abs().item())
    assert -1 < state.q.item() < 0.01 and fastest < 0.5 * 150 / np.e * 1.1 and state.qd.abs().item() < 0.5 * 150 / 50
    undamped = load_model(xml, limits=LimitParams(stiffness=float(model.limit_stiffness[0])))
    assert undamped.limit_law == "paper"


@pytest.mark.parametrize("mass", [0.01, 50.0])
def test_contact_on_light_feet_is_stable(mass):
    """Sticking friction of a whole robot at a light foot: 100 times what an explicit sub-step of this length bears."""
    xml = f"""<mujoco><worldbody><geom type="plane" size="1 1 1"/><body pos="0 0 0.3"><freejoint/>
    <geom type="box" size="0.2 0.2 0.05" mass="{mass}"/>
    <body pos="0 0 -0.1"><joint type="slide" stiffness="{1e4 * mass}" damping="{1e2 * mass}"/>
    <geom type="box" size="0.1 0.1 0.05" mass="{mass / 1000}"/></body></body></worldbody></mujoco>"""
    model = load_model(xml)
    d = RigidDynamics(model, dt=1 / 60, dtype="float64")
    assert d.substeps == 16
    step = differentiable(d)
    state = RigidState(torch.tensor(model.q_ref)[None], torch.zeros(1, model.nv).double())
    for _ in range(120):
        state, ok = step(state, (torch.zeros(1, 0).double(),))
    assert ok.all() and state.qd.abs().max() < 0.02 and 0.144 < state.q[0, 2] < 0.15
