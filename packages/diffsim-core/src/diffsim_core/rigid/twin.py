"""The simulator written to be read: one world, plain NumPy, float64. The fast engine is tested against it.

Everything is expressed in world axes about the world origin. A *twist* ``V = (omega, v)`` has the velocity ``v``
of the body point that passes the origin, so a point at ``x`` moves with ``v + omega x x``; a *wrench*
``F = (moment about the origin, force)`` does the work ``V . F``. In this one frame velocities, accelerations
and forces of different links simply add; see Featherstone, Rigid Body Dynamics Algorithms (2008), chapters 2, 5.

Functions that take a ``Kinematics``, and those of single forces, are of ``uncoupled(model)``: their ``q``, ``qd`` and
forces have an entry for every joint, coupled ones too. The others take the model's own ``q`` and ``qd``.

A control step goes: ``kinematics`` -> forces -> ``forward_dynamics`` (``M qdd = tau - h``) -> ``integrate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from diffsim_core.rigid._pack_servos import total_ranges
from diffsim_core.rigid._twin_algebra import cross_matrix as cross_matrix
from diffsim_core.rigid._twin_algebra import force_cross as force_cross
from diffsim_core.rigid._twin_algebra import motion_cross as motion_cross
from diffsim_core.rigid._twin_algebra import quat_mul as quat_mul
from diffsim_core.rigid._twin_algebra import rotation_matrix as rotation_matrix
from diffsim_core.rigid._twin_algebra import rotation_vector as rotation_vector
from diffsim_core.rigid._twin_algebra import spatial_inertia as spatial_inertia
from diffsim_core.rigid._twin_loops import loop_energy, loop_forces, loop_rows
from diffsim_core.rigid._twin_muscles import advance_activations, lengths_and_moments, muscle_forces
from diffsim_core.rigid._twin_passive import held_weight, passive_wrenches
from diffsim_core.rigid._twin_tendons import advance_states, tendon_dampers, tendon_forces
from diffsim_core.rigid.coupled import full_state, reduction, uncoupled
from diffsim_core.rigid.joints import JOINTS, Joint
from diffsim_core.rigid.limits import has_limit_damper, limit_damper
from diffsim_core.rigid.model import FloatArray, RigidModel
from diffsim_core.rigid.turns import new_rates
from diffsim_core.rigid.twin_contact import SLIP_FLOOR as SLIP_FLOOR
from diffsim_core.rigid.twin_contact import (
    Contact,
    contact_damper,
    contact_force,
    ground_contact,
    shortening,
    turning_dampers,
)
from diffsim_core.rigid.twin_pairs import pair_contacts

NO_ACTIVATIONS: FloatArray = np.zeros(0)
_EVEN: FloatArray = np.eye(3)


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
    """Of gravity (zero at the world origin) less what is held, of the joint springs and of closed loops."""


# Kinematics


def kinematics(model: RigidModel, q: FloatArray) -> Kinematics:
    """Place every link, parents first, and write down its joint's motion.

    The parent carries a link at ``(link_pos, link_quat)``; from there its joint moves it, see ``joints.py``.
    """
    q, model = full_state(model, q).q, uncoupled(model)
    rotation, position = np.zeros((model.nl, 3, 3)), np.zeros((model.nl, 3))
    S = np.zeros((6, model.nv))
    for i, parent in enumerate(model.link_parent):
        Rp, xp = (np.eye(3), np.zeros(3)) if parent < 0 else (rotation[parent], position[parent])
        R, x = Rp @ rotation_matrix(model.link_quat[i]), xp + Rp @ model.link_pos[i]
        placed = _joint(model, i).place(model, i, q[_coordinates(model, i)], R, x)
        rotation[i], position[i], S[:, _dofs(model, i)] = placed
    return Kinematics(rotation, position, S)


def _joint(model: RigidModel, i: int) -> Joint:
    return JOINTS.at(int(model.joint_type[i]))


def _coordinates(model: RigidModel, i: int) -> slice:
    return slice(int(model.joint_q[i]), int(model.joint_q[i]) + _joint(model, i).nq)


def _dofs(model: RigidModel, i: int) -> slice:
    return slice(int(model.joint_dof[i]), int(model.joint_dof[i]) + _joint(model, i).nv)


def velocities(model: RigidModel, kin: Kinematics, qd: FloatArray) -> FloatArray:
    """Twist of every link ``[nl, 6]``: ``V_i = V_parent + S_i qd_i``."""
    model, V = uncoupled(model), np.zeros((model.nl, 6))
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
    model = uncoupled(model)
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
    model, V = uncoupled(model), velocities(model, kin, qd)
    A, F = np.zeros((model.nl, 6)), np.zeros((model.nl, 6))
    h = np.zeros(model.nv)
    for i, I in enumerate(_world_inertias(model, kin)):
        parent, dofs = model.link_parent[i], _dofs(model, i)
        A[i] = A[parent] if parent >= 0 else np.concatenate([np.zeros(3), -model.gravity])
        # the joint's axes are carried along with the link, except those of its place in the world
        carried = slice(dofs.start + _joint(model, i).world, dofs.stop)
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

    The ``released`` limit law adds ``-limit_damping qd`` on every joint with one coordinate, within its range or not,
    limited or not.
    """
    model = uncoupled(model)
    tau = -joint_dampers(model, q, qd) * qd
    for i in range(model.nl):
        tau[_dofs(model, i)] += _joint(model, i).forces(model, i, q[_coordinates(model, i)])
    return tau


def joint_dampers(model: RigidModel, q: FloatArray, qd: FloatArray) -> FloatArray:
    """Coefficients ``[nv]`` [N s/m] or [N m s/rad] of what damps each degree of freedom.

    Viscous dampers, those of limits, and the damper that dry friction ``f tanh(qd / w)`` amounts to at this speed.
    """
    model = uncoupled(model)
    slow = np.abs(qd) < 1e-9
    speed = np.where(slow, 1.0, qd)
    grip = np.where(slow, 1 / model.friction_width, np.tanh(qd / model.friction_width) / speed)
    c = model.dof_damping + model.dof_friction * grip
    for i in range(model.nl):
        if _joint(model, i).scalar and model.limit_law == "released":
            c[_dofs(model, i)] += model.limit_damping[i]
        elif has_limit_damper(model, i):
            c[_dofs(model, i)] += limit_damper(model, i, float(q[model.joint_q[i]]))
    return c


def actuator_forces(model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray) -> FloatArray:
    """``tau [nv]`` of motors, gear times control, and of servos, whose force follows the joint and has bounds.

    ``u`` is not clipped to ``actuator_range`` here.
    """
    model = uncoupled(model)
    tau = np.zeros(model.nv)
    np.add.at(tau, model.actuator_dof, model.actuator_gear * u)
    return tau + np.clip(_servo_totals(model, q, qd, u)[0], *total_ranges(model).T)


def _servo_totals(model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Forces and dampers of servos ``[nv]``, before the bounds of their sums."""
    force, damping = np.zeros(model.nv), np.zeros(model.nv)
    for a, d, gain, bias, bounds in _servos(model):
        free = gain * u[a] + bias @ [1.0, _coordinate_of_dof(model, q, d), qd[d]]
        force[d] += np.clip(free, *bounds)
        damping[d] += _share(free, bounds) * max(-bias[2], 0.0)
    return force, damping


def _share(free: float, bounds: FloatArray) -> float:
    """Of a force, what its bounds leave."""
    bounded = np.clip(free, *bounds)
    return float(np.clip(bounded / free, 0, 1)) if bounded != free and free else 1.0


def _servos(model: RigidModel) -> Iterator[tuple[int, int, float, FloatArray, FloatArray]]:
    columns = model.servo_actuator, model.servo_dof, model.servo_gain, model.servo_bias, model.servo_range
    return zip(*columns, strict=True)


def _coordinate_of_dof(model: RigidModel, q: FloatArray, d: int) -> float:
    """The coordinate whose rate a degree of freedom is; zero in ball and free joints."""
    i = np.flatnonzero(model.joint_dof <= d)[-1]
    return float(q[model.joint_q[i]]) if _joint(model, i).scalar else 0.0


class Touching(NamedTuple):
    """One contact of a link with the ground, or with another link."""

    contact: Contact
    links: tuple[int, ...]
    """The link, and the second one of a pair; -1 is the world."""
    gains: tuple[float, float, float, float]
    """kn, kd, kt, mu."""
    u: FloatArray
    """Velocity ``[3]`` of the first link against the second at the point [m/s]."""
    part: float
    """Of the pair's gains that this point has; 1 on the ground."""
    shortening: FloatArray
    """``[3, 3]``, see ``twin_contact``."""


def touching(model: RigidModel, kin: Kinematics, qd: FloatArray) -> Iterator[Touching]:
    """Every contact that may push, with the ground and between links.

    ``twin_contact`` says where shapes touch: the lowest point of a sphere, for instance, its distance to the ground
    and the upward normal. The velocity is that of the body there, against that of the body it touches.
    """
    V = velocities(model, kin, qd)

    def made(
        contact: Contact,
        links: tuple[int, ...],
        gains: tuple[float, float, float, float],
        part: float = 1.0,
        short: FloatArray = _EVEN,
    ) -> Touching:
        moving = [(s, i) for s, i in zip((1, -1), links, strict=False) if i >= 0]
        u = sum((s * (V[i, 3:] + np.cross(V[i, :3], contact.x)) for s, i in moving), np.zeros(3))
        return Touching(contact, links, gains, u, part, short)

    for c, i in enumerate(model.contact_link):
        gains = model.contact_kn[c], model.contact_kd[c], model.contact_kt[c], model.contact_mu[c]
        yield made(
            ground_contact(model, c, kin.rotation[i], kin.position[i]), (int(i),), gains, short=shortening(model, c)
        )
    pairs = model.pairs
    for p, links in enumerate(pairs.link):
        poses = tuple((kin.rotation[i], kin.position[i]) if i >= 0 else (np.eye(3), np.zeros(3)) for i in links)
        gains = pairs.kn[p], pairs.kd[p], pairs.kt[p], pairs.mu[p]
        for part, contact in pair_contacts(pairs, p, (poses[0], poses[1]), model.contact_smoothing):
            yield made(contact, tuple(links), gains, part)


def contact_forces(model: RigidModel, kin: Kinematics, qd: FloatArray, dt: float = 0.0) -> FloatArray:
    """``tau [nv]`` of contact with the ground and between links, Eq. 3 of the SHAC paper.

    The second body of a pair receives the opposite force at the same point. With ``dt``, the length of an implicit
    sub-step [s], the ground's springs push where the points will be after it.
    """
    wrench = np.zeros((model.nl, 6))
    for contact, links, gains, u, part, S in touching(model, kin, qd):
        at = ahead(contact, links, u, dt)
        force = part * S @ contact_force(model.contact_law, model.contact_smoothing, gains, at, S @ u)
        for s, i in zip((1, -1), links, strict=False):
            if i >= 0:
                wrench[i] += s * np.concatenate([np.cross(contact.x, force), force])
    V = velocities(model, kin, qd)
    for i, D in turning_dampers(model, kin.rotation, kin.position, V, dt):
        wrench[i, :3] -= D @ V[i, :3]
    return project(model, kin, wrench)


def ahead(contact: Contact, links: tuple[int, ...], u: FloatArray, dt: float) -> Contact:
    """The contact after ``dt`` seconds at constant velocity; pairs stay as they are."""
    return contact if len(links) > 1 else contact._replace(d=contact.d + dt * float(u @ contact.n))


def dampers(
    model: RigidModel,
    kin: Kinematics,
    q: FloatArray,
    qd: FloatArray,
    u: FloatArray,
    dt: float,
    act: FloatArray = NO_ACTIVATIONS,
) -> FloatArray:
    """``C [nv, nv]`` of the implicit sub-step ``(M + dt C) qdd = f``: of joints, servos and the ground's contacts.

    A servo at its bounds damps with the share of its force that is left.
    """
    model = uncoupled(model)
    C = np.diag(joint_dampers(model, q, qd)) + tendon_dampers(model, kin, q, qd, u, act)
    totals, ranges = _servo_totals(model, q, qd, u), total_ranges(model)
    C += np.diag([_share(f, bounds) * c for f, c, bounds in zip(*totals, ranges, strict=True)])
    for contact, links, gains, velocity, _, S in touching(model, kin, qd):
        if len(links) != 1:
            continue
        at = ahead(contact, links, velocity, dt)
        D = contact_damper(model.contact_law, model.contact_smoothing, gains, at, S @ velocity, dt)
        J = S @ point_jacobian(model, kin, links[0], contact.x)
        C += J.T @ D @ J
    for i, D in turning_dampers(model, kin.rotation, kin.position, velocities(model, kin, qd), dt):
        J = turning_jacobian(model, kin, i)
        C += J.T @ D @ J
    return C + loop_forces(loop_rows(model, *kin), qd, dt)[1] if model.loops.n else C


def turning_jacobian(model: RigidModel, kin: Kinematics, link: int) -> FloatArray:
    """Angular velocity ``[3, nv]`` of a link, per unit of each degree of freedom."""
    return _twist_jacobian(model, kin, link)[:3]


def point_jacobian(model: RigidModel, kin: Kinematics, link: int, x: FloatArray) -> FloatArray:
    """Velocity ``[3, nv]`` of the point of a link that is at ``x`` [m], per unit of each degree of freedom."""
    J = _twist_jacobian(model, kin, link)
    return J[3:] + np.cross(J[:3].T, x).T


def _twist_jacobian(model: RigidModel, kin: Kinematics, link: int) -> FloatArray:
    model = uncoupled(model)
    J = np.zeros((6, model.nv))
    while link >= 0:
        dofs = _dofs(model, link)
        J[:, dofs] = kin.S[:, dofs]
        link = int(model.link_parent[link])
    return J


def project(model: RigidModel, kin: Kinematics, wrench: FloatArray) -> FloatArray:
    """Joint forces ``[nv]`` of wrenches ``[nl, 6]`` on the links: ``tau_i = S_i . (sum over what link i carries)``."""
    model = uncoupled(model)
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


def applied_forces(
    model: RigidModel,
    kin: Kinematics,
    q: FloatArray,
    qd: FloatArray,
    u: FloatArray,
    act: FloatArray = NO_ACTIVATIONS,
    dt: float = 0.0,
) -> FloatArray:
    """``tau [nv]``: motors, servos, springs, dampers, limits, contact, muscles, tendons, fluid; ``dt`` as there."""
    tau = actuator_forces(model, q, qd, u) + joint_forces(model, q, qd) + contact_forces(model, kin, qd, dt)
    tau = tau + muscle_forces(model, *kin, qd, u, act, q) + tendon_forces(model, *kin, q, qd, u, act)
    tau = tau + project(model, kin, passive_wrenches(model, kin.rotation, kin.position, velocities(model, kin, qd)))
    return tau + loop_forces(loop_rows(model, *kin), qd, dt)[0] if model.loops.n else tau


def forward_dynamics(
    model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray, act: FloatArray = NO_ACTIVATIONS
) -> FloatArray:
    """``qdd [nv] = M^-1 (tau - h)`` with motors, muscles, springs, dampers, limits, contact and fluid in ``tau``."""
    return accelerations(model, q, qd, u, 0.0, "explicit", act)


def equations_of_motion(
    model: RigidModel,
    q: FloatArray,
    qd: FloatArray,
    u: FloatArray,
    dt: float,
    integrator: str,
    act: FloatArray = NO_ACTIVATIONS,
) -> tuple[FloatArray, FloatArray]:
    """M and ``tau - h`` of a model without couplings; of an implicit sub-step of ``dt`` seconds ``M + dt C``."""
    kin = kinematics(model, q)
    if integrator == "explicit":
        return mass_matrix(model, kin), applied_forces(model, kin, q, qd, u, act) - bias_force(model, kin, qd)
    M = mass_matrix(model, kin) + dt * dampers(model, kin, q, qd, u, dt, act)
    return M, applied_forces(model, kin, q, qd, u, act, dt) - bias_force(model, kin, qd)


# Time


def integrate(model: RigidModel, q: FloatArray, qd: FloatArray, dt: float) -> FloatArray:
    """Coordinates ``[nq]`` after ``dt`` seconds [s] at constant ``qd``, joint by joint."""
    q = q.copy()
    own = np.setdiff1d(np.arange(model.nl), model.couplings.link)
    for i in map(int, own):
        k = _coordinates(model, i)
        q[k] = _joint(model, i).integrate(q[k], qd[_dofs(model, i)], dt)
    return q


def accelerations(
    model: RigidModel,
    q: FloatArray,
    qd: FloatArray,
    u: FloatArray,
    dt: float,
    integrator: str,
    act: FloatArray = NO_ACTIVATIONS,
) -> FloatArray:
    """``qdd [nv]`` of a sub-step of ``dt`` seconds: of ``M qdd = f``, or of ``(M + dt C) qdd = f``.

    Coupled joints move by ``qdd_full = G qdd + drift``, so ``G^T M G qdd = G^T (f - M drift)``.
    """
    M, f = equations_of_motion(uncoupled(model), *full_state(model, q, qd), u, dt, integrator, act)
    if len(model.couplings):
        G, drift = reduction(model, q, qd)
        M, f = G.T @ M @ G, G.T @ (f - M @ drift)
    qdd: FloatArray = np.linalg.solve(M, f).astype(np.float64)
    return qdd


def substep(
    model: RigidModel, q: FloatArray, qd: FloatArray, u: FloatArray, dt: float, integrator: str = "implicit"
) -> tuple[FloatArray, FloatArray]:
    """Semi-implicit Euler: first the velocities, then the positions with the new velocities."""
    qd = new_rates(model, qd, accelerations(model, q, qd, u, dt, integrator), dt, integrator)
    return integrate(model, q, qd, dt), qd


def control_step(
    model: RigidModel,
    q: FloatArray,
    qd: FloatArray,
    u: FloatArray,
    dt: float,
    substeps: int,
    integrator: str = "implicit",
) -> tuple[FloatArray, FloatArray]:
    """``(q, qd)`` after ``dt`` seconds of constant control ``u [nu]``, in ``substeps`` equal sub-steps."""
    for _ in range(substeps):
        q, qd = substep(model, q, qd, u, dt / substeps, integrator)
    return q, qd


def energy(model: RigidModel, q: FloatArray, qd: FloatArray) -> Energy:
    """Kinetic ``qd . M qd / 2`` (armature included), and potential ``-m g . com`` plus the springs'."""
    (q, qd), model = full_state(model, q, qd), uncoupled(model)
    kin = kinematics(model, q)
    kinetic = 0.5 * qd @ mass_matrix(model, kin) @ qd
    com = kin.position + np.einsum("lij,lj->li", kin.rotation, model.link_com)
    potential = -np.sum(model.link_mass * (com @ model.gravity))
    for i in range(model.nl):
        potential += held_weight(model, i, kin.rotation[i], kin.position[i])[0] @ model.gravity
        stretch = _joint(model, i).stretch(model, i, q[_coordinates(model, i)])
        potential += 0.5 * model.joint_stiffness[i] * (stretch @ stretch)
    potential += loop_energy(loop_rows(model, *kin))
    return Energy(float(kinetic), float(potential))


def control_step_with_muscles(
    model: RigidModel,
    q: FloatArray,
    qd: FloatArray,
    act: FloatArray,
    u: FloatArray,
    dt: float,
    substeps: int,
    integrator: str = "implicit",
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """``(q, qd, act)`` after a control step: ``control_step`` of a model with activations ``[na]``."""
    for _ in range(substeps):
        h = dt / substeps
        qd = new_rates(model, qd, accelerations(model, q, qd, u, h, integrator, act), h, integrator)
        q = integrate(model, q, qd, h)
        act = advance_states(model, u, advance_activations(model, u, act, h), h)
    return q, qd, act
