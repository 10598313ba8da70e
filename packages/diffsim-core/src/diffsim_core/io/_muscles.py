"""Spatial tendons and the actuators that pull on them -> ``Muscles``; what is not simulated is named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from diffsim_core.io._flags import active_equalities, actuator_is_off, switched_off
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import actuator_name, object_name
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import Body, FloatArray
from diffsim_core.rigid.muscles import HillConstants, Muscles, Unit, muscles_of

TENDON = int(mujoco.mjtTrn.mjTRN_TENDON)
_SITE, _PULLEY = int(mujoco.mjtWrap.mjWRAP_SITE), int(mujoco.mjtWrap.mjWRAP_PULLEY)
WRAPPED = {int(mujoco.mjtWrap.mjWRAP_SPHERE): "sphere", int(mujoco.mjtWrap.mjWRAP_CYLINDER): "cylinder"}
"""What a path can wrap around."""
_MUSCLE = (
    int(mujoco.mjtDyn.mjDYN_MUSCLE),
    int(mujoco.mjtGain.mjGAIN_MUSCLE),
    int(mujoco.mjtBias.mjBIAS_MUSCLE),
)
_MOTOR = (int(mujoco.mjtDyn.mjDYN_NONE), int(mujoco.mjtGain.mjGAIN_FIXED), int(mujoco.mjtBias.mjBIAS_NONE))
_EXTRAS = {
    "limited": "limit",
    "stiffness": "spring",
    "damping": "damper",
    "frictionloss": "frictionloss",
    "armature": "",
    "actfrclimited": "actuation",
    "stiffnesspoly": "spring",
    "dampingpoly": "damper",
}
"""What a tendon may have that is not simulated, and the flag that switches it off."""
_TENDON_EQUALITY = int(mujoco.mjtEq.mjEQ_TENDON)


def kind(m: Any, a: int) -> tuple[int, int, int]:
    """Types of an actuator's dynamics, gain and bias."""
    return int(m.actuator_dyntype[a]), int(m.actuator_gaintype[a]), int(m.actuator_biastype[a])


def is_hill(m: Any, a: int) -> bool:
    """Whether an actuator is a muscle with activation."""
    return kind(m, a) == _MUSCLE


def tendon_problems(m: Any, wrapping: str) -> list[str]:
    """A sentence for each tendon that has what is not simulated; ``wrapping`` as in ``load_model``."""
    found = []
    for t in range(m.ntendon):
        label = f'tendon "{object_name(m, "tendon", t) or t}"'
        extras = _extras(m, t)
        found += [f"{name} of {label}: a tendon only carries the pull of its actuators; remove it" for name in extras]
        if not carries(m, t):
            continue
        objects = list(path_of(m, t))
        for wrap, i, _ in objects:
            if wrap in WRAPPED:
                if wrapping == "straight":
                    continue
                shape = f'{WRAPPED[wrap]} geom "{object_name(m, "geom", i) or i}"'
                found.append(
                    f"{label} wraps around the {shape}: paths are straight; give it sites on the way around, or load"
                    ' with wrapping="straight"'
                )
            elif wrap not in (_SITE, _PULLEY):
                found.append(f"{label} is a fixed tendon: use joint springs and motors, or a spatial tendon")
                break
        else:
            if any(len(branch) < 2 for branch in branches_of(objects)):
                found.append(f"{label} has a branch of one site: a muscle needs two points at least")
    return found


def _extras(m: Any, t: int) -> list[str]:
    """What a tendon has beyond its path, of what is not switched off."""
    acting = [name for name, flag in _EXTRAS.items() if not (flag and switched_off(m, flag))]
    rows = {name: np.asarray(getattr(m, f"tendon_{name}", np.zeros(m.ntendon))) for name in acting}
    return [name for name, values in rows.items() if values.reshape(m.ntendon, -1)[t].any()]


def carries(m: Any, t: int) -> bool:
    """Whether a tendon exerts any force: by an actuator, an equality, or anything of its own."""
    pulled = (a for a in range(m.nu) if int(m.actuator_trntype[a]) == TENDON and not actuator_is_off(m, a))
    tied = (i for i in active_equalities(m) if int(m.eq_type[i]) == _TENDON_EQUALITY)
    return (
        any(int(m.actuator_trnid[a, 0]) == t for a in pulled)
        or any(t in (int(m.eq_obj1id[i]), int(m.eq_obj2id[i])) for i in tied)
        or bool(_extras(m, t))
    )


def tendon_joints(m: Any, a: int) -> set[int]:
    """Joints that an actuator on a tendon may pull on: those between the bodies of its path, and of a fixed tendon."""
    joints: set[int] = set()
    chains = []
    for wrap, i, _ in path_of(m, int(m.actuator_trnid[a, 0])):
        if wrap == int(mujoco.mjtWrap.mjWRAP_JOINT):
            joints.add(i)
        elif wrap in (_SITE, *WRAPPED):
            b = int((m.site_bodyid if wrap == _SITE else m.geom_bodyid)[i])
            chains.append(_joints_below(m, b))
    return joints | (set.union(*chains) - set.intersection(*chains) if chains else set())


def _joints_below(m: Any, b: int) -> set[int]:
    """Joints between a body and the world."""
    joints: set[int] = set()
    while b > 0:
        joints |= set(range(m.body_jntadr[b], m.body_jntadr[b] + m.body_jntnum[b]))
        b = int(m.body_parentid[b])
    return joints


def pull_problem(m: Any, a: int) -> str:
    """Why an actuator on a tendon is not simulated, or an empty string."""
    if kind(m, a) not in (_MUSCLE, _MOTOR):
        return "on a tendon is neither a motor nor a muscle"
    if m.actuator_forcelimited[a]:
        return "on a tendon has a forcerange; narrow its ctrlrange or give its muscle a force"
    if not is_hill(m, a):
        return ""
    if m.actuator_actearly[a]:
        return "has actearly"
    low, high = m.actuator_actrange[a]
    if m.actuator_actlimited[a] and not (low <= 0 and high >= 1):
        return f"has actrange {low:g} {high:g}, which cuts an activation between 0 and 1"
    h = _hill(m, a)
    if not h.length_low < h.length_high:
        return "has no lengthrange; give it one, such as the mujoco package's actuator_lengthrange of the compiled file"
    if not (h.range_low < h.range_high and h.lmin < 1 < h.lmax and h.vmax > 0 and h.fvmax >= 1):
        return "needs range increasing, lmin < 1 < lmax, vmax > 0 and fvmax at least 1"
    if not (h.tau_act > 0 and h.tau_deact > 0 and h.tau_smooth >= 0 and h.force >= 0 and h.fpmax >= 0):
        return "needs positive time constants, and no negative tausmooth, force or fpmax"
    return ""


def read_muscles(m: Any, bodies: list[Body]) -> Muscles:
    """The units of all actuators on tendons, in the file's order."""
    units = []
    for a in range(m.nu):
        if int(m.actuator_trntype[a]) != TENDON or actuator_is_off(m, a):
            continue
        hill = _hill(m, a) if is_hill(m, a) else None
        gain = 1.0 if hill else float(m.actuator_gainprm[a, 0])
        segments = _segments(m, bodies, int(m.actuator_trnid[a, 0]))
        units.append(Unit(actuator_name(m, a), a, float(m.actuator_gear[a, 0]) * gain, segments, hill))
    return muscles_of(units)


def _hill(m: Any, a: int) -> HillConstants:
    prm, low_high = m.actuator_gainprm[a], m.actuator_lengthrange[a]
    force = prm[2] if prm[2] >= 0 else prm[3] / max(m.actuator_acc0[a], 1e-15)
    tau = (*m.actuator_dynprm[a, :2], max(m.actuator_dynprm[a, 2], 0.0))
    return HillConstants(*(float(x) for x in (*low_high, prm[0], prm[1], force, *prm[4:9], *tau)))


def path_of(m: Any, t: int) -> list[tuple[int, int, float]]:
    """``(kind, object, parameter)`` of everything on a tendon's path."""
    adr = range(int(m.tendon_adr[t]), int(m.tendon_adr[t] + m.tendon_num[t]))
    return [(int(m.wrap_type[i]), int(m.wrap_objid[i]), float(m.wrap_prm[i])) for i in adr]


def branches_of(path: list[tuple[int, int, float]]) -> list[list[tuple[int, float]]]:
    """``(site, divisor)`` of each branch between pulleys."""
    branches: list[list[tuple[int, float]]] = [[]]
    divisor = 1.0
    for wrap, i, parameter in path:
        if wrap == _PULLEY:
            divisor = parameter
            if branches[-1]:
                branches.append([])
        elif wrap == _SITE:
            branches[-1].append((i, divisor))
    return branches


def _segments(m: Any, bodies: list[Body], t: int) -> list[tuple[int, FloatArray, int, FloatArray, float]]:
    segments = []
    for branch in branches_of(path_of(m, t)):
        for (a, divisor), (b, _) in pairwise(branch):
            segments.append((*_site(m, bodies, a), *_site(m, bodies, b), 1.0 / divisor))
    return segments


def _site(m: Any, bodies: list[Body], s: int) -> tuple[int, FloatArray]:
    """Link and position in its frame."""
    body = bodies[m.site_bodyid[s]]
    return body.link, body.pos + rotation(body.quat) @ m.site_pos[s]
