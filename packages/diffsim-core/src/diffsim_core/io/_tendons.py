"""Actuators and passive forces along lengths -> ``Tendons``; what is not simulated is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from diffsim_core.io._couplings import ties_joints
from diffsim_core.io._flags import active_equalities, actuator_is_off, switched_off
from diffsim_core.io._joints import joint_of
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import (
    JOINT,
    JOINT_IN_PARENT,
    TENDON,
    TENDON_EQUALITY,
    activations,
    actuator_path,
    affine_bias,
    hill_problem,
    is_hill,
    is_pull,
    kind,
    path_problems,
    tendon_path,
)
from diffsim_core.io._names import actuator_name, object_name
from diffsim_core.io.params import LIMIT_RATE, LimitParams
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid.limits import limit_onset
from diffsim_core.rigid.model import UNBOUNDED, Body, FloatArray, RigidModel
from diffsim_core.rigid.paths import Path, Segment
from diffsim_core.rigid.tendon_bounds import least_inertia
from diffsim_core.rigid.tendons import (
    ActuatorDynamics,
    AffineConstants,
    PassiveConstants,
    Tendons,
    TendonUnit,
    tendons_of,
)

SITE = int(mujoco.mjtTrn.mjTRN_SITE)
MOST_DECAY = 500.0
"""Greatest rate [1/s] at which sticking friction may slow down what a tendon moves: light things slip more."""
HOLD_RATE = 300.0
"""Frequency [rad/s] at which a length that is held swings, with half of critical damping."""
_DYNAMICS = {
    int(mujoco.mjtDyn.mjDYN_NONE): ActuatorDynamics.NONE,
    int(mujoco.mjtDyn.mjDYN_INTEGRATOR): ActuatorDynamics.INTEGRATOR,
    int(mujoco.mjtDyn.mjDYN_FILTER): ActuatorDynamics.FILTER,
    int(mujoco.mjtDyn.mjDYN_FILTEREXACT): ActuatorDynamics.FILTER_EXACT,
}
_FIXED = int(mujoco.mjtGain.mjGAIN_FIXED)
_BIASES = (int(mujoco.mjtBias.mjBIAS_NONE), int(mujoco.mjtBias.mjBIAS_AFFINE))
_OWN = {"stiffness": "spring", "damping": "damper", "frictionloss": "frictionloss", "limited": "limit"}
"""What forces of its own a tendon may have, and the flag that switches each off."""
_REFUSED = {
    "armature": ("", "a tendon has no inertia of its own; remove it, or give its joints armature"),
    "actfrclimited": ("actuation", "give its actuators a forcerange instead"),
    "stiffnesspoly": ("spring", "springs are linear; give one coefficient"),
    "springyield": ("spring", "springs are linear; remove it"),
    "dampingpoly": ("damper", "dampers are linear; give one coefficient"),
}
"""What is not simulated, the flag that switches it off, and what to do."""


def acts_along(m: Any, a: int) -> bool:
    """Whether an actuator acts along a length or on a site, or has an activation, and so is none of a joint's own."""
    on_joint = int(m.actuator_trntype[a]) in (JOINT, JOINT_IN_PARENT)
    return not on_joint or int(m.actuator_dyntype[a]) != int(mujoco.mjtDyn.mjDYN_NONE)


def tendon_problems(m: Any) -> list[str]:
    """A sentence for each tendon that has what is not simulated.

    A tendon that carries no force is left alone.
    """
    found = []
    for t in range(m.ntendon):
        label = f'tendon "{object_name(m, "tendon", t) or t}"'
        for name, (flag, advice) in _REFUSED.items():
            if _row(m, name, t).any() and not (flag and switched_off(m, flag)):
                found.append(f"{name} of {label}: {advice}")
        if not carries(m, t):
            continue
        found += path_problems(m, t, label)
        low, high = m.tendon_range[t]
        if _has(m, "limited", t) and not low < high:
            found.append(f"range {low:g} {high:g} of {label}: the lower bound must be less than the upper")
        if any(_has(m, name, t) and _row(m, name, t)[0] < 0 for name in _OWN):
            found.append(f"{label} has a negative stiffness, damping or frictionloss: give numbers of at least 0")
    return found


def along_problem(m: Any, a: int) -> str:
    """Why an actuator that ``acts_along`` something is not simulated, or an empty string."""
    transmission = int(m.actuator_trntype[a])
    if transmission == SITE:
        if m.actuator_trnid[a, 1] >= 0:
            return "acts on a site relative to a refsite"
    elif transmission != TENDON:
        if transmission not in (JOINT, JOINT_IN_PARENT):
            return "does not act on a joint, a tendon or a site"
        if not joint_of(m, m.actuator_trnid[a, 0]).scalar:
            return "has an activation and acts on a free or ball joint"
    if is_hill(m, a):
        return hill_problem(m, a) if transmission != SITE else "is a muscle on a site"
    dynamics, gain, bias = kind(m, a)
    if dynamics not in _DYNAMICS:
        return "has activation dynamics that are not integrator, filter, filterexact or a muscle's"
    if gain != _FIXED:
        return "has a gain that depends on the state"
    if bias not in _BIASES:
        return "has a bias force that is not affine"
    return "has actearly" if m.actuator_actearly[a] else ""


def read_tendons(m: Any, bodies: list[Body], wrapping: str) -> Tendons:
    """The tendons' own forces, then actuators in the file's order; limits for an inertia of one (``scale_tendons``)."""
    units = [unit for t in range(m.ntendon) if (unit := _passive_unit(m, bodies, t, wrapping)) is not None]
    units += [_held_unit(m, bodies, e, wrapping) for e in held_tendons(m)]
    for a, activation in enumerate(activations(m)):
        if not acts_along(m, a) or is_hill(m, a) or is_pull(m, a) or actuator_is_off(m, a):
            continue
        on_site = int(m.actuator_trntype[a]) == SITE
        dynamics = _DYNAMICS[int(m.actuator_dyntype[a])]
        units.append(
            TendonUnit(
                actuator_name(m, a),
                Path() if on_site else actuator_path(m, bodies, a, wrapping),
                control=a,
                activation=activation,
                dynamics=dynamics,
                affine=_affine(m, a, 1.0 if on_site else float(m.actuator_gear[a, 0])),
                site=_site_wrench(m, bodies, a) if on_site else None,
            )
        )
    return tendons_of(units)


def held_tendons(m: Any) -> list[int]:
    """Equality constraints of tendons that hold a length, or tie two by a linear law, and are none of joints."""
    tied = [e for e in active_equalities(m) if int(m.eq_type[e]) == TENDON_EQUALITY and not ties_joints(m, e)]
    return [e for e in tied if m.eq_obj2id[e] < 0 or not m.eq_data[e, 2:5].any()]


def _held_unit(m: Any, bodies: list[Body], e: int, wrapping: str) -> TendonUnit:
    """A length held at its place, as limits that meet; ``scale_tendons`` makes a spring and a damper of them."""
    first, second = int(m.eq_obj1id[e]), int(m.eq_obj2id[e])
    path, rest = tendon_path(m, bodies, first, wrapping), float(m.tendon_length0[first] + m.eq_data[e, 0])
    if second >= 0:
        other, factor = tendon_path(m, bodies, second, wrapping), -float(m.eq_data[e, 1])
        segments: list[Segment] = []
        for segment in other.segments:
            wrap = segment[5] if len(segment) == 6 else None
            segments.append((*segment[:4], factor * segment[4], wrap))
        path = Path([*path.segments, *segments], [*path.terms, *((j, factor * c) for j, c in other.terms)])
        rest += factor * float(m.tendon_length0[second])
    constants = PassiveConstants(lower=rest, upper=rest, limit_stiffness=HOLD_RATE**2, limit_damping=HOLD_RATE)
    return TendonUnit(object_name(m, "equality", e) or object_name(m, "tendon", first), path, passive=constants)


def _affine(m: Any, a: int, gear: float) -> AffineConstants:
    """MuJoCo's force is ``clamp(gain s + b0 + b1 gear L + b2 gear dL/dt)``, and that along the length gear times it."""
    forces = m.actuator_forcerange[a] if m.actuator_forcelimited[a] else np.array([-UNBOUNDED, UNBOUNDED])
    lower, upper = np.sort(gear * forces).clip(-UNBOUNDED, UNBOUNDED)
    acts = m.actuator_actrange[a] if m.actuator_actlimited[a] else (-UNBOUNDED, UNBOUNDED)
    scaled = gear * affine_bias(m, a) * np.array([1.0, gear, gear])
    tau = max(float(m.actuator_dynprm[a, 0]), 1e-15) if _DYNAMICS[int(m.actuator_dyntype[a])] > 1 else 1.0
    numbers = (gear * m.actuator_gainprm[a, 0], *scaled, lower, upper, tau, *acts)
    return AffineConstants(*(float(x) for x in numbers))


def _site_wrench(m: Any, bodies: list[Body], a: int) -> tuple[int, FloatArray]:
    """Link, and the wrench ``[6]`` for a force of one, about the link's origin, in its axes; gear is in the site's."""
    s = int(m.actuator_trnid[a, 0])
    body = bodies[m.site_bodyid[s]]
    place = body.pos + rotation(body.quat) @ m.site_pos[s]
    axes = rotation(quat_mul(body.quat, m.site_quat[s]))
    force, moment = axes @ m.actuator_gear[a, :3], axes @ m.actuator_gear[a, 3:]
    return body.link, np.concatenate([moment + np.cross(place, force), force])


def scale_tendons(model: RigidModel, limits: LimitParams) -> RigidModel:
    """Limits and friction for the inertia that each tendon moves where it moves least; ``limits`` may say otherwise.

    A light thing on a spring for a heavy one would need sub-steps too short to take.
    """
    columns = {name: PassiveConstants._fields.index(name) for name in PassiveConstants._fields}
    stiffness, damping, friction, slip = (
        columns[name] for name in ("limit_stiffness", "limit_damping", "friction", "slip")
    )
    passive = model.tendons.passive.copy()
    if not passive[:, [stiffness, damping, friction]].any():
        return model
    inertia = least_inertia(model)
    for column, given in ((stiffness, limits.stiffness), (damping, limits.damping)):
        limited = passive[:, column] > 0
        passive[limited, column] = passive[limited, column] * inertia[limited] if given is None else given
    held = (passive[:, stiffness] > 0) & (passive[:, columns["lower"]] == passive[:, columns["upper"]])
    for limit, own in (
        ("lower", "spring_lower"), ("upper", "spring_upper"), ("limit_stiffness", "stiffness"),
        ("limit_damping", "damping"),
    ):  # fmt: skip
        passive[held, columns[own]] = passive[held, columns[limit]]
        passive[held, columns[limit]] = PassiveConstants._field_defaults[limit]
    widened = np.where(model.tendons.sums, 0.0, passive[:, friction] / (inertia * MOST_DECAY))
    passive[:, slip] = np.maximum(model.friction_width, widened)
    return replace(model, tendons=replace(model.tendons, passive=passive))


def _passive_unit(m: Any, bodies: list[Body], t: int, wrapping: str) -> TendonUnit | None:
    """Spring, damper, limits and friction of a tendon; none if it has nothing of these."""
    stiffness, damping, friction, limited = (float(_row(m, name, t)[0]) if _has(m, name, t) else 0.0 for name in _OWN)
    if not (stiffness or damping or friction or limited):
        return None
    spring_low, spring_high = map(float, m.tendon_lengthspring[t])
    constants = PassiveConstants(stiffness, spring_low, spring_high, damping)
    if limited:
        low, high = map(float, m.tendon_range[t])
        constants = constants._replace(lower=low, upper=high, limit_width=limit_onset(m.tendon_range[t]))
        constants = constants._replace(limit_stiffness=LIMIT_RATE**2, limit_damping=2 * LIMIT_RATE)
    if friction:
        constants = constants._replace(friction=friction)
    name = object_name(m, "tendon", t) or f"tendon{t}"
    return TendonUnit(name, tendon_path(m, bodies, t, wrapping), passive=constants)


def carries(m: Any, t: int) -> bool:
    """Whether a tendon exerts any force: by an actuator, an equality, or anything of its own."""
    pulled = (a for a in range(m.nu) if int(m.actuator_trntype[a]) == TENDON and not actuator_is_off(m, a))
    tied = (i for i in active_equalities(m) if int(m.eq_type[i]) == TENDON_EQUALITY)
    return (
        any(int(m.actuator_trnid[a, 0]) == t for a in pulled)
        or any(t in (int(m.eq_obj1id[i]), int(m.eq_obj2id[i])) for i in tied)
        or any(_has(m, name, t) for name in _OWN)
    )


def _has(m: Any, name: str, t: int) -> bool:
    """Whether a tendon has a force of its own that is not switched off."""
    return bool(_row(m, name, t).any()) and not switched_off(m, _OWN[name])


def _row(m: Any, name: str, t: int) -> FloatArray:
    """A field of a tendon as ``[k]``; zero where this version of MuJoCo has no such field."""
    values = np.asarray(getattr(m, f"tendon_{name}", np.zeros(m.ntendon)), dtype=np.float64)
    return values.reshape(m.ntendon, -1)[t]
