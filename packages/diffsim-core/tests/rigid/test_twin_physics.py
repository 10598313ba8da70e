"""The twin against closed forms, conservation laws and its order of accuracy."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffsim_core.io import ContactParams, LimitParams, load_model
from diffsim_core.rigid import twin
from diffsim_core.rigid.model import RigidModel

from .trees import TreeOptions, random_state, random_tree

NO_CONTROL = np.zeros(0)


def world(bodies: str, gravity: str = "0 0 -9.81", plane: bool = False, **options) -> RigidModel:
    ground = '<geom type="plane" size="1 1 1"/>' if plane else ""
    xml = f'<compiler angle="radian"/><option gravity="{gravity}"/><worldbody>{ground}{bodies}</worldbody>'
    return load_model(f"<mujoco>{xml}</mujoco>", **options)


def draw(model: RigidModel, seed: int, speed: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Random coordinates, velocities and controls."""
    rng = np.random.default_rng(seed)
    q, qd = random_state(rng, model.nq, model.joint_type)
    return q, speed * qd, rng.uniform(-1, 1, model.nu)


def total_energy(model: RigidModel, q: np.ndarray, qd: np.ndarray) -> float:
    return sum(twin.energy(model, q, qd))


def momenta(model: RigidModel, q: np.ndarray, qd: np.ndarray) -> np.ndarray:
    """Linear momentum, and angular momentum about the world origin."""
    kin = twin.kinematics(model, q)
    V = twin.velocities(model, kin, qd)
    total = np.zeros(6)
    for i in range(model.nl):
        R, omega = kin.rotation[i], V[i, :3]
        com = kin.position[i] + R @ model.link_com[i]
        p = model.link_mass[i] * (V[i, 3:] + np.cross(omega, com))
        total += np.concatenate([p, np.cross(com, p) + R @ model.link_inertia[i] @ R.T @ omega])
    return total


def rate_along_flow(model: RigidModel, function, q: np.ndarray, qd: np.ndarray, u: np.ndarray, eps: float = 1e-6):
    """Time derivative of ``function(q, qd)`` along the motion, by central differences."""
    qdd = twin.forward_dynamics(model, q, qd, u)
    ends = [function(twin.integrate(model, q, qd, e), qd + e * qdd) for e in (eps, -eps)]
    return (ends[0] - ends[1]) / (2 * eps)


@pytest.mark.parametrize("seed", range(25))
def test_power_balance(seed: int) -> None:
    """Energy changes by the work of motors and dampers only: springs, gravity and inertia agree with each other."""
    model = load_model(random_tree(seed))
    q, qd, u = draw(model, seed)
    rate = rate_along_flow(model, lambda a, b: total_energy(model, a, b), q, qd, u)
    power = qd @ twin.actuator_forces(model, q, qd, u) - qd @ (model.dof_damping * qd)
    scale = np.abs(qd @ twin.bias_force(model, twin.kinematics(model, q), qd)) + abs(power) + 1
    assert abs(rate - power) < 1e-6 * scale


@pytest.mark.parametrize("seed", range(10))
def test_momentum_of_a_floating_tree(seed: int) -> None:
    """No gravity, no ground: whatever the joints do, both momenta stay."""
    model = dataclasses.replace(load_model(random_tree(seed, TreeOptions(free_only=True))), gravity=np.zeros(3))
    q, qd, u = draw(model, seed)
    rate = rate_along_flow(model, lambda a, b: momenta(model, a, b), q, qd, 10 * u)
    assert np.abs(rate).max() < 1e-6 * (1 + np.abs(momenta(model, q, qd)).max())


def test_gravity_changes_momentum_by_the_weight() -> None:
    model = load_model(random_tree(3, TreeOptions(free_only=True)))
    q, qd, u = draw(model, 0)
    rate = rate_along_flow(model, lambda a, b: momenta(model, a, b), q, qd, u)
    np.testing.assert_allclose(rate[:3], model.link_mass.sum() * model.gravity, rtol=1e-6)


def test_free_fall() -> None:
    """n sub-steps h of semi-implicit Euler land at z0 + v0 t - g t (t + h) / 2 exactly."""
    model = world('<body pos="0 0 2"><freejoint/><geom size="0.1"/></body>')
    qd0 = np.array([1.0, -2, 3, 0, 0, 0])
    q, qd = twin.control_step(model, model.q_ref, qd0, NO_CONTROL, dt=0.5, substeps=100)
    h, t = 0.005, 0.5
    np.testing.assert_allclose(q[:3], [0.5, -1.0, 2 + 3 * t - 9.81 * t * (t + h) / 2], atol=1e-12)
    np.testing.assert_allclose(qd[:3], [1, -2, 3 - 9.81 * t], atol=1e-12)


def test_torque_free_precession() -> None:
    """A symmetric top's angular velocity turns in the body at (I3 - I1) / I1 omega_3 about the axis of symmetry."""
    inertia = '<inertial mass="1" pos="0 0 0" diaginertia="0.2 0.2 0.3"/>'
    model = world(f'<body><freejoint/>{inertia}<geom size="0.1"/></body>', gravity="0 0 0")
    omega, dt, n = np.array([0.5, 0, 4.0]), 1e-3, 1000
    _, qd = twin.control_step(model, model.q_ref, np.concatenate([np.zeros(3), omega]), NO_CONTROL, dt * n, n)
    angle = (0.3 - 0.2) / 0.2 * 4.0 * dt * n
    expected = [0.5 * np.cos(angle), 0.5 * np.sin(angle), 4]
    # Euler's error in a rotation by angle * dt per step: it grows the radius by angle * rate * dt / 2
    np.testing.assert_allclose(qd[3:], expected, atol=2 * 0.5 * angle * 2 * dt / 2)


PENDULUM = '<body><joint axis="0 1 0"/><geom type="capsule" size="0.02" fromto="0 0 0 0 0 -1"/></body>'


def test_pendulum_energy() -> None:
    """2 s at 1 ms: the mean energy of a swing drifts by at most 0.1 %, and within a swing the energy oscillates
    by no more than twice the integrator's leading term, omega dt / 2."""
    model = world(PENDULUM)
    q, qd, dt = np.array([1.2]), np.zeros(1), 1e-3
    energies, speeds = [], []
    for _ in range(2000):
        energies.append(total_energy(model, q, qd))
        speeds.append(qd[0])
        q, qd = twin.substep(model, q, qd, NO_CONTROL, dt)
    above_rest = energies[0] - total_energy(model, np.zeros(1), np.zeros(1))
    energy = np.array(energies) / above_rest
    turns = np.flatnonzero(np.diff(np.sign(speeds[1:]))) + 1
    assert len(turns) >= 2
    first, second = energy[: turns[0]].mean(), energy[turns[0] : turns[1]].mean()
    assert abs(second - first) < 1e-3
    M = twin.mass_matrix(model, twin.kinematics(model, np.zeros(1)))[0, 0]
    omega = np.sqrt(model.link_mass[0] * 9.81 * 0.5 / M)
    assert np.abs(energy - energy[0]).max() < omega * dt


def test_pendulum_period() -> None:
    model = world(PENDULUM)
    M = twin.mass_matrix(model, twin.kinematics(model, np.zeros(1)))[0, 0]
    period = 2 * np.pi * np.sqrt(M / (model.link_mass[0] * 9.81 * 0.5))
    q, _ = twin.control_step(model, np.array([0.01]), np.zeros(1), NO_CONTROL, dt=period / 4, substeps=400)
    quarter_error = abs(q[0]) / 0.01
    assert quarter_error < 2 * np.pi / 2 * (period / 1600) / period * 2 * np.pi


@pytest.mark.parametrize("seed", [0, 4, 13, 20])
def test_order_of_convergence(seed: int) -> None:
    """Halving the sub-step halves the change of the solution: order 1 within 0.2, all joint types."""
    model = load_model(random_tree(seed))
    q, qd, u = draw(model, seed, speed=0.5)
    ends = [np.concatenate(twin.control_step(model, q, qd, u, dt=0.05, substeps=n)) for n in (16, 32, 64, 128)]
    changes = [np.abs(b - a).max() for a, b in pairwise(ends)]
    orders = np.log2(np.array(changes[:-1]) / changes[1:])
    np.testing.assert_allclose(orders, 1, atol=0.2)


def test_quaternions_need_not_be_normalised() -> None:
    model = load_model(random_tree(20))
    assert {0, 1} <= set(model.joint_type)
    q, qd, u = draw(model, 1)
    scaled = q.copy()
    for kind, k in zip(model.joint_type, model.joint_q, strict=True):
        if kind <= 1:
            k = k + (3 if kind == 0 else 0)
            scaled[k : k + 4] *= 1.7
    np.testing.assert_allclose(
        twin.forward_dynamics(model, scaled, qd, u), twin.forward_dynamics(model, q, qd, u), rtol=1e-11
    )


# Contact and limits

BALL = '<body pos="0 0 0.1"><freejoint/><geom size="0.1"/></body>'
GAINS = ContactParams(kn=5e3, kd=2e3, kt=30.0, mu=0.6)


@pytest.mark.parametrize("law", ["paper", "released"])
@pytest.mark.parametrize("vz", [-0.3, 0.4])
@pytest.mark.parametrize("vx", [0.0, 0.05, 2.0])
def test_contact_force_of_a_sphere(law: str, vz: float, vx: float) -> None:
    model = world(BALL, plane=True, contact=GAINS, contact_law=law)
    q, qd = model.q_ref.copy(), np.array([vx, 0, vz, 0, 0, 0])
    q[2] -= 0.01
    tau = twin.contact_forces(model, twin.kinematics(model, q), qd)
    damping = 2e3 * 0.01 * -vz
    normal = 5e3 * 0.01 + (max(damping, 0) if law == "released" else damping)
    bound = 0.6 * (5e3 * 0.01 if law == "released" else abs(normal))
    friction = -min(30 * vx, bound)
    # the lowest point lies 0.1 under the centre, in a body frame that is not turned
    np.testing.assert_allclose(tau, [friction, 0, normal, 0, -0.1 * friction, 0], atol=1e-4)


def test_ball_at_rest_sinks_by_weight_over_stiffness() -> None:
    model = world(BALL, plane=True, contact=GAINS)
    q = model.q_ref.copy()
    q[2] = 0.1 - model.link_mass[0] * 9.81 / 5e3
    assert np.abs(twin.forward_dynamics(model, q, np.zeros(6), NO_CONTROL)).max() < 1e-9


def test_default_gains_carry_a_box_on_four_corners_at_5_mm() -> None:
    model = world('<body pos="0 0 0.4"><freejoint/><geom type="box" size="0.2 0.3 0.4"/></body>', plane=True)
    q = model.q_ref.copy()
    q[2] = 0.4 - 0.005
    assert np.abs(twin.forward_dynamics(model, q, np.zeros(6), NO_CONTROL)).max() < 1e-9


def test_sliding_block_stops_at_mu_g() -> None:
    model = world(
        '<body pos="0 0 0.1"><freejoint/><geom type="box" size="0.2 0.2 0.1" friction="0.4"/></body>', plane=True
    )
    model = dataclasses.replace(model, contact_mu=np.full(8, 0.4))
    q = model.q_ref.copy()
    q[2] -= model.link_mass[0] * 9.81 / model.contact_kn[:4].sum()
    qdd = twin.forward_dynamics(model, q, np.array([3.0, 4, 0, 0, 0, 0]), NO_CONTROL)
    np.testing.assert_allclose(qdd[:3], [-0.4 * 9.81 * 0.6, -0.4 * 9.81 * 0.8, 0], atol=1e-6)


@given(seed=st.integers(0, 10_000), law=st.sampled_from(["paper", "released"]))
def test_contact_work_is_force_times_point_velocity_and_friction_never_drives(seed: int, law: str) -> None:
    model = load_model(random_tree(seed % 60, TreeOptions(plane=True, max_bodies=4)), contact_law=law, contact=GAINS)
    q, qd, _ = draw(model, seed)
    kin = twin.kinematics(model, q)
    no_friction = dataclasses.replace(model, contact_mu=np.zeros(model.nc))
    tau, tau_normal = (twin.contact_forces(m, kin, qd) for m in (model, no_friction))
    assert qd @ (tau - tau_normal) <= 1e-9
    # velocity of the points by differences of where body-fixed points go
    eps = 1e-6
    ends = [twin.kinematics(model, twin.integrate(model, q, qd, e)) for e in (eps, -eps)]
    power = 0.0
    for c, i in enumerate(model.contact_link):
        x = kin.position[i] + kin.rotation[i] @ model.contact_pos[c] - [0, 0, model.contact_radius[c]]
        local = kin.rotation[i].T @ (x - kin.position[i])
        v = np.subtract(*(e.position[i] + e.rotation[i] @ local for e in ends)) / (2 * eps)
        depth = min(x[2] - model.ground_height, 0)
        damping = min(v[2], 0) if law == "released" else v[2]
        power += (-GAINS.kn + GAINS.kd * damping) * depth * v[2]
    assert qd @ tau_normal == pytest.approx(power, rel=1e-6, abs=1e-4)


@pytest.mark.parametrize(("q", "force"), [(-0.7, 80 * 0.2), (0.0, 0), (1.3, -80 * 0.3)])
def test_joint_limit(q: float, force: float) -> None:
    hinge = '<body><joint axis="0 1 0" range="-0.5 1" limited="true"/><geom size="0.1"/></body>'
    for law, drag in (("paper", 0.0), ("released", -3 * 0.5)):
        model = world(hinge, limits=LimitParams(stiffness=80, damping=3), limit_law=law)
        tau = twin.joint_forces(model, np.array([q]), np.array([0.5]))
        np.testing.assert_allclose(tau, [force + drag], atol=1e-12)


def test_released_limit_damping_acts_on_unlimited_joints_but_not_on_free_ones() -> None:
    body = (
        '<body><freejoint/><geom size="0.1"/><body><joint axis="0 1 0"/><geom size="0.1" pos="0.2 0 0"/></body></body>'
    )
    model = world(body, limits=LimitParams(damping=7), limit_law="released")
    np.testing.assert_allclose(twin.joint_forces(model, model.q_ref, np.ones(7)), [0, 0, 0, 0, 0, 0, -7])
