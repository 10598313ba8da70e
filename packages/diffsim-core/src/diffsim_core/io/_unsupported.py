"""Every element of a compiled model that the simulator does not do, one sentence each."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._actuators import control_range, generalised_range, not_simulated, on_joint, within
from diffsim_core.io._couplings import JOINT as COUPLED_JOINTS
from diffsim_core.io._couplings import ties_joints
from diffsim_core.io._flags import active_equalities, actuator_is_off, switched_off
from diffsim_core.io._initial_pose import posed
from diffsim_core.io._loops import CLOSING
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import TENDON, joints_below, tendon_joints
from diffsim_core.io._names import actuator_name, geom_label, joint_name, object_name
from diffsim_core.io._tendons import SITE, acts_along, held_tendons, tendon_problems

SINGULAR = (
    "the mass matrix is singular in the initial pose: give the bodies that move mass and inertia, give their joints"
    " armature, or remove a joint that repeats another's motion"
)

ACTUATORS = (
    "motors, servos and muscles on slide or hinge joints and on tendons, also with a filter or integrator,"
    " motors on free or ball joints, motors on sites"
)

FREE, BALL = int(mujoco.mjtJoint.mjJNT_FREE), int(mujoco.mjtJoint.mjJNT_BALL)


def find_unsupported(m: Any) -> list[str]:
    """One sentence for each unsupported element: kind, name, remedy."""
    return [*_options(m), *_joints(m), *tendon_problems(m), *_actuators(m), *_others(m)]


def array(m: Any, name: str, size: int) -> np.ndarray:
    """A field of the compiled model as ``[size, k]``; zeros where this version of MuJoCo has no such field."""
    return np.asarray(getattr(m, name, np.zeros(size))).reshape(size, -1 if size else 1)


def singular_joints(m: Any, slopes: np.ndarray) -> list[str]:
    """A sentence if the mass matrix is singular in the initial pose, with the joints that move no mass.

    ``slopes`` ``[nv, nv]``: rates of all joints by those that follow no other, and zero by the others.
    """
    own = np.flatnonzero(slopes.any(axis=0))
    if not len(own):
        return []
    d = posed(m)
    full = np.zeros((m.nv, m.nv))
    for column, unit in zip(full, np.eye(m.nv), strict=True):
        mujoco.mj_mulM(m, d, column, unit)
    if len(own) < m.nv:
        full = slopes[:, own].T @ full @ slopes[:, own]
    diagonal = np.diag(full)
    if not np.all(np.isfinite(full)) or np.any(diagonal <= 0):
        count = range(len(own))
        bad = [v for v in count if not (np.isfinite(diagonal[v]) and diagonal[v] > 0)] or list(count)
    else:
        scale = 1.0 / np.sqrt(diagonal)
        scaled = scale[:, None] * full * scale
        if _above(scaled, 1e-10):
            return []
        _, vectors = np.linalg.eigh(scaled)
        bad = [v for v in range(len(own)) if abs(vectors[v, 0]) > 1e-3]
    names = ", ".join(dict.fromkeys(f'"{joint_name(m, m.dof_jntid[own[v]])}"' for v in bad))
    return [f"{SINGULAR} (joints {names})"]


def friction_notes(m: Any) -> list[str]:
    """A sentence on the joints with dry friction."""
    names = dict.fromkeys(f'"{joint_name(m, m.dof_jntid[v])}"' for v in np.flatnonzero(m.dof_frictionloss))
    if not names or switched_off(m, "frictionloss"):
        return []
    return [f"frictionloss of joints {', '.join(names)} is smoothed over friction_width: it creeps under load"]


def _above(matrix: np.ndarray, least: float) -> bool:
    """Whether all eigenvalues of a symmetric matrix are larger; a tenth of the time of computing them."""
    try:
        np.linalg.cholesky(matrix - least * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        return False
    return True


def _options(m: Any) -> list[str]:
    found = []
    for name in ("density", "viscosity"):
        if getattr(m.opt, name) < 0:
            found.append(f'option {name}="{getattr(m.opt, name):g}": give a number of at least 0')
    return found


def _joints(m: Any) -> list[str]:
    found = []
    stiffness = array(m, "jnt_stiffness", m.njnt)[:, 0]
    no_spring, no_damper, no_limit = (switched_off(m, flag) for flag in ("spring", "damper", "limit"))
    for j in range(m.njnt):
        label = f'joint "{joint_name(m, j)}"'
        kind = int(m.jnt_type[j])
        limited = m.jnt_limited[j] and not no_limit
        if kind == BALL and limited:
            found.append(f"range of ball {label}: limits work on slide and hinge joints; remove it or use hinges")
        if kind not in (FREE, BALL) and limited and not m.jnt_range[j, 0] < m.jnt_range[j, 1]:
            low, high = m.jnt_range[j]
            found.append(f"range {low:g} {high:g} of {label}: the lower bound must be less than the upper")
        counted = array(m, "jnt_actgravcomp", m.njnt)[j].any() and m.body_gravcomp.any()
        if counted and m.jnt_actfrclimited[j]:
            found.append(f"actuatorgravcomp of {label}: actuatorfrcrange cannot bound it; remove one of the two")
        if no_spring:
            continue
        if kind == FREE and stiffness[j] != 0:
            found.append(f"stiffness of free {label}: set it to 0")
        if array(m, "jnt_springyield", m.njnt)[j].any():
            found.append(f"yielding spring of {label}: springs are linear; remove springyield")
        if array(m, "jnt_stiffnesspoly", m.njnt)[j].any():
            found.append(f"nonlinear stiffness of {label}: springs are linear; give one coefficient")
    for v in range(m.nv):
        label = f'joint "{joint_name(m, m.dof_jntid[v])}"'
        if m.dof_frictionloss[v] < 0 and not switched_off(m, "frictionloss"):
            found.append(f"negative frictionloss of {label}: give a number of at least 0")
        if no_damper:
            continue
        if array(m, "dof_dampingpoly", m.nv)[v].any():
            found.append(f"nonlinear damping of {label}: damping is linear; give one coefficient")
        if m.dof_damping.reshape(m.nv, -1)[v, 0] < 0:
            found.append(f"negative damping of {label}: give a number of at least 0")
    return list(dict.fromkeys(found))


def _actuators(m: Any) -> list[str]:
    found = []
    count = int(getattr(m, "nactuator", m.nu))
    ctrl = array(m, "actuator_ctrladr", count)[:, 0] if hasattr(m, "actuator_ctrladr") else np.arange(count)
    for a in range(count):
        label = f'actuator "{actuator_name(m, a)}"'
        if actuator_is_off(m, a):
            continue
        if reason := not_simulated(m, a):
            found.append(f"{label} {reason}" if ";" in reason else f"{label} {reason}: {ACTUATORS} are simulated")
            continue
        if ctrl[a] != a:
            found.append(f"{label} has several controls: use one motor for each joint")
        low, high = control_range(m, a)
        if not low < high:
            found.append(f"ctrlrange {low:g} {high:g} of {label}: the lower bound must be less than the upper")
        low, high = m.actuator_forcerange[a]
        if m.actuator_forcelimited[a] and not low < high:
            found.append(f"forcerange {low:g} {high:g} of {label}: the lower bound must be less than the upper")
    found += _joint_force_limits(m, count) if not found else []
    return found


def _joint_force_limits(m: Any, count: int) -> list[str]:
    """``actuatorfrcrange`` bounds the sum of motors and servos on the joint; with others it must not be exceeded."""
    found = []
    pulled = {j for a in range(count) for j in _joints_pulled(m, a)}
    for j in np.flatnonzero(m.jnt_actfrclimited).tolist():
        name, acting = joint_name(m, j), on_joint(m, j)
        if j in pulled:  # how they pull on which joint is not known before it moves
            found.append(
                f'actuatorfrcrange of joint "{name}", on which an actuator pulls by a tendon or site: remove it'
            )
        elif any(acts_along(m, a) for a in acting):
            total = sum((generalised_range(m, a) for a in acting), np.zeros(2))
            if not within(total, m.jnt_actfrcrange[j]):
                found.append(f'actuatorfrcrange of joint "{name}" cuts an actuator with a state: give it a forcerange')
    return found


def _joints_pulled(m: Any, a: int) -> set[int]:
    """Joints on which an actuator acts from afar."""
    if actuator_is_off(m, a):
        return set()
    if int(m.actuator_trntype[a]) == SITE:
        return joints_below(m, int(m.site_bodyid[m.actuator_trnid[a, 0]]))
    return tendon_joints(m, a) if int(m.actuator_trntype[a]) == TENDON else set()


def _others(m: Any) -> list[str]:
    found = []
    held = held_tendons(m)
    for e in active_equalities(m):
        if int(m.eq_type[e]) not in (*CLOSING, COUPLED_JOINTS) and not ties_joints(m, e) and e not in held:
            name, kind = object_name(m, "equality", e) or e, mujoco.mjtEq(int(m.eq_type[e])).name
            found.append(f'equality "{name}" of type {kind.removeprefix("mjEQ_").lower()} is not simulated; remove it')
    for kind, count, advice in (
        ("flex", m.nflex, "deformables are not part of a rigid model; remove it"),
        ("plugin", m.nplugin, "plugins are not run; remove it"),
    ):
        found += [f'{kind} "{object_name(m, kind, i) or i}": {advice}' for i in range(count)]
    for name in ("geom_adhesion", "geom_surfacevel"):
        for g in np.flatnonzero(array(m, name, m.ngeom).any(axis=1)).tolist():
            found.append(f"{name.removeprefix('geom_')} of {geom_label(m, g)}: contact has no such term; remove it")
    for p in np.flatnonzero(array(m, "pair_adhesion", m.npair).any(axis=1)).tolist():
        label = object_name(m, "pair", p) or p
        found.append(f'adhesion of pair "{label}": contact has no such term; remove it')
    return found
