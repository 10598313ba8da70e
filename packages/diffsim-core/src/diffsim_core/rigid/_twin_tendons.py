"""The tendons of the twin: plain NumPy, one world, written to be read (formulas as MuJoCo documents them)."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid._twin_paths import lengths_and_moments
from diffsim_core.rigid.model import FloatArray, RigidModel
from diffsim_core.rigid.tendons import ActuatorDynamics, AffineConstants, PassiveConstants


def affine_force(c: AffineConstants, length: float, rate: float, drive: float) -> float:
    """Force [N] of an actuator along a length [m] that changes at a rate [m/s]; ``drive`` its control or activation."""
    force = c.gain * drive + c.offset + c.by_length * length + c.by_rate * rate
    return min(max(force, c.lower), c.upper)


def passive_force(c: PassiveConstants, length: float, rate: float) -> float:
    """Force [N] of a tendon's spring, damper, limits and friction."""
    stretch = length - min(max(length, c.spring_lower), c.spring_upper)
    beyond = length - min(max(length, c.lower), c.upper)
    limit_damping = c.limit_damping * abs(beyond) / (abs(beyond) + c.limit_width)
    force = -c.stiffness * stretch - c.limit_stiffness * beyond - (c.damping + limit_damping) * rate
    return float(force - c.friction * np.tanh(rate / c.slip))


def tendon_dampers(
    model: RigidModel, kin: tuple[FloatArray, FloatArray, FloatArray], q: FloatArray, qd: FloatArray, u: FloatArray,
    act: FloatArray,
) -> FloatArray:  # fmt: skip
    """``C [nv, nv]`` of the tendons that damp sums of joint coordinates, for the implicit sub-step."""
    tendons = model.tendons
    lengths, moments = tendon_moments(model, *kin, q)
    C = np.zeros((model.nv, model.nv))
    for i in np.flatnonzero(tendons.sums):
        length, rate, a = float(lengths[i]), float(moments[i] @ qd), int(tendons.activation[i])
        if tendons.control[i] < 0:
            c = tendons.passive_constants(int(i))
            beyond = abs(length - min(max(length, c.lower), c.upper))
            damper = c.damping + c.limit_damping * beyond / (beyond + c.limit_width)
            damper += c.friction * (np.tanh(rate / c.slip) / rate if rate else 1 / c.slip)
        else:
            c = tendons.affine_constants(int(i))
            drive = float(u[tendons.control[i]] if a < 0 else act[a])
            free = c.gain * drive + c.offset + c.by_length * length + c.by_rate * rate
            bounded = min(max(free, c.lower), c.upper)
            share = min(max(bounded / free, 0.0), 1.0) if bounded != free and free else 1.0
            damper = share * max(-c.by_rate, 0.0)
        C += damper * np.outer(moments[i], moments[i])
    return C


def tendon_moments(
    model: RigidModel, rotation: FloatArray, position: FloatArray, S: FloatArray, q: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Lengths ``[n]`` of all tendons and their derivatives ``[n, nv]``; on a site, its wrench in place of them."""
    tendons = model.tendons
    lengths, moments = lengths_and_moments(model, rotation, position, S, q, tendons)
    for i in np.flatnonzero(tendons.site_link >= 0):
        moments[i] = _wrench_moments(model, rotation, position, S, int(tendons.site_link[i]), tendons.site_wrench[i])
    return lengths, moments


def _wrench_moments(
    model: RigidModel, rotation: FloatArray, position: FloatArray, S: FloatArray, link: int, wrench: FloatArray
) -> FloatArray:
    moment, force = rotation[link] @ wrench[:3], rotation[link] @ wrench[3:]
    about_world = np.concatenate([moment + np.cross(position[link], force), force])
    out = np.zeros(model.nv)
    while link >= 0:
        first = int(model.joint_dof[link])
        end = int(model.joint_dof[link + 1]) if link + 1 < model.nl else model.nv
        out[first:end] = S[:, first:end].T @ about_world
        link = int(model.link_parent[link])
    return out


def tendon_forces(
    model: RigidModel, rotation: FloatArray, position: FloatArray, S: FloatArray, q: FloatArray, qd: FloatArray,
    u: FloatArray, act: FloatArray,
) -> FloatArray:  # fmt: skip
    """Generalised force ``[nv]`` of all tendons: ``sum f dL/dq``."""
    tendons = model.tendons
    lengths, moments = tendon_moments(model, rotation, position, S, q)
    force = np.zeros(tendons.n)
    for i in range(tendons.n):
        length, rate, a = float(lengths[i]), float(moments[i] @ qd), int(tendons.activation[i])
        if tendons.control[i] < 0:
            force[i] = passive_force(tendons.passive_constants(i), length, rate)
        else:
            drive = float(u[tendons.control[i]] if a < 0 else act[a])
            force[i] = affine_force(tendons.affine_constants(i), length, rate, drive)
    return moments.T @ force


def advance_states(model: RigidModel, u: FloatArray, act: FloatArray, dt: float) -> FloatArray:
    """Activations ``[na]`` after ``dt`` [s], where an actuator has one (muscles' stay)."""
    tendons, act = model.tendons, act.copy()
    for i in np.flatnonzero(tendons.activation >= 0):
        a, c, kind = tendons.activation[i], tendons.affine_constants(int(i)), ActuatorDynamics(int(tendons.dynamics[i]))
        control = u[tendons.control[i]]
        if kind == ActuatorDynamics.INTEGRATOR:
            moved = act[a] + dt * control
        else:
            part = dt / c.tau if kind == ActuatorDynamics.FILTER else -np.expm1(-dt / c.tau)
            moved = act[a] + part * (control - act[a])
        act[a] = min(max(moved, c.act_lower), c.act_upper)
    return act
