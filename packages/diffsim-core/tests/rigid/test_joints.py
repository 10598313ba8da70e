"""What every type of joint promises, those of the package and one that is added here: a helical screw."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from diffsim_core.entries import struct_name
from diffsim_core.io import load_model
from diffsim_core.rigid import JOINTS, Body, Joint, RigidDynamics, RigidModel, RigidState, Sensors, register_joint, twin

from . import parametric
from .added import SCREW
from .host import random_states, step, vjp
from .test_dynamics import central_differences, relative

PITCH = 0.07
RNG = np.random.default_rng(0)
POS, QUAT, AXIS = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 4)), RNG.normal(size=(2, 3))
POINT = np.array([0.3, -0.2, 0.1])


def chain(joint: Joint) -> RigidModel:
    """A hinge and behind it the joint, with spring, limits, damping and armature, where it has them; alone in the world
    if that is where it places its link."""
    joints = [joint] if joint.world else [JOINTS["hinge"], joint]
    nl, k = len(joints), slice(0, len(joints))
    starts = np.cumsum([0, *(j.nq for j in joints)]), np.cumsum([0, *(j.nv for j in joints)])
    nq, nv = int(starts[0][-1]), int(starts[1][-1])
    spring, axis = np.zeros(nq), AXIS[k] / np.linalg.norm(AXIS[k], axis=1, keepdims=True)
    for j, at in zip(joints, starts[0][:-1], strict=True):
        if j.quaternion is not None:
            spring[at + j.quaternion : at + j.quaternion + 4] = np.array([1, 0.2, -0.1, 0.3]) / np.sqrt(1.14)
        else:
            spring[at : at + j.nq] = 0.2
    identity = np.array([1.0, 0, 0, 0])
    return RigidModel(
        name=joint.name,
        link_parent=np.arange(nl) - 1,
        joint_type=np.array([JOINTS.index(j.name) for j in joints]),
        joint_q=starts[0][:-1],
        joint_dof=starts[1][:-1],
        joint_name=tuple(f"{i}_{j.name}" for i, j in enumerate(joints)),
        link_pos=np.zeros((1, 3)) if joint.world else POS[k],
        link_quat=identity[None] if joint.world else QUAT[k] / np.linalg.norm(QUAT[k], axis=1, keepdims=True),
        joint_axis=axis,
        link_mass=np.full(nl, 1.3),
        link_com=np.full((nl, 3), 0.1),
        link_inertia=np.tile(np.diag([0.02, 0.03, 0.04]), (nl, 1, 1)),
        q_ref=np.where(spring == 0.2, 0.1, spring) if joint.quaternion is None else spring,
        q_spring=spring,
        joint_stiffness=np.array([0.0 if j.world else 4.0 for j in joints]),
        joint_limited=np.array([int(j.scalar) for j in joints]),
        joint_range=np.tile([-0.1, 0.3], (nl, 1)),
        limit_stiffness=np.full(nl, 60.0),
        limit_damping=np.full(nl, 1.0),
        dof_damping=np.full(nv, 0.3),
        dof_armature=np.full(nv, 0.02),
        actuator_dof=np.array([nv - 1]),
        actuator_gear=np.array([2.0]),
        actuator_range=np.array([[-1.0, 1.0]]),
        actuator_name=("motor",),
        contact_link=np.zeros(0, np.int64),
        contact_pos=np.zeros((0, 3)),
        **{f"contact_{name}": np.zeros(0) for name in ("radius", "kn", "kd", "kt", "mu")},
        contact_geom=(),
        ground_height=-10.0,
        gravity=np.array([0.3, -0.2, -9.81]),
        limit_law="released",
        joint_parameters=np.full((nl, len(joint.parameters)), PITCH),
        bodies=(Body(name="end", link=nl - 1, pos=POINT, quat=identity, mass=1.3),),
    )


@pytest.fixture(params=list(JOINTS))
def joint(request) -> Joint:
    return JOINTS[request.param]


def engine(model: RigidModel, **options) -> RigidDynamics:
    return RigidDynamics(model, dt=1 / 60, substeps=3, dtype="float64", **options)


def test_the_header_defines_the_struct(joint):
    assert f"struct {struct_name(joint.name)} " in joint.header.read_text()


def test_transform_is_the_twins(joint):
    m = chain(joint)
    torch = pytest.importorskip("torch")
    q, qd, _ = random_states(m, 6, seed=1, spread=0.8)
    kinds = ("position", "velocity", "angular_velocity", "quaternion")
    sensors = Sensors(engine(m), [f"{kind}:end" for kind in kinds])
    values = sensors(RigidState(torch.tensor(q), torch.tensor(qd))).numpy()
    for i in range(len(q)):
        kin = twin.kinematics(m, q[i])
        R, x, V = kin.rotation[-1], kin.position[-1], twin.velocities(m, kin, qd[i])[-1]
        point = x + R @ POINT
        expected = np.concatenate([point, V[3:] + np.cross(V[:3], point), V[:3]])
        np.testing.assert_allclose(values[i, :9], expected, atol=1e-12)
        np.testing.assert_allclose(twin.rotation_matrix(values[i, 9:]), R, atol=1e-12)


def test_subspace_is_the_derivative_of_the_transform(joint):
    m, h = chain(joint), 1e-6
    q = random_states(m, 1, seed=2, spread=0.8)[0][0]
    kin = twin.kinematics(m, q)
    first = int(m.joint_dof[-1])
    for d in range(first, m.nv):
        ahead, behind = (twin.kinematics(m, twin.integrate(m, q, np.eye(m.nv)[d], side * h)) for side in (1, -1))
        spin = (ahead.rotation[-1] - behind.rotation[-1]) / (2 * h) @ kin.rotation[-1].T
        w = np.array([spin[2, 1], spin[0, 2], spin[1, 0]])
        v = (ahead.position[-1] - behind.position[-1]) / (2 * h) - np.cross(w, kin.position[-1])
        np.testing.assert_allclose(kin.S[:, d], np.concatenate([w, v]), atol=1e-8)


def test_columns_are_carried_along_and_span_a_group(joint):
    """What the adjoint relies on."""
    m = chain(joint)
    found = []
    for q in random_states(m, 3, seed=3, spread=0.8)[0]:
        kin = twin.kinematics(m, q)
        R, x = kin.rotation[-1], kin.position[-1]
        w, v = kin.S[:3, m.joint_dof[-1] + joint.world :], kin.S[3:, m.joint_dof[-1] + joint.world :]
        found.append(np.concatenate([R.T @ w, R.T @ (v + np.cross(w.T, x).T)]))
    np.testing.assert_allclose(found[1], found[0], atol=1e-12)
    np.testing.assert_allclose(found[2], found[0], atol=1e-12)
    S = found[0]
    products = np.array([twin.motion_cross(a, b) for a in S.T for b in S.T]).T
    assert np.linalg.matrix_rank(np.hstack([S, products]), tol=1e-9) == np.linalg.matrix_rank(S) == S.shape[1]


def test_integration_stays_on_the_manifold(joint):
    m = chain(joint)
    q, qd, u = random_states(m, 5, seed=4)
    out = step(engine(m), q, qd, u)
    if joint.quaternion is not None:
        a = m.joint_q[-1] + joint.quaternion
        np.testing.assert_allclose(np.linalg.norm(out.q[:, a : a + 4], axis=1), 1, atol=1e-14)
    for i in range(len(q)):
        expected = twin.control_step(m, q[i], qd[i], u[i], 1 / 60, 3)
        assert relative(out.q[i], expected[0]) < 1e-10 and relative(out.qd[i], expected[1]) < 1e-10


def test_mass_matrix_and_acceleration_are_the_twins(joint):
    m = chain(joint)
    q, qd, u = random_states(m, 5, seed=5, spread=0.8)
    found = engine(m).probe(q, qd, u)
    for i in range(len(q)):
        assert relative(found.mass[i], twin.mass_matrix(m, twin.kinematics(m, q[i]))) < 1e-11
        assert relative(found.qdd[i], twin.forward_dynamics(m, q[i], qd[i], u[i])) < 1e-10


def test_spring_is_minus_the_gradient_of_its_energy(joint):
    m, h = dataclasses.replace(chain(joint), limit_stiffness=np.zeros(2 - (joint.world > 0))), 1e-6
    q = random_states(m, 1, seed=6)[0][0]
    k, dofs = slice(m.joint_q[-1], m.nq), slice(m.joint_dof[-1], m.nv)
    tau = joint.forces(m, m.nl - 1, q[k])

    def energy(at):
        stretch = joint.stretch(m, m.nl - 1, at[k])
        return 0.5 * m.joint_stiffness[-1] * stretch @ stretch

    for j, d in enumerate(range(dofs.start, dofs.stop)):
        ahead, behind = (energy(twin.integrate(m, q, np.eye(m.nv)[d], side * h)) for side in (1, -1))
        assert tau[j] == pytest.approx(-(ahead - behind) / (2 * h), abs=1e-7)


def test_vjp_equals_central_differences(joint):
    m = chain(joint)
    d = engine(m)
    arrays = random_states(m, 4, seed=7)
    gq, gqd = RNG.standard_normal(arrays[0].shape), RNG.standard_normal(arrays[1].shape)
    for a, b in zip(vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd), strict=True):
        assert relative(a, b) < 1e-6


def test_vjp_of_sensors_equals_central_differences(joint):
    torch = pytest.importorskip("torch")
    m = chain(joint)
    sensors = Sensors(engine(m), ["position:end", "quaternion:end", "velocity:end", "gyro:end"])
    arrays = [torch.tensor(x) for x in random_states(m, 3, seed=8)[:2]]
    weights = torch.tensor(RNG.standard_normal((3, sensors.num_outputs)))

    def value(q, qd):
        return (sensors(RigidState(q, qd)) * weights).sum(1)

    arrays = [x.requires_grad_() for x in arrays]
    found = torch.autograd.grad(value(*arrays).sum(), arrays)
    for k, x in enumerate(arrays):
        for j in range(x.shape[1]):
            moved = []
            for h in (1e-6, -1e-6):
                given = [a.detach().clone() for a in arrays]
                given[k][:, j] += h
                moved.append(value(*given))
            np.testing.assert_allclose(found[k][:, j], (moved[0] - moved[1]) / 2e-6, rtol=1e-6, atol=1e-7)


def test_vjp_of_spring_and_limit_gains_equals_central_differences(joint):
    m = chain(joint)
    names = ["joint_stiffness", "limit_stiffness"] if joint.scalar else ["joint_stiffness", "joint_damping"]
    d = engine(m, parameters=names[joint.world > 0 :])
    q, qd, u = random_states(m, 3, seed=9)
    params = np.tile(d.parameters.nominal, (3, 1)) * RNG.uniform(0.8, 1.2, (3, len(d.parameters.names)))
    cotangents = [RNG.standard_normal(q.shape), RNG.standard_normal(qd.shape)]
    found = parametric.vjp(d, q, qd, params, u, cotangents)[2]
    expected = np.zeros_like(params)
    for j in range(params.shape[1]):
        for sign in (1, -1):
            moved = params.copy()
            moved[:, j] += sign * 1e-5
            out = parametric.step(d, q, qd, moved, u)
            expected[:, j] += sign * ((out.q * cotangents[0]).sum(1) + (out.qd * cotangents[1]).sum(1)) / 2e-5
    assert relative(found, expected) < 1e-6


# The screw that is added here, against what is known of screws


def vertical_screw(mass: float = 2.0, inertia: float = 0.05, pitch: float = PITCH) -> RigidModel:
    xml = f"""<mujoco><worldbody><body><joint name="thread" axis="0 0 1"/>
      <inertial pos="0 0 0" mass="{mass}" diaginertia="{inertia} {inertia} {inertia}"/></body></worldbody></mujoco>"""
    return load_model(xml).with_joint("thread", "screw", pitch=pitch)


@pytest.mark.parametrize("pitch", [0.01, 0.2, -0.5])
def test_a_screw_falls_as_the_closed_form_says(pitch):
    mass, inertia, g = 2.0, 0.05, 9.81
    m = vertical_screw(mass, inertia, pitch)
    d = engine(m)
    qdd = -mass * g * pitch / (inertia + mass * pitch**2)
    q, qd, u = np.array([[0.4]]), np.array([[0.7]]), np.zeros((1, 0))
    assert d.probe(q, qd, u).qdd[0, 0] == pytest.approx(qdd, rel=1e-12)
    assert step(d, q, qd, u).qd[0, 0] == pytest.approx(0.7 + qdd / 60, rel=1e-12)
    kin = twin.kinematics(m, np.array([0.4]))
    np.testing.assert_allclose(kin.position[0], [0, 0, pitch * 0.4], atol=1e-15)


def test_a_screw_without_pitch_is_a_hinge():
    m = chain(JOINTS["hinge"])
    screw = m.with_joint(m.joint_name[1], "screw", pitch=0.0)
    arrays = random_states(m, 5, seed=10)
    one, other = step(engine(m), *arrays), step(engine(screw), *arrays)
    assert np.array_equal(one.q, other.q) and np.array_equal(one.qd, other.qd)


def test_a_model_is_compiled_with_no_more_types_than_it_has():
    m = chain(JOINTS["hinge"])
    d, more = engine(m), engine(m.with_joint(m.joint_name[0], "screw", pitch=0.3))
    assert more._size(False).joints == (SCREW,) and d._size(False).joints == ()


# Mistakes


def test_unknown_type_is_refused_by_the_joints_name():
    m = chain(JOINTS["hinge"])
    m = dataclasses.replace(m, joint_type=np.array([m.joint_type[0], 99]))
    with pytest.raises(ValueError, match=r"joint_type: joint '1_hinge' has the unknown type 99; .*0 free, 1 ball"):
        engine(m)
    with pytest.raises(ValueError, match="unknown joint type number 99"):
        twin.kinematics(m, np.zeros(m.nq))


def test_missing_parameters_are_refused():
    m = vertical_screw()
    with pytest.raises(ValueError, match="joint_parameters: joint 'thread' of type 'screw' needs pitch; got 0"):
        engine(dataclasses.replace(m, joint_parameters=np.zeros((1, 0))))
    with pytest.raises(ValueError, match="'screw' needs the parameters pitch; got none"):
        m.with_joint("thread", "screw")


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("thred", "screw", "unknown joint 'thred'; did you mean 'thread'"),
        ("thread", "scrwe", "unknown joint type 'scrwe'; did you mean 'screw'"),
        ("thread", "ball", "cannot become 'ball' with 4 coordinates and 3 velocities"),
    ],
)
def test_with_joint_names_what_is_wrong(name, kind, message):
    with pytest.raises(ValueError, match=message):
        vertical_screw().with_joint(name, kind)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameters": ()}, "'screw' is already registered"),
        ({"name": "no name"}, "must be an identifier"),
        ({"name": "lost", "header": SCREW.header.with_name("lost.h")}, "lost.h' does not exist"),
        ({"name": "wide", "nq": 6, "nv": 6}, "nq - world at most 4"),
        ({"name": "short", "nq": 1, "nv": 2}, "nq=1 between nv=2"),
    ],
)
def test_register_joint_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        register_joint(dataclasses.replace(SCREW, **changes))
    assert not {"no name", "lost", "wide", "short"} & set(JOINTS) and JOINTS["screw"] == SCREW
