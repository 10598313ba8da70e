"""Actuators of a compiled model: motors with a gear, and servos where there is more to them."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._joints import joint_of
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import TENDON, is_hill, pull_problem
from diffsim_core.io._names import actuator_name
from diffsim_core.rigid.model import UNBOUNDED


def control_range(m: Any, a: int) -> np.ndarray:
    """Control range of an actuator; where it has none, [0, 1] of a muscle and [-1, 1] of others."""
    if m.actuator_ctrllimited[a]:
        return np.array(m.actuator_ctrlrange[a])
    return np.array((0.0, 1.0) if is_hill(m, a) else (-1.0, 1.0))


def generalised_range(m: Any, a: int) -> np.ndarray:
    """Least and greatest generalised force [N] or [N m] of an actuator on its slide or hinge."""
    gear = m.actuator_gear[a, 0]
    bounds = m.actuator_forcerange[a] if m.actuator_forcelimited[a] else np.array([-UNBOUNDED, UNBOUNDED])
    if not m.actuator_biasprm[a, 1:3].any():
        force = np.sort(control_range(m, a) * m.actuator_gainprm[a, 0]) + m.actuator_biasprm[a, 0]
        bounds = np.clip(force, *bounds)
    return np.sort(bounds * gear) if gear else np.zeros(2)


def is_servo(m: Any, a: int) -> bool:
    """Whether an actuator is more than a motor on a slide or hinge whose control range alone bounds its force."""
    if not joint_of(m, m.actuator_trnid[a, 0]).scalar or m.actuator_biasprm[a, :3].any():
        return True
    force = control_range(m, a) * m.actuator_gainprm[a, 0]
    low, high = m.actuator_forcerange[a]
    return bool(m.actuator_forcelimited[a] and (force.min() < low - 1e-12 or force.max() > high + 1e-12))


def actuator_arrays(m: Any) -> dict[str, Any]:
    """The ``actuator_*`` and ``servo_*`` fields of ``RigidModel``."""
    n = m.nu
    on_joint = [int(m.actuator_trntype[a]) != TENDON for a in range(n)]
    servos = [on_joint[a] and is_servo(m, a) for a in range(n)]
    motors = [on_joint[a] and not servos[a] for a in range(n)]
    gear = [m.actuator_gear[a, 0] * m.actuator_gainprm[a, 0] if motor else 0.0 for a, motor in enumerate(motors)]
    dof = [m.jnt_dofadr[m.actuator_trnid[a, 0]] if on_joint[a] else 0 for a in range(n)]
    rows = [row for a in range(n) if servos[a] for row in _servo_rows(m, a)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 5
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
    }


def _servo_rows(m: Any, a: int) -> list[tuple[Any, ...]]:
    """``(actuator, dof, gain, bias [3], range [2])`` for each degree of freedom with a gear.

    MuJoCo's force is ``clamp(gain u + b0 + b1 gear q + b2 gear qd)``, and the generalised force gear times it.
    """
    j = int(m.actuator_trnid[a, 0])
    bounds = m.actuator_forcerange[a] if m.actuator_forcelimited[a] else np.array([-UNBOUNDED, UNBOUNDED])
    bias = m.actuator_biasprm[a, :3]
    rows = []
    for k in range(joint_of(m, j).nv):
        if gear := float(m.actuator_gear[a, k]):
            scaled = gear * bias * np.array([1.0, gear, gear])
            reach = np.sort(gear * bounds).clip(-UNBOUNDED, UNBOUNDED)
            rows.append((a, m.jnt_dofadr[j] + k, gear * m.actuator_gainprm[a, 0], scaled, reach))
    return rows


def not_simulated(m: Any, a: int) -> str:
    """Why an actuator is not simulated, or an empty string."""
    reason = pull_problem(m, a) if int(m.actuator_trntype[a]) == TENDON else _joint_problem(m, a)
    if reason:
        return reason
    count = len(m.actuator_trntype)
    for field in ("armature", "damping", "dampingpoly", "delay", "history"):
        if np.any(np.asarray(getattr(m, f"actuator_{field}", np.zeros(count))).reshape(count, -1)[a]):
            return f"has {field}"
    return ""


def _joint_problem(m: Any, a: int) -> str:
    transmission = int(m.actuator_trntype[a])
    in_parent = transmission == int(mujoco.mjtTrn.mjTRN_JOINTINPARENT)
    if transmission != int(mujoco.mjtTrn.mjTRN_JOINT) and not in_parent:
        return "does not act on a joint or a tendon"
    if int(m.actuator_dyntype[a]) != int(mujoco.mjtDyn.mjDYN_NONE):
        return "has activation dynamics"
    if int(m.actuator_gaintype[a]) != int(mujoco.mjtGain.mjGAIN_FIXED):
        return "has a gain that depends on the state"
    if int(m.actuator_biastype[a]) not in (int(mujoco.mjtBias.mjBIAS_NONE), int(mujoco.mjtBias.mjBIAS_AFFINE)):
        return "has a bias force that is not affine"
    if not joint_of(m, m.actuator_trnid[a, 0]).scalar:
        if in_parent:
            return "acts on a free or ball joint in its parent's axes (jointinparent)"
        if m.actuator_biasprm[a, 1:3].any():
            return "is a servo on a free or ball joint"
    return ""
