"""The sub-step that a model asks for: against closed forms, and against what really diverges."""

import numpy as np
import pytest
import torch

from diffsim_core import differentiable
from diffsim_core.io import LimitParams, load_model
from diffsim_core.rigid import RigidDynamics, RigidState
from diffsim_core.rigid.stability import longest_substep, needed_substeps, unstable_element

SPRING = """
<mujoco>
  <option gravity="0 0 0"/>
  <worldbody>
    <body>
      <joint name="j" type="slide" axis="1 0 0" stiffness="{stiffness}" damping="{damping}"/>
      <geom size="0.1" mass="0.5" contype="0" conaffinity="0"/>
    </body>
  </worldbody>
</mujoco>
"""


def swings(model, h, integrator):
    """Largest coordinate of 400 sub-steps from 0.1 m, or infinity for a world that ran away."""
    d = RigidDynamics(model, dt=400 * h, substeps=400, dtype="float64", integrator=integrator, limit=1e3)
    after, ok = differentiable(d)(
        RigidState(torch.tensor([[0.1]]).double(), torch.zeros(1, 1).double()), (torch.zeros(1, 0).double(),)
    )
    return float(after.q.abs().max()) if bool(ok) else np.inf


@pytest.mark.filterwarnings("ignore:model 'MuJoCo Model' will diverge")
@pytest.mark.parametrize("turns", [False, True])
def test_the_bound_of_viscous_drag_is_that_of_stokes(turns):
    joint = "hinge" if turns else "slide"
    model = load_model(f"""<mujoco><option gravity="0 0 0" viscosity="40"/><worldbody><body name="bead">
      <joint type="{joint}"/><geom size="0.05" mass="0.1"/></body></worldbody></mujoco>""")
    side, inertia = np.sqrt(0.4 * 0.05**2 * 6), 0.4 * 0.1 * 0.05**2 if turns else 0.1
    drag = np.pi * 40 * (side**3 if turns else 3 * side)
    need = longest_substep(model, model.q_ref, "implicit", 4.0)
    assert need.label == 'viscosity on "bead"'
    np.testing.assert_allclose(need.h, 2 * inertia / drag, rtol=0.011)
    speeds = []
    for h in (0.95 * need.h, 1.1 * need.h):
        d = RigidDynamics(model, dt=h, substeps=1, dtype="float64")
        state = RigidState(torch.zeros(1, 1).double(), torch.ones(1, 1).double())
        for _ in range(60):
            state, _ = differentiable(d)(state, (torch.zeros(1, 0).double(),))
        speeds.append(float(state.qd.abs()))
    assert speeds[0] < 0.1 and speeds[1] > 10


def test_the_bound_of_a_spring_is_where_it_diverges():
    model = load_model(SPRING.format(stiffness=5000, damping=0))
    need = longest_substep(model, model.q_ref, "implicit", 4.0)
    assert need.label == 'spring of joint "j"'
    np.testing.assert_allclose(need.h, 2 * np.sqrt(0.5 / 5000), rtol=0.011)
    assert swings(model, 0.98 * need.h, "implicit") < 1.0
    with pytest.warns(UserWarning, match=r'spring of joint "j" needs \d+ sub-steps'):
        assert swings(model, 1.03 * need.h, "implicit") == np.inf


def test_the_bound_of_an_explicit_damper_is_where_it_diverges_and_an_implicit_one_has_none():
    model = load_model(SPRING.format(stiffness=0, damping=200))
    need = longest_substep(model, model.q_ref, "explicit", 4.0)
    assert need.label == 'damping of joint "j"'
    np.testing.assert_allclose(need.h, 2 * 0.5 / 200, rtol=0.011)
    with pytest.warns(UserWarning, match="will diverge"):
        d = RigidDynamics(model, dt=1.1 * need.h, substeps=1, dtype="float64", integrator="explicit")
    assert unstable_element(model, d.sub_dt, "explicit") is not None
    assert longest_substep(model, model.q_ref, "implicit", 4.0).h == np.inf


def test_auto_takes_what_the_stiffest_joint_needs():
    soft, stiff = (load_model(SPRING.format(stiffness=k, damping=0)) for k in (50, 5e6))
    assert RigidDynamics(soft, dt=1 / 60, dtype="float64").substeps == 16
    substeps = needed_substeps(stiff, 1 / 60, "implicit")
    assert substeps == pytest.approx(np.sqrt(5e6 / 0.5) / 60, rel=0.02)
    with pytest.raises(ValueError, match="substeps='many' must be at least 1, or 'auto'"):
        RigidDynamics(soft, dt=1 / 60, substeps="many")


def test_limits_scale_with_what_moves():
    """The same rate of return for a finger and for a crane, whose inertias differ by a factor of a billion."""
    xml = """<mujoco><worldbody><body><joint range="-60 60" axis="0 1 0"/>
    <geom type="capsule" size="{r}" fromto="0 0 0 {l} 0 0" mass="{m}"/></body></worldbody></mujoco>"""
    rates = []
    for r, l, m in ((0.006, 0.03, 0.01), (0.5, 10.0, 5000.0)):
        model = load_model(xml.format(r=r, l=l, m=m))
        d = RigidDynamics(model, dt=1 / 60, dtype="float64")
        inertia = d.probe(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 0))).mass[0, 0, 0]
        rates.append(np.sqrt(model.limit_stiffness[0] / inertia))
        np.testing.assert_allclose(model.limit_damping[0], 2 * rates[-1] * inertia, rtol=1e-9)
        assert d.substeps == 16
    np.testing.assert_allclose(rates, 150.0, rtol=1e-9)
    given = load_model(xml.format(r=0.1, l=1, m=1), limits=LimitParams(stiffness=7.0, damping=2.0))
    assert (given.limit_stiffness[0], given.limit_damping[0]) == (7.0, 2.0)


@pytest.mark.parametrize(
    ("geom", "half"),
    [
        ('type="sphere" size="0.01" mass="0.01"', 0.01),
        ('type="box" size="0.002 0.002 0.002" mass="0.001"', 0.002),
        ('type="sphere" size="0.1" mass="1"', 0.1),
        ('type="box" size="1 1 1" mass="1000"', 1.0),
    ],
)
def test_what_lies_on_the_ground_sinks_by_a_small_part_of_its_size(geom, half):
    xml = f"""<mujoco><worldbody><geom type="plane" size="1 1 1"/><body pos="0 0 {half}"><freejoint/>
    <geom {geom}/></body></worldbody></mujoco>"""
    model = load_model(xml)
    step = differentiable(RigidDynamics(model, dt=1 / 60, dtype="float64"))
    state = RigidState(torch.tensor(model.q_ref)[None], torch.zeros(1, 6).double())
    for _ in range(120):
        state, _ = step(state, (torch.zeros(1, 0).double(),))
    assert 0 < half - state.q[0, 2].item() < min(0.06 * half, 0.021)
