"""The simulator written to be read: one world, plain NumPy, float64. The fast engine is tested against it.

Everything is expressed in world axes about the world origin. A *twist* ``V = (omega, v)`` has the velocity ``v``
of the body point that passes the origin, so a point at ``x`` moves with ``v + omega x x``; a *wrench*
``F = (moment about the origin, force)`` does the work ``V . F``. In this one frame velocities, accelerations
and forces of different links simply add; see Featherstone, Rigid Body Dynamics Algorithms (2008), chapters 2, 5.

A control step goes: ``kinematics`` -> forces -> ``forward_dynamics`` (``M qdd = tau - h``) -> ``integrate``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffsim_core.rigid._twin_muscles import advance_activations, lengths_and_moments, muscle_forces
from diffsim_core.rigid.model import FloatArray, JointType, RigidModel
from diffsim_core.rigid.twin_contact import SLIP_FLOOR as SLIP_FLOOR
from diffsim_core.rigid.twin_contact import Contact, contact_force, ground_contact, pair_contact

NO_ACTIVATIONS: FloatArray = np.zeros(0)


class Kinematics(NamedTuple):
    """Where the links are, and how each degree of freedom moves them."""

    rotation: FloatArray
    """``[nl, 3, 3]`` link axes in the world, as columns."""
    position: FloatArray
    """``[nl, 3]`` origin of each link [m]."""
    S: FloatArray
    """``[6, nv]`` twist of a link per unit of each of its joint's velocities (motion subspaces)."""


class Energy(NamedTuple):
    """Mechanical energy [J]."""

    kinetic: float
    potential: float
    """Of gravity (zero at the world origin) and of the joint springs."""


# Quaternions (w, x, y, z) and spatial algebra


def quat_mul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Hamilton product: ``rotation(a b) = rotation(a) rotation(b)``."""
    return np.concatenate([[a[0] * b[0] - a[1:] @ b[1:]], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def rotation_matrix(quat: FloatArray) -> FloatArray:
    """Rotation ``[3, 3]`` of a quaternion of any length, ``R = 1 + 2 w [n] + 2 [n]^2`` once normalised."""
    w, *n = quat / np.linalg.norm(quat)
    K = cross_matrix(np.array(n))
    return np.eye(3) + 2 * w * K + 2 * K @ K


def rotation_vector(quat: FloatArray) -> FloatArray:
    """Axis times angle [rad] of a unit quaternion, the short way round."""
    w, n = (quat[0], quat[1:]) if quat[0] >= 0 else (-quat[0], -quat[1:])
    length = np.linalg.norm(n)
    return 2 * n if length < 1e-12 else 2 * np.arctan2(length, w) * n / length


def cross_matrix(a: FloatArray) -> FloatArray:
    """``[a]`` with ``[a] b = a x b``."""
    return np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])


def motion_cross(V: FloatArray, W: FloatArray) -> FloatArray:
    """``V x W``: rate of change of a twist ``W`` that is carried along with ``V``."""
    return np.concatenate([np.cross(V[:3], W[:3]), np.cross(V[:3], W[3:]) + np.cross(V[3:], W[:3])])


def force_cross(V: FloatArray, F: FloatArray) -> FloatArray:
    """``V x* F``: rate of change of a wrench or momentum ``F`` that is carried along with ``V``."""
    return np.concatenate([np.cross(V[:3], F[:3]) + np.cross(V[3:], F[3:]), np.cross(V[:3], F[3:])])


def spatial_inertia(mass: float, com: FloatArray, inertia: FloatArray) -> FloatArray:
    """``[6, 6]`` map from twist to momentum; ``com`` and the ``inertia`` about it in world axes."""
    C = cross_matrix(com)
    return np.block([[inertia - mass * C @ C, mass * C], [-mass * C, mass * np.eye(3)]])


# Kinematics


def kinematics(model: RigidModel, q: FloatArray) -> Kinematics:
    """Place every link, parents first, and write down its joint's motion.

    Relative to its parent a link sits at ``(link_pos, link_quat)``, then moves by its joint: a slide shifts it
    along, and a hinge turns it about ``joint_axis`` by ``q - q_ref``; a ball turns it by its quaternion; a free
    joint says where it is in the world. Quaternions are normalised here.
    """
    rotation, position = np.zeros((model.nl, 3, 3)), np.zeros((model.nl, 3))
    S = np.zeros((6, model.nv))
    for i in range(model.nl):
        kind, k, d, parent = model.joint_type[i], model.joint_q[i], model.joint_dof[i], model.link_parent[i]
        Rp, xp = (np.eye(3), np.zeros(3)) if parent < 0 else (rotation[parent], position[parent])
        R = Rp @ rotation_matrix(model.link_quat[i])
        x = xp + Rp @ model.link_pos[i]
        if kind == JointType.FREE:
            x, R = q[k : k + 3], rotation_matrix(q[k + 3 : k + 7])
            S[3:, d : d + 3] = np.eye(3)
            S[:, d + 3 : d + 6] = _turning(R, x)
        elif kind == JointType.BALL:
            R = R @ rotation_matrix(q[k : k + 4])
            S[:, d : d + 3] = _turning(R, x)
        elif kind == JointType.SLIDE:
            axis = R @ model.joint_axis[i]
            x = x + axis * (q[k] - model.q_ref[k])
            S[3:, d] = axis
        else:
            S[:, d] = _turning(R @ model.joint_axis[i], x)
            half = 0.5 * (q[k] - model.q_ref[k])
            R = R @ rotation_matrix(np.concatenate([[np.cos(half)], np.sin(half) * model.joint_axis[i]]))
        rotation[i], position[i] = R, x
    return Kinematics(rotation, position, S)


def _turning(axes: FloatArray, x: FloatArray) -> FloatArray:
    """Twists of turning about ``axes`` (columns) through the point ``x``."""
    return np.concatenate([axes, cross_matrix(x) @ axes])


def _dofs(model: RigidModel, i: int) -> slice:
    return slice(int(model.joint_dof[i]), int(model.joint_dof[i]) + JointType(model.joint_type[i]).nv)


def velocities(model: RigidModel, kin: Kinematics, qd: FloatArray) -> FloatArray:
    """Twist of every link ``[nl, 6]``: ``V_i = V_parent + S_i qd_i``."""
    V = np.zeros((model.nl, 6))
    for i, parent in enumerate(model.link_parent):
        dofs = _dofs(model, i)
        V[i] = (V[parent] if parent >= 0 else 0) + kin.S[:, dofs] @ qd[dofs]
    return V


def _world_inertias(model: RigidModel, kin: Kinematics) -> list[FloatArray]:
    inertias = []
    for i, (R, x) in enumerate(zip(kin.rotation, kin.position, strict=True)):
        com = x + R @ model.link_com[i]
        inertias.append(spatial_inertia(model.link_mass[i], com, R @ model.link_inertia[i] @ R.T))
    return inertias


# Dynamics: M qdd + h = tau


def mass_matrix(model: RigidModel, kin: Kinematics) -> FloatArray:
    """``M [nv, nv] = sum_i J_i^T I_i J_i + diag(armature)``; ``J_i`` holds the columns of S that move link i."""
    M = np.diag(model.dof_armature)
    J = np.zeros((model.nl, 6, model.nv))
    for i, I in enumerate(_world_inertias(model, kin)):
        parent, dofs = model.link_parent[i], _dofs(model, i)
        J[i] = J[parent] if parent >= 0 else 0
        J[i][:, dofs] = kin.S[:, dofs]
        M = M + J[i].T @ I @ J[i]
    return M


def bias_force(model: RigidModel, kin: Kinematics, qd: FloatArray) -> FloatArray:
    """``h [nv]``, the joint forces that give ``qdd = 0``: Coriolis, centrifugal and gravity (recursive Newton-Euler).

    Outwards ``A_i = A_parent + dS_i/dt qd_i``, starting from minus gravity; then each link asks for the wrench
    ``F_i = I_i A_i + V_i x* I_i V_i``; inwards wrenches add up, and ``h_i = S_i . F_i``.
    """
    V = velocities(model, kin, qd)
    A, F = np.zeros((model.nl, 6)), np.zeros((model.nl, 6))
    h = np.zeros(model.nv)
    for i, I in enumerate(_world_inertias(model, kin)):
        parent, dofs = model.link_parent[i], _dofs(model, i)
        A[i] = A[parent] if parent >= 0 else np.concatenate([np.zeros(3), -model.gravity])
        # the joint's axes are carried along with the link, except those of a free joint's translation
        carried = slice(dofs.start + 3, dofs.stop) if model.joint_type[i] == JointType.FREE else dofs
        A[i] += motion_cross(V[i], kin.S[:, carried] @ qd[carried])
        F[i] = I @ A[i] + force_cross(V[i], I @ V[i])
    for i in reversed(range(model.nl)):
        parent, dofs = model.link_parent[i], _dofs(model, i)
        h[dofs] = kin.S[:, dofs].T @ F[i]
        if parent >= 0:
            F[parent] += F[i]
    return h


def joint_forces(model: RigidModel, q: FloatArray, qd: FloatArray) -> FloatArray:
    """``tau [nv]`` of dampers, springs and limits (Eq. 4 of the SHAC paper, Xu et al. 2022).

    A ball joint's spring pulls along the rotation vector from ``q_spring`` to ``q``. The ``released`` limit law adds
    ``-limit_damping qd`` on every slide and hinge joint, within its range or not, limited or not.
    """
    tau = -model.dof_damping * qd
    for i, kind in enumerate(model.joint_type):
        k, d, stiffness = model.joint_q[i], model.joint_dof[i], model.joint_stiffness[i]
        if kind == JointType.BALL:
            unit = q[k : k + 4] / np.linalg.norm(q[k : k + 4])
            conjugate = model.q_spring[k : k + 4] * np.array([1, -1, -1, -1])
            tau[d : d + 3] -= stiffness * rotation_vector(quat_mul(conjugate, unit))
        elif kind in (JointType.SLIDE, JointType.HINGE):
            tau[d] -= stiffness * (q[k] - model.q_spring[k])
            if model.joint_limited[i]:
                lower, upper = model.joint_range[i]
                tau[d] += model.limit_stiffness[i] * (max(lower - q[k], 0) + min(upper - q[k], 0))
            if model.limit_law == "released":
                tau[d] -= model.limit_damping[i] * qd[d]
    return tau


def actuator_forces(model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray) -> FloatArray:
    """``tau [nv]`` of motors, gear times control, and of servos, whose force follows the joint and has bounds.

    ``u`` is not clipped to ``actuator_range`` here.
    """
    tau = np.zeros(model.nv)
    np.add.at(tau, model.actuator_dof, model.actuator_gear * u)
    for a, d, gain, bias, bounds in zip(
        model.servo_actuator, model.servo_dof, model.servo_gain, model.servo_bias, model.servo_range, strict=True
    ):
        i = np.flatnonzero(model.joint_dof <= d)[-1]
        coordinate = q[model.joint_q[i]] if model.joint_type[i] in (JointType.SLIDE, JointType.HINGE) else 0.0
        tau[d] += np.clip(gain * u[a] + bias @ [1.0, coordinate, qd[d]], *bounds)
    return tau


def contact_forces(model: RigidModel, kin: Kinematics, qd: FloatArray) -> FloatArray:
    """``tau [nv]`` of contact with the ground and between links, Eq. 3 of the SHAC paper.

    ``twin_contact`` says where shapes touch, and the force that belongs to it: the lowest point of a sphere, for
    instance, its distance to the ground and the upward normal. The velocity is that of the body there, against that
    of the body it touches, which receives the opposite force at the same point.
    """
    wrench = np.zeros((model.nl, 6))
    V = velocities(model, kin, qd)

    def add(contact: Contact, links: tuple[int, ...], gains: tuple[float, float, float, float]) -> None:
        signs = (1, -1)[: len(links)]
        u = sum(s * (V[i, 3:] + np.cross(V[i, :3], contact.x)) for s, i in zip(signs, links, strict=True) if i >= 0)
        force = contact_force(model.contact_law, model.contact_smoothing, gains, contact, u)
        for s, i in zip(signs, links, strict=True):
            if i >= 0:
                wrench[i] += s * np.concatenate([np.cross(contact.x, force), force])

    for c, i in enumerate(model.contact_link):
        gains = model.contact_kn[c], model.contact_kd[c], model.contact_kt[c], model.contact_mu[c]
        add(ground_contact(model, c, kin.rotation[i], kin.position[i]), (i,), gains)
    pairs = model.pairs
    for p, links in enumerate(pairs.link):
        poses = tuple((kin.rotation[i], kin.position[i]) if i >= 0 else (np.eye(3), np.zeros(3)) for i in links)
        gains = pairs.kn[p], pairs.kd[p], pairs.kt[p], pairs.mu[p]
        add(pair_contact(pairs, p, poses), tuple(links), gains)
    return project(model, kin, wrench)


def project(model: RigidModel, kin: Kinematics, wrench: FloatArray) -> FloatArray:
    """Joint forces ``[nv]`` of wrenches ``[nl, 6]`` on the links: ``tau_i = S_i . (sum over what link i carries)``."""
    tau, total = np.zeros(model.nv), wrench.copy()
    for i in reversed(range(model.nl)):
        parent, dofs = model.link_parent[i], _dofs(model, i)
        tau[dofs] = kin.S[:, dofs].T @ total[i]
        if parent >= 0:
            total[parent] += total[i]
    return tau


def muscle_lengths(model: RigidModel, kin: Kinematics) -> FloatArray:
    """Lengths ``[n]`` [m] of the muscles' paths."""
    return lengths_and_moments(model, *kin)[0]


def forward_dynamics(
    model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray, act: FloatArray = NO_ACTIVATIONS
) -> FloatArray:
    """``qdd [nv] = M^-1 (tau - h)`` with motors, muscles, springs, dampers, limits and contact in ``tau``."""
    kin = kinematics(model, q)
    tau = actuator_forces(model, q, qd, u) + joint_forces(model, q, qd) + contact_forces(model, kin, qd)
    tau = tau + muscle_forces(model, *kin, qd, u, act)
    qdd: FloatArray = np.linalg.solve(mass_matrix(model, kin), tau - bias_force(model, kin, qd)).astype(np.float64)
    return qdd


# Time


def integrate(model: RigidModel, q: FloatArray, qd: FloatArray, dt: float) -> FloatArray:
    """Coordinates ``[nq]`` after ``dt`` seconds [s] at constant ``qd``.

    Positions and angles add ``dt qd``; a quaternion takes ``q + dt/2 q (0, omega)``, omega in the body's axes, and is
    normalised.
    """
    q = q.copy()
    for i, kind in enumerate(model.joint_type):
        k, d = model.joint_q[i], model.joint_dof[i]
        if kind == JointType.FREE:
            q[k : k + 3] += dt * qd[d : d + 3]
            k, d = k + 3, d + 3
        if kind in (JointType.FREE, JointType.BALL):
            unit = q[k : k + 4] / np.linalg.norm(q[k : k + 4])
            turned = unit + 0.5 * dt * quat_mul(unit, np.concatenate([[0.0], qd[d : d + 3]]))
            q[k : k + 4] = turned / np.linalg.norm(turned)
        else:
            q[k] += dt * qd[d]
    return q


def substep(
    model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray, dt: float
) -> tuple[FloatArray, FloatArray]:
    """Semi-implicit Euler: first the velocities, then the positions with the new velocities."""
    qd = qd + dt * forward_dynamics(model, q, qd, u)
    return integrate(model, q, qd, dt), qd


def control_step(
    model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray, dt: float, substeps: int
) -> tuple[FloatArray, FloatArray]:
    """``(q, qd)`` after ``dt`` seconds of constant control ``u [nu]``, in ``substeps`` equal sub-steps."""
    for _ in range(substeps):
        q, qd = substep(model, q, qd, u, dt / substeps)
    return q, qd


def energy(model: RigidModel, q: FloatArray, qd: FloatArray) -> Energy:
    """Kinetic ``qd . M qd / 2`` (armature included), and potential ``-m g . com`` plus the springs'."""
    kin = kinematics(model, q)
    kinetic = 0.5 * qd @ mass_matrix(model, kin) @ qd
    com = kin.position + np.einsum("lij,lj->li", kin.rotation, model.link_com)
    potential = -np.sum(model.link_mass * (com @ model.gravity))
    for i, kind in enumerate(model.joint_type):
        k, stretch = model.joint_q[i], np.zeros(1)
        if kind == JointType.BALL:
            conjugate = model.q_spring[k : k + 4] * np.array([1, -1, -1, -1])
            stretch = rotation_vector(quat_mul(conjugate, q[k : k + 4] / np.linalg.norm(q[k : k + 4])))
        elif kind in (JointType.SLIDE, JointType.HINGE):
            stretch = q[k : k + 1] - model.q_spring[k]
        potential += 0.5 * model.joint_stiffness[i] * (stretch @ stretch)
    return Energy(float(kinetic), float(potential))


def control_step_with_muscles(
    model: RigidModel, q: FloatArray, qd: FloatArray, act: FloatArray, u: FloatArray, dt: float, substeps: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``(q, qd, act)`` after a control step: ``control_step`` of a model whose muscles have activations ``[na]``."""
    for _ in range(substeps):
        h = dt / substeps
        qd = qd + h * forward_dynamics(model, q, qd, u, act)
        q, act = integrate(model, q, qd, h), advance_activations(model, u, act, h)
    return q, qd, act
