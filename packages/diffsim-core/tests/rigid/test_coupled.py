"""Coupled joints: against MuJoCo's matrices, the twin, differences, energy, and models that cannot be."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import (
    JOINTS,
    Coupling,
    RigidDynamics,
    RigidModel,
    RigidState,
    Sensors,
    couple,
    full_state,
    own_state,
    twin,
    uncoupled,
)
from diffsim_core.rigid.coupled import reduction
from diffsim_core.rigid.stability import longest_substep
from diffsim_core.tasks.robot import robot_task

from . import parametric
from .host import random_states, step, vjp
from .test_dynamics import central_differences, relative
from .trees import TreeOptions, random_tree

LINKAGE = """
<mujoco><option><flag contact="disable"/></option><compiler angle="radian"/><worldbody>
  <body pos="0 0 2"><joint name="crank" axis="0 1 0" ref="0.2"/>
    <geom type="capsule" size="0.05" fromto="0 0 0 0.6 0 0"/>
    <body pos="0.6 0 0"><joint name="rod" axis="0 1 0.2" ref="-0.1"/>
      <geom type="capsule" size="0.04" fromto="0 0 0 0.5 0 0"/>
      <body pos="0.5 0 0"><joint name="piston" type="slide" axis="1 0 0"/><geom size="0.08" pos="0.1 0 0"/></body>
    </body>
  </body>
  <body pos="0 1 2"><joint name="wheel" axis="0 1 0"/><geom size="0.15" pos="0.1 0 0"/></body>
</worldbody></mujoco>"""
LAWS = (
    Coupling("piston", "rod", (0.05, 0.2, -0.1, 0.05, 0.02)),
    Coupling("rod", "crank", (0.1, -0.8, 0.3)),
    Coupling("wheel", "crank", (0.0, 2.0)),
)


def linkage() -> RigidModel:
    return couple(load_model(LINKAGE), LAWS)


def coupled_tree(seed: int, options: TreeOptions | None = None) -> tuple[str, RigidModel]:
    """A random tree in which about half of the joints with one coordinate follow others, in chains, or are held."""
    xml = random_tree(seed, options)
    model, rng = load_model(xml), np.random.default_rng(seed)
    names = [name for name, kind in zip(model.joint_name, model.joint_type, strict=True) if JOINTS.at(int(kind)).scalar]
    shuffled = [str(name) for name in rng.permutation(names)]
    laws = []
    for k in range(1, len(shuffled)):
        if rng.random() < 0.6:
            held = rng.random() < 0.15
            degree = 0 if held else int(rng.integers(1, 5))
            leader = None if held else shuffled[int(rng.integers(0, k))]
            laws.append(Coupling(shuffled[k], leader, (rng.normal(size=degree + 1) * 0.4).tolist()))
    return xml, couple(model, laws)


def engine(model: RigidModel, substeps: int = 2, **options) -> RigidDynamics:
    return RigidDynamics(model, dt=1 / 240, substeps=substeps, dtype="float64", **options)


def cotangents(*arrays):
    rng = np.random.default_rng(9)
    return [rng.standard_normal(a.shape) for a in arrays]


TREES = [seed for seed in range(40) if len(coupled_tree(seed)[1].couplings)][:20]


def test_the_random_trees_have_chains_held_joints_and_curves():
    all_couplings = [coupled_tree(seed)[1].couplings for seed in TREES]
    assert any(np.isin(c.leader, c.link).any() for c in all_couplings)
    assert any((c.leader < 0).any() for c in all_couplings)
    assert any(c.curved for c in all_couplings) and any(not c.curved for c in all_couplings)


@pytest.mark.parametrize("seed", TREES)
def test_mass_force_and_acceleration_are_mujocos_reduced(seed):
    """``M' = G^T M G`` and so on: M and forces from MuJoCo's model of all joints, G and its rate by differences."""
    xml, model = coupled_tree(seed)
    m = mujoco.MjModel.from_xml_string(xml)
    m.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_CONSTRAINT | mujoco.mjtDisableBit.mjDSBL_CLAMPCTRL
    d = mujoco.MjData(m)
    q, qd, u = random_states(model, 1, seed, spread=0.4)
    found = engine(model).probe(q, qd, u)
    d.qpos[:], d.qvel[:] = full_state(model, q[0], qd[0])
    d.ctrl[:] = u[0]
    mujoco.mj_forward(m, d)
    M = np.zeros((m.nv, m.nv))
    for column, unit in zip(M, np.eye(m.nv), strict=True):
        mujoco.mj_mulM(m, d, column, unit)
    G = np.array([full_state(model, q[0], e).qd for e in np.eye(model.nv)]).T
    h = 1e-6
    rates = [full_state(model, twin.integrate(model, q[0], qd[0], side * h), qd[0]).qd for side in (1, -1)]
    drift = (rates[0] - rates[1]) / (2 * h)
    force = d.qfrc_passive + d.qfrc_actuator - d.qfrc_bias
    expected = np.linalg.solve(G.T @ M @ G, G.T @ (force - M @ drift))
    assert relative(found.mass[0], G.T @ M @ G) < 1e-12
    assert relative(found.force[0], G.T @ (force - M @ drift)) < 1e-7
    assert relative(found.qdd[0], expected) < 1e-7
    assert relative(found.qdd[0], twin.forward_dynamics(model, q[0], qd[0], u[0])) < 1e-9


def test_acceleration_is_the_limit_of_mujocos_soft_constraint():
    """Of linear laws: MuJoCo leaves out the acceleration along a curved one. Its regularisation is (1 - d) / d."""
    laws = [
        Coupling("rod", "crank", (0.1, -0.8)),
        Coupling("piston", "rod", (0.0, 0.3)),
        Coupling("wheel", None, (0.2,)),
    ]
    model = couple(load_model(LINKAGE), laws)
    text = '<joint joint1="rod" joint2="crank" polycoef="0.1 -0.8 0 0 0" {0}/>'
    text += '<joint joint1="piston" joint2="rod" polycoef="0 0.3 0 0 0" {0}/><joint joint1="wheel" polycoef="0.2" {0}/>'
    q, qd, _ = random_states(model, 1, 3)
    limits = []
    for impedance in (0.999, 0.9995):
        solver = f'solimp="{impedance} {impedance} 1"'
        xml = LINKAGE.replace("</mujoco>", f"<equality>{text.format(solver)}</equality></mujoco>")
        m = mujoco.MjModel.from_xml_string(xml)
        m.opt.jacobian, m.opt.tolerance = mujoco.mjtJacobian.mjJAC_DENSE, 0.0
        d = mujoco.MjData(m)
        d.qpos[:], d.qvel[:] = full_state(model, q[0], qd[0])
        mujoco.mj_forward(m, d)
        limits.append((1 / impedance - 1, d.qacc.copy()))
    (a, x), (b, y) = limits
    found = full_state(model, q[0], engine(model).probe(q, qd, np.zeros((1, 0))).qdd[0]).qd
    assert 1e-4 < relative(y, found) < 0.02
    assert relative(y + (y - x) * b / (a - b), found) < 1e-4


def test_steps_are_the_twins():
    model = linkage()
    q, qd, u = random_states(model, 3, 1)
    out = step(engine(model, 4), q, qd, u)
    assert out.ok.all()
    for i in range(3):
        expected = twin.control_step(model, q[i], qd[i], u[i], 1 / 240, 4)
        np.testing.assert_allclose(out.q[i], expected[0], rtol=1e-12)
        np.testing.assert_allclose(out.qd[i], expected[1], rtol=1e-10)


@pytest.mark.parametrize("memory", ["fast", "low"])
@pytest.mark.parametrize("seed", TREES[:10])
def test_vjp_equals_central_differences(seed, memory):
    d = engine(coupled_tree(seed)[1], memory=memory)
    arrays = random_states(d.model, 3, seed)
    cotangent = cotangents(*arrays[:2])
    found, expected = vjp(d, *arrays, *cotangent), central_differences(d, arrays, *cotangent)
    scale = max(np.abs(e).max() for e in expected if e.size)
    for a, b in zip(found, expected, strict=True):
        assert a.size == 0 or np.abs(a - b).max() < 1e-6 * scale


SERVOS = """
<mujoco><compiler angle="radian"/><worldbody><geom name="floor" type="plane" size="5 5 1"/>
  <body pos="0 0 0.6"><freejoint/><geom size="0.15"/>
    <body pos="0 0.1 0"><joint name="hip" axis="0 1 0" damping="0.2"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.3"/>
      <body pos="0 0 -0.3"><joint name="knee" axis="0 1 0" damping="0.3" stiffness="4" springref="0.2" armature="0.02"
            range="-0.1 0.2"/><geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.28"/></body></body>
    <body pos="0 -0.1 0"><joint name="other" axis="0 1 0"/>
      <geom type="capsule" size="0.05" fromto="0 0 0 0 0 -0.5"/></body></body></worldbody>
  <actuator><motor joint="hip" gear="3" ctrlrange="-1 1"/>
    <position joint="knee" kp="20" kv="0.5" ctrlrange="-2 2" forcerange="-4 4"/>
    <motor joint="other" gear="2" ctrlrange="-1 1"/></actuator>
</mujoco>"""
WALK = (Coupling("knee", "hip", (0.05, -0.7, 0.4, -0.3)), Coupling("other", "hip", (0.0, -1.0)))


def walker() -> RigidModel:
    return couple(load_model(SERVOS), WALK)


def test_what_acts_on_a_follower_acts_through_the_law():
    """Spring, damper, limit, armature, servo and motor of followers, on the ground: steps and gradients."""
    d = engine(walker(), 3)
    q, qd, u = random_states(d.model, 6, 4, spread=0.15)
    q[:, 2] = 0.55
    probed = d.probe(q, qd, u)
    assert probed.contacts.any()
    assert {int(a) for a in d.model.actuator_dof} == {6, 7, 8} and d.model.nv == 7
    for i in range(6):
        np.testing.assert_allclose(probed.qdd[i], twin.forward_dynamics(d.model, q[i], qd[i], u[i]), rtol=1e-8)
    cotangent = cotangents(q, qd)
    for a, b in zip(vjp(d, q, qd, u, *cotangent), central_differences(d, (q, qd, u), *cotangent), strict=True):
        assert relative(a, b) < 1e-6


CLOSED = LINKAGE.replace(
    "</mujoco>",
    """<equality><connect name="pin" body1="end" body2="hub" anchor="0.2 0 0"/>
  <joint joint1="rod" joint2="crank" polycoef="0.1 -0.8 0.3 0 0"/></equality></mujoco>""",
)


def test_couplings_and_closed_loops_together():
    """A loop between two branches, whose joints are coupled across: rows that only elimination fills."""
    xml = CLOSED.replace('<body pos="0.5 0 0">', '<body name="end" pos="0.5 0 0">')
    model = load_model(xml.replace('<body pos="0 1 2">', '<body name="hub" pos="0 1 2">'))
    assert len(model.couplings) == 1 and model.loops.n == 1
    d = engine(model)
    q, qd, u = random_states(model, 3, 8, spread=0.1)
    out = step(d, q, qd, u)
    for i in range(3):
        expected = twin.control_step(model, q[i], qd[i], u[i], d.dt, d.substeps)
        np.testing.assert_allclose(out.qd[i], expected[1], rtol=1e-8, atol=1e-8)
    cotangent = cotangents(q, qd)
    found, expected = vjp(d, q, qd, u, *cotangent), central_differences(d, (q, qd, u), *cotangent)
    for a, b in zip(found[:2], expected[:2], strict=True):
        assert relative(a, b) < 1e-6


def test_parameters_of_followers():
    names = ("joint_damping:knee", "joint_stiffness:knee", "joint_armature:knee", "actuator_gain:knee", "link_mass")
    d = engine(walker(), parameters=names)
    q, qd, u = random_states(d.model, 4, 5, spread=0.1)
    params = d.parameters.nominal * np.random.default_rng(6).uniform(0.8, 1.2, (4, len(d.parameters)))
    out = parametric.step(d, q, qd, params, u)
    for i in range(4):
        expected = twin.control_step(d.parameters.apply(params[i]), q[i], qd[i], u[i], d.dt, d.substeps)
        np.testing.assert_allclose(out.qd[i], expected[1], rtol=1e-8)
    cotangent = cotangents(q, qd)
    found = parametric.vjp(d, q, qd, params, u, cotangent)[2]
    for j in range(len(d.parameters)):
        losses = []
        for sign in (1, -1):
            moved = params.copy()
            moved[:, j] += sign * 1e-5
            after = parametric.step(d, q, qd, moved, u)
            losses.append((after.q * cotangent[0]).sum(1) + (after.qd * cotangent[1]).sum(1))
        assert relative(found[:, j], (losses[0] - losses[1]) / 2e-5) < 1e-6, d.parameters.names[j]


def test_energy_is_conserved_to_first_order_in_the_step():
    model = linkage()
    q, qd = model.q_ref[None] + 0.1, np.full((1, 1), 0.5)
    start = twin.energy(model, q[0], qd[0])
    total, errors, ends = start.kinetic + start.potential, [], []
    for substeps in (8, 16, 32, 64):
        d = RigidDynamics(model, dt=0.02, substeps=substeps, dtype="float64")
        x, v = q.copy(), qd.copy()
        for _ in range(40):
            x, v, *_ = step(d, x, v, np.zeros((1, 0)))
        end = twin.energy(model, x[0], v[0])
        errors.append(abs(end.kinetic + end.potential - total))
        ends.append(np.concatenate([x[0], v[0]]))
    assert abs(ends[0][0] - q[0, 0]) > 0.3
    assert errors[-1] < 2e-3 * abs(start.potential)
    ratios = [np.log2(np.abs(ends[k] - ends[k + 1]).max() / np.abs(ends[k + 1] - ends[k + 2]).max()) for k in (0, 1)]
    assert all(0.8 < order < 1.2 for order in ratios), ratios


def test_sensors_see_followers_where_mujoco_does():
    torch = pytest.importorskip("torch")
    model = load_model(LINKAGE.replace('<body pos="0.5 0 0">', '<body name="end" pos="0.5 0 0">'))
    model = couple(model, LAWS)
    m = mujoco.MjModel.from_xml_string(LINKAGE.replace('<body pos="0.5 0 0">', '<body name="end" pos="0.5 0 0">'))
    d = mujoco.MjData(m)
    q, qd, _ = random_states(model, 4, 2)
    sensors = Sensors(engine(model), [f"{kind}:end" for kind in ("position", "velocity", "angular_velocity")])
    state = RigidState(torch.tensor(q, requires_grad=True), torch.tensor(qd, requires_grad=True))
    values = sensors(state)
    for i in range(4):
        d.qpos[:], d.qvel[:] = full_state(model, q[i], qd[i])
        mujoco.mj_forward(m, d)
        velocity = np.zeros(6)
        mujoco.mj_objectVelocity(m, d, mujoco.mjtObj.mjOBJ_XBODY, m.body("end").id, velocity, 0)
        expected = np.concatenate([d.xpos[m.body("end").id], velocity[3:], velocity[:3]])
        np.testing.assert_allclose(values[i].detach(), expected, atol=1e-12)
    torch.autograd.gradcheck(lambda a, b: sensors(RigidState(a, b)), tuple(state), atol=1e-7)


def test_a_model_without_couplings_is_unchanged_and_coupling_can_be_undone():
    model = load_model(LINKAGE)
    assert couple(model, ()) is model and uncoupled(model) is model
    back = uncoupled(couple(model, LAWS))
    for field in dataclasses.fields(model):
        was, now = getattr(model, field.name), getattr(back, field.name)
        if isinstance(was, np.ndarray):
            np.testing.assert_array_equal(now, was, err_msg=field.name)
    d, q = couple(model, LAWS), np.array([[0.3], [0.4]])
    x = q[:, 0] - 0.2
    rod = -0.1 + 0.1 - 0.8 * x + 0.3 * x**2
    piston = 0.05 + 0.2 * (rod + 0.1) - 0.1 * (rod + 0.1) ** 2 + 0.05 * (rod + 0.1) ** 3 + 0.02 * (rod + 0.1) ** 4
    np.testing.assert_allclose(full_state(d, q).q, np.stack([q[:, 0], rod, piston, 2 * x], axis=1), atol=1e-14)


def test_own_state_is_the_way_back_from_the_full_one():
    model = walker()
    q, qd, _ = random_states(model, 4, 7)
    back = own_state(model, *full_state(model, q, qd))
    np.testing.assert_array_equal(back[0], q)
    np.testing.assert_array_equal(back[1], qd)
    np.testing.assert_array_equal(own_state(model, full_state(model, q).q)[1], 0 * qd)


def test_a_robots_rest_pose_and_targets_are_of_its_own_joints(tmp_path):
    """A keyframe has all joints; a servo of a follower rests at the follower's coordinate."""
    key = '<keyframe><key qpos="0 0 0.6 1 0 0 0 0.3 0.1 -0.3"/></keyframe>'
    equality = '<equality><joint joint1="knee" joint2="hip" polycoef="0.05 -0.7 0 0 0"/></equality>'
    file = tmp_path / "walker.xml"
    file.write_text(SERVOS.replace("</mujoco>", equality + key + "</mujoco>"))
    task = robot_task(file)(num_envs=1, device="cpu", dtype="float64")
    assert len(task.rest) == task.dynamics.model.nq == 9
    np.testing.assert_allclose(task.rest[7:], [0.3, -0.3])
    assert abs(task.base[1] - (0.05 - 0.7 * 0.3)) < 1e-12


def test_substeps_count_a_followers_spring_by_the_slope_of_its_law():
    """Slides of masses a and b, and a spring k on the follower ``y = 3 x``: ``w^2 = 9 k / (a + 9 b)``."""
    body = '<body><joint name="{0}" type="slide" axis="1 0 0" {1}/><geom size="0.1" mass="{2}" {3}/></body>'
    off = 'contype="0" conaffinity="0"'
    bodies = body.format("x", "", 2, off) + body.format("y", 'stiffness="4e5"', 0.5, off)
    model = couple(load_model(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>"), [Coupling("y", "x", (0, 3))])
    h = longest_substep(model, model.q_ref, "implicit", 1.0).h
    assert abs(h * np.sqrt(9 * 4e5 / (2 + 9 * 0.5)) - 1) < 0.02


def test_reduction_is_the_derivative_of_the_full_state():
    model, h = linkage(), 1e-6
    q, qd = np.array([0.5]), np.array([1.3])
    G, drift = reduction(model, q, qd)
    ahead, behind = (full_state(model, q + side * h * qd, qd) for side in (1, -1))
    np.testing.assert_allclose(G @ qd, (ahead.q - behind.q) / (2 * h), atol=1e-8)
    np.testing.assert_allclose(drift, (ahead.qd - behind.qd) / (2 * h), atol=1e-8)


@pytest.mark.parametrize(
    ("laws", "words"),
    [
        ([Coupling("rod", "nobody", (0, 1))], "nobody"),
        ([Coupling("rod", "crank", (0, 1)), Coupling("rod", "wheel", (0, 1))], "'rod' has two laws"),
        ([Coupling("rod", "crank", (0, 1)), Coupling("crank", "rod", (0, 1))], "in a circle"),
        ([Coupling("rod", "rod", (0, 1))], "in a circle"),
        ([Coupling("rod", "crank", (0, 1, 0, 0, 0, 1))], "one to 5 finite numbers"),
        ([Coupling("rod", "crank", (0, np.nan))], "one to 5 finite numbers"),
        ([Coupling("rod", None, (0, 1))], "no leader"),
    ],
)
def test_laws_that_cannot_be_are_refused(laws, words):
    with pytest.raises(ValueError, match=words):
        couple(load_model(LINKAGE), laws)


def test_joints_of_several_coordinates_and_second_couplings_are_refused():
    with pytest.raises(ValueError, match="several coordinates"):
        couple(load_model(SERVOS), [Coupling(load_model(SERVOS).joint_name[0], "hip", (0, 1))])
    with pytest.raises(ValueError, match="has couplings already"):
        couple(linkage(), LAWS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"link": np.array([1, 3, 9])}, "couplings.link has 1 to 9"),
        ({"coefficients": np.zeros((3, 4))}, "couplings.coefficients has shape"),
        ({"q_ref": np.array([np.nan, 0, 0])}, "couplings.q_ref is not finite"),
        ({"leader": np.array([2, 0, 0])}, "whose own law must come before"),
        ({"leader": np.array([-1, 0, 0])}, "only its first coefficient"),
        ({"link": np.array([1, 3, 1])}, "use couple"),
    ],
)
def test_couplings_written_by_hand_are_checked(change, words):
    model = linkage()
    broken = dataclasses.replace(model, couplings=dataclasses.replace(model.couplings, **change))
    with pytest.raises(ValueError, match=words):
        engine(broken)
