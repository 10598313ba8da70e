"""Actuators of a compiled model: motors with a gear, and servos where there is more to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._flags import actuator_is_off, switched_off
from diffsim_core.io._joints import joint_of
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import JOINT, JOINT_IN_PARENT, affine_bias, is_hill
from diffsim_core.io._names import actuator_name
from diffsim_core.io._tendons import acts_along, along_problem
from diffsim_core.rigid.model import UNBOUNDED, FloatArray

_AFFINE = int(mujoco.mjtBias.mjBIAS_AFFINE)
_ON_JOINTS = (JOINT, JOINT_IN_PARENT)


def on_joint(m: Any, j: int) -> list[int]:
    """Actuators that act on a joint itself."""
    count = len(m.actuator_trntype)
    acting = [a for a in range(count) if int(m.actuator_trntype[a]) in _ON_JOINTS and not actuator_is_off(m, a)]
    return [a for a in acting if int(m.actuator_trnid[a, 0]) == j]


def control_range(m: Any, a: int) -> FloatArray:
    """What an action in [-1, 1] spans: the file's range, else one that follows from what the file does bound.

    That is [0, 1] of a muscle, the controls at which a motor's force meets its bounds, and those that hold a position
    servo's joint at the ends of its range. ``UNBOUNDED`` where nothing bounds the control.
    """
    if m.actuator_ctrllimited[a]:
        return np.array(m.actuator_ctrlrange[a])
    if is_hill(m, a):
        return np.array((0.0, 1.0))
    gain, bias, gear = float(m.actuator_gainprm[a, 0]), affine_bias(m, a), float(m.actuator_gear[a, 0])
    found = np.array([-UNBOUNDED, UNBOUNDED])
    if int(m.actuator_trntype[a]) in _ON_JOINTS and gain:
        j = int(m.actuator_trnid[a, 0])
        if not bias[1:].any():
            found = (_force_range(m, a) - bias[0]) / gain
            if m.jnt_actfrclimited[j] and gear:
                found = np.sort(found).clip(*np.sort((m.jnt_actfrcrange[j] / gear - bias[0]) / gain))
        elif bias[1] and m.jnt_limited[j]:
            found = -(bias[0] + bias[1] * gear * m.jnt_range[j]) / gain
    found = np.sort(found)
    bounded = found[0] < found[1] and np.abs(found).max() < 1e-6 * UNBOUNDED
    return found if bounded else np.array([-UNBOUNDED, UNBOUNDED])


def _force_range(m: Any, a: int) -> FloatArray:
    """Bounds of an actuator's force, before its gear."""
    return m.actuator_forcerange[a] if m.actuator_forcelimited[a] else np.array([-UNBOUNDED, UNBOUNDED])


def _motor_force(m: Any, a: int) -> FloatArray:
    """Least and greatest force of an actuator without feedback, before its gear and its bounds."""
    limited = m.actuator_ctrllimited[a] and not switched_off(m, "clampctrl")
    control = m.actuator_ctrlrange[a] if limited else np.array([-UNBOUNDED, UNBOUNDED])
    return np.sort(control * m.actuator_gainprm[a, 0]) + affine_bias(m, a)[0]


def generalised_range(m: Any, a: int) -> FloatArray:
    """Least and greatest generalised force [N] or [N m] of an actuator on its slide or hinge."""
    gear, bounds = m.actuator_gear[a, 0], _force_range(m, a)
    if not (affine_bias(m, a)[1:].any() or acts_along(m, a)):
        bounds = np.clip(_motor_force(m, a), *bounds)
    return np.sort(bounds * gear) if gear else np.zeros(2)


def is_servo(m: Any, a: int) -> bool:
    """Whether an actuator is more than a motor on a slide or hinge whose control range alone bounds its force."""
    if not joint_of(m, m.actuator_trnid[a, 0]).scalar or affine_bias(m, a).any():
        return True
    if m.actuator_forcelimited[a] and not within(_motor_force(m, a), m.actuator_forcerange[a]):
        return True
    j = int(m.actuator_trnid[a, 0])
    total = sum((generalised_range(m, other) for other in on_joint(m, j)), np.zeros(2))
    return bool(m.jnt_actfrclimited[j]) and not within(total, m.jnt_actfrcrange[j])


def within(force: FloatArray, bounds: FloatArray) -> bool:
    """Whether a range lies in another one."""
    return bool(force.min() >= bounds[0] - 1e-12 and force.max() <= bounds[1] + 1e-12)


def _joint_bounds(m: Any, a: int) -> FloatArray:
    """``actuatorfrcrange`` of an actuator's joint."""
    j = int(m.actuator_trnid[a, 0])
    return m.jnt_actfrcrange[j] if m.jnt_actfrclimited[j] else np.array([-UNBOUNDED, UNBOUNDED])


def actuator_arrays(m: Any) -> dict[str, Any]:
    """The ``actuator_*`` and ``servo_*`` fields of ``RigidModel``."""
    n = m.nu
    joints = [int(m.actuator_trntype[a]) in _ON_JOINTS for a in range(n)]
    acts = [not acts_along(m, a) and not actuator_is_off(m, a) for a in range(n)]
    servos = [acts[a] and is_servo(m, a) for a in range(n)]
    motors = [acts[a] and not servos[a] for a in range(n)]
    gear = [m.actuator_gear[a, 0] * m.actuator_gainprm[a, 0] if motor else 0.0 for a, motor in enumerate(motors)]
    dof = [m.jnt_dofadr[m.actuator_trnid[a, 0]] if joints[a] else 0 for a in range(n)]
    rows = [row for a in range(n) if servos[a] for row in _servo_rows(m, a)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    totals = np.array(columns[5], dtype=np.float64).reshape(-1, 2)
    return {
        "actuator_dof": np.array(dof, dtype=np.int64),
        "actuator_gear": np.array(gear, dtype=np.float64),
        "actuator_range": np.array([control_range(m, a) for a in range(n)], dtype=np.float64).reshape(-1, 2),
        "actuator_name": tuple(actuator_name(m, a) for a in range(n)),
        "servo_actuator": np.array(columns[0], dtype=np.int64),
        "servo_dof": np.array(columns[1], dtype=np.int64),
        "servo_gain": np.array(columns[2], dtype=np.float64),
        "servo_bias": np.array(columns[3], dtype=np.float64).reshape(-1, 3),
        "servo_range": np.array(columns[4], dtype=np.float64).reshape(-1, 2),
        "servo_total_range": totals if (np.abs(totals) < UNBOUNDED).any() else np.zeros((0, 2)),
    }


def _servo_rows(m: Any, a: int) -> list[tuple[Any, ...]]:
    """``(actuator, dof, gain, bias [3], range [2], range of the sum [2])`` for each degree of freedom with a gear.

    MuJoCo's force is ``clamp(gain u + b0 + b1 gear q + b2 gear qd)``, and the generalised force gear times it. The sum
    of a joint's actuators has the joint's bounds; those of one actuator alone are its own.
    """
    j = int(m.actuator_trnid[a, 0])
    bounds, bias, of_joint = _force_range(m, a), affine_bias(m, a), _joint_bounds(m, a)
    alone, free = len(on_joint(m, j)) == 1, np.array([-UNBOUNDED, UNBOUNDED])
    rows = []
    for k in range(joint_of(m, j).nv):
        if gear := float(m.actuator_gear[a, k]):
            scaled = gear * bias * np.array([1.0, gear, gear])
            reach = np.sort(gear * bounds).clip(-UNBOUNDED, UNBOUNDED)
            reach, total = (reach.clip(*of_joint), free) if alone else (reach, of_joint)
            rows.append((a, m.jnt_dofadr[j] + k, gear * m.actuator_gainprm[a, 0], scaled, reach, total))
    return rows


def not_simulated(m: Any, a: int) -> str:
    """Why an actuator is not simulated, or an empty string."""
    reason = along_problem(m, a) if acts_along(m, a) else _joint_problem(m, a)
    if reason:
        return reason
    count = len(m.actuator_trntype)
    for field in ("armature", "damping", "dampingpoly", "delay", "history"):
        if np.any(np.asarray(getattr(m, f"actuator_{field}", np.zeros(count))).reshape(count, -1)[a]):
            return f"has {field}"
    return ""


def _joint_problem(m: Any, a: int) -> str:
    if int(m.actuator_gaintype[a]) != int(mujoco.mjtGain.mjGAIN_FIXED):
        return "has a gain that depends on the state"
    if int(m.actuator_biastype[a]) not in (int(mujoco.mjtBias.mjBIAS_NONE), _AFFINE):
        return "has a bias force that is not affine"
    if not joint_of(m, m.actuator_trnid[a, 0]).scalar:
        if int(m.actuator_trntype[a]) == JOINT_IN_PARENT:
            return "acts on a free or ball joint in its parent's axes (jointinparent)"
        if affine_bias(m, a)[1:].any():
            return "is a servo on a free or ball joint"
    return ""
