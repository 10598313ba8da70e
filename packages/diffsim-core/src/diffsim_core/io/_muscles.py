"""Paths of tendons, and muscles and motors that pull along them -> ``Muscles``; what is not simulated is named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._flags import actuator_is_off
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import actuator_name
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import Body, FloatArray
from diffsim_core.rigid.muscles import HillConstants, Muscles, Unit, muscles_of
from diffsim_core.rigid.paths import NO_SIDE, Path, Segment, Wrap, WrapKind

TENDON = int(mujoco.mjtTrn.mjTRN_TENDON)
JOINT, JOINT_IN_PARENT = int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)
_SITE, _PULLEY = int(mujoco.mjtWrap.mjWRAP_SITE), int(mujoco.mjtWrap.mjWRAP_PULLEY)
_JOINT = int(mujoco.mjtWrap.mjWRAP_JOINT)
TENDON_EQUALITY = int(mujoco.mjtEq.mjEQ_TENDON)
WRAPPED = {int(mujoco.mjtWrap.mjWRAP_SPHERE): "sphere", int(mujoco.mjtWrap.mjWRAP_CYLINDER): "cylinder"}
"""What a path can wrap around."""
_MUSCLE = (
    int(mujoco.mjtDyn.mjDYN_MUSCLE),
    int(mujoco.mjtGain.mjGAIN_MUSCLE),
    int(mujoco.mjtBias.mjBIAS_MUSCLE),
)
_MOTOR = (int(mujoco.mjtDyn.mjDYN_NONE), int(mujoco.mjtGain.mjGAIN_FIXED), int(mujoco.mjtBias.mjBIAS_NONE))


def kind(m: Any, a: int) -> tuple[int, int, int]:
    """Types of an actuator's dynamics, gain and bias."""
    return int(m.actuator_dyntype[a]), int(m.actuator_gaintype[a]), int(m.actuator_biastype[a])


def affine_bias(m: Any, a: int) -> FloatArray:
    """``[3]``: constant force and its factors of length and velocity; zeros without ``biastype``, as MuJoCo has it."""
    affine = int(m.actuator_biastype[a]) == int(mujoco.mjtBias.mjBIAS_AFFINE)
    return m.actuator_biasprm[a, :3] if affine else np.zeros(3)


def is_hill(m: Any, a: int) -> bool:
    """Whether an actuator is a muscle with activation."""
    return kind(m, a) == _MUSCLE


def is_fixed(m: Any, t: int) -> bool:
    """Whether a tendon's length is a sum of joint coordinates."""
    return path_of(m, t)[0][0] == _JOINT


def path_problems(m: Any, t: int, label: str) -> list[str]:
    """A sentence for each thing on a tendon's path that is not simulated."""
    single = not is_fixed(m, t) and any(len(branch) < 2 for branch in branches_of(path_of(m, t)))
    return [f"{label} has a branch of one site: a path needs two points at least"] if single else []


def tendon_joints(m: Any, a: int) -> set[int]:
    """Joints that an actuator on a tendon may pull on: those between the bodies of its path, and of a fixed tendon."""
    joints: set[int] = set()
    chains = []
    for wrap, i, _ in path_of(m, int(m.actuator_trnid[a, 0])):
        if wrap == _JOINT:
            joints.add(i)
        elif wrap in (_SITE, *WRAPPED):
            b = int((m.site_bodyid if wrap == _SITE else m.geom_bodyid)[i])
            chains.append(joints_below(m, b))
    return joints | (set.union(*chains) - set.intersection(*chains) if chains else set())


def joints_below(m: Any, b: int) -> set[int]:
    """Joints between a body and the world."""
    joints: set[int] = set()
    while b > 0:
        joints |= set(range(m.body_jntadr[b], m.body_jntadr[b] + m.body_jntnum[b]))
        b = int(m.body_parentid[b])
    return joints


def is_pull(m: Any, a: int) -> bool:
    """Whether an actuator is a motor whose force along a spatial tendon is its control alone."""
    on_path = int(m.actuator_trntype[a]) == TENDON and not is_fixed(m, int(m.actuator_trnid[a, 0]))
    return on_path and kind(m, a) == _MOTOR and not m.actuator_forcelimited[a]


def hill_problem(m: Any, a: int) -> str:
    """Why a muscle is not simulated, or an empty string."""
    if m.actuator_forcelimited[a]:
        return "is a muscle with a forcerange; give its muscle a force instead"
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


def activations(m: Any) -> list[int]:
    """For each actuator the index of its activation, in their order; -1 without one."""
    none = int(mujoco.mjtDyn.mjDYN_NONE)
    active = np.array([int(m.actuator_dyntype[a]) != none and not actuator_is_off(m, a) for a in range(m.nu)], bool)
    return np.where(active, np.cumsum(active) - 1, -1).tolist()


def read_muscles(m: Any, bodies: list[Body], wrapping: str) -> Muscles:
    """The units of all muscles, and of motors on spatial tendons, in the file's order."""
    units = []
    for a, activation in enumerate(activations(m)):
        if actuator_is_off(m, a):
            continue
        if is_hill(m, a):
            hill, gain = _hill(m, a), 1.0
        elif is_pull(m, a):
            hill, gain = None, float(m.actuator_gainprm[a, 0])
        else:
            continue
        path, gear = actuator_path(m, bodies, a, wrapping), float(m.actuator_gear[a, 0]) * gain
        units.append(Unit(actuator_name(m, a), a, gear, path.segments, hill, path.terms, activation))
    return muscles_of(units)


def actuator_path(m: Any, bodies: list[Body], a: int, wrapping: str) -> Path:
    """The length along which an actuator on a tendon, slide or hinge acts."""
    moved = int(m.actuator_trnid[a, 0])
    on_tendon = int(m.actuator_trntype[a]) == TENDON
    return tendon_path(m, bodies, moved, wrapping) if on_tendon else Path(terms=[(moved, 1.0)])


def tendon_path(m: Any, bodies: list[Body], t: int, wrapping: str) -> Path:
    """The length of a tendon."""
    if is_fixed(m, t):
        return Path(terms=[(joint, coefficient) for _, joint, coefficient in path_of(m, t)])
    return Path(_segments(m, bodies, t, wrapping))


def _hill(m: Any, a: int) -> HillConstants:
    prm, low_high = m.actuator_gainprm[a], m.actuator_lengthrange[a]
    force = prm[2] if prm[2] >= 0 else prm[3] / max(m.actuator_acc0[a], 1e-15)
    tau = (*m.actuator_dynprm[a, :2], max(m.actuator_dynprm[a, 2], 0.0))
    return HillConstants(*(float(x) for x in (*low_high, prm[0], prm[1], force, *prm[4:9], *tau)))


def path_of(m: Any, t: int) -> list[tuple[int, int, float]]:
    """``(kind, object, parameter)`` of everything on a tendon's path."""
    adr = range(int(m.tendon_adr[t]), int(m.tendon_adr[t] + m.tendon_num[t]))
    return [(int(m.wrap_type[i]), int(m.wrap_objid[i]), float(m.wrap_prm[i])) for i in adr]


class Stop(NamedTuple):
    """A site on a path."""

    site: int
    divisor: float
    around: int = -1
    """Shape between the site before and this one."""
    side: int = -1
    """Side site of that shape."""


def branches_of(path: list[tuple[int, int, float]]) -> list[list[Stop]]:
    """The sites of each branch between pulleys."""
    branches: list[list[Stop]] = [[]]
    around = side = -1
    divisor = 1.0
    for wrap, i, parameter in path:
        if wrap == _PULLEY:
            divisor = parameter
            if branches[-1]:
                branches.append([])
        elif wrap == _SITE:
            branches[-1].append(Stop(i, divisor, around, side))
            around = side = -1
        elif wrap in WRAPPED:
            around, side = i, round(parameter)
    return branches


def _segments(m: Any, bodies: list[Body], t: int, wrapping: str) -> list[Segment]:
    segments: list[Segment] = []
    for branch in branches_of(path_of(m, t)):
        for a, b in pairwise(branch):
            wrap = _wrap(m, bodies, b.around, b.side) if b.around >= 0 and wrapping == "simulate" else None
            segments.append((*_site(m, bodies, a.site), *_site(m, bodies, b.site), 1.0 / a.divisor, wrap))
    return segments


def _wrap(m: Any, bodies: list[Body], g: int, side: int) -> Wrap:
    """A sphere or cylinder that a path may wrap around, with a side site or -1."""
    body = bodies[m.geom_bodyid[g]]
    turn = rotation(body.quat)
    kind = WrapKind.SPHERE if int(m.geom_type[g]) == int(mujoco.mjtGeom.mjGEOM_SPHERE) else WrapKind.CYLINDER
    axis = turn @ rotation(m.geom_quat[g] / np.linalg.norm(m.geom_quat[g])) @ np.array([0.0, 0.0, 1.0])
    place = body.pos + turn @ m.geom_pos[g]
    beside = _site(m, bodies, side) if side >= 0 else (NO_SIDE, np.zeros(3))
    return Wrap(kind, body.link, place, axis, float(m.geom_size[g, 0]), *beside)


def _site(m: Any, bodies: list[Body], s: int) -> tuple[int, FloatArray]:
    """Link and position in its frame."""
    body = bodies[m.site_bodyid[s]]
    return body.link, body.pos + rotation(body.quat) @ m.site_pos[s]
