"""Poses, controls and MuJoCo's compiled model of a model file, for ``diffrl bench models``."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._compile import compile_model
from diffsim_core.rigid import RigidModel
from diffsim_core.rigid.coupled import order

# MuJoCo's stubs do not name what the module imports from its core.
mujoco: Any = importlib.import_module("mujoco")

_POSES = ("home", "stand", "standing", "hold")
"""Names of keyframes that are taken before the first."""
_FREE, _BALL, _SLIDE = (int(getattr(mujoco.mjtJoint, f"mjJNT_{name}")) for name in ("FREE", "BALL", "SLIDE"))
_UNSET_RANGE = {True: 0.3, False: 1.0}
"""Half-width of random coordinates of slide joints [m] and of others [rad] without a range."""


class States(NamedTuple):
    """Random states and controls of a model, in MuJoCo's conventions."""

    q: Any
    """``[N, nq]``"""
    qd: Any
    """``[N, nv]``"""
    act: Any
    """``[N, na]``"""
    u: Any
    """``[N, nu]``"""


class Pose(NamedTuple):
    """A pose and the controls that hold it."""

    q: Any
    """``[nq]``"""
    u: Any
    """``[nu]``"""
    name: str | None
    """The keyframe; None for the model's own pose."""


def reference_model(file: Path, *, root: Path, floating: bool) -> Any:
    """The model as MuJoCo reads the file; where it cannot, as our loader hands it to MuJoCo."""
    if not floating and file.suffix.lower() != ".urdf":
        try:
            return mujoco.MjModel.from_xml_path(str(file))
        except (ValueError, RuntimeError, mujoco.FatalError):
            pass
    return compile_model(file, floating=floating, root=root).model


def sizes(model: RigidModel) -> dict[str, int]:
    """Numbers of coordinates, velocities, controls and activations as MuJoCo counts them: coupled joints have some."""
    places = order(model)
    return {"nq": len(places.q), "nv": len(places.dof), "nu": model.nu, "na": model.na}


def reduced(model: RigidModel, states: States) -> States:
    """States of the model's own joints: those that follow others have none."""
    places = order(model)
    own_q, own_dof = np.argsort(places.q)[: model.nq], np.argsort(places.dof)[: model.nv]
    return states._replace(q=states.q[:, own_q], qd=states.qd[:, own_dof])


def random_states(m: Any, number: int, rng: np.random.Generator) -> States:
    """Joints within their ranges, turned and moved anyhow where they have none; controls across their ranges."""
    q = np.tile(np.array(m.qpos0), (number, 1))
    for j in range(m.njnt):
        start, kind = int(m.jnt_qposadr[j]), int(m.jnt_type[j])
        if kind == _FREE:
            q[:, start : start + 3] += rng.normal(size=(number, 3))
        if kind in (_FREE, _BALL):
            turn = rng.normal(size=(number, 4))
            first = start + 3 * (kind == _FREE)
            q[:, first : first + 4] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
        else:
            width = _UNSET_RANGE[kind == _SLIDE]
            low, high = m.jnt_range[j] if m.jnt_limited[j] else (q[0, start] - width, q[0, start] + width)
            q[:, start] = rng.uniform(low, high, number)
    return States(q, rng.normal(size=(number, m.nv)), rng.uniform(size=(number, m.na)), random_controls(m, number, rng))


def states_near(m: Any, pose: Pose, number: int, rng: np.random.Generator) -> States:
    """States about a pose, at small velocities; controls across their ranges."""
    states = random_states(m, number, rng)
    q = np.tile(pose.q, (number, 1))
    for row, step in zip(q, 0.05 * rng.normal(size=(number, m.nv)), strict=True):
        mujoco.mj_integratePos(m, row, step, 1.0)
    return states._replace(q=q, qd=0.3 * states.qd)


def random_controls(m: Any, number: int, rng: np.random.Generator) -> Any:
    """``[number, nu]`` across the ranges of controls, in [-1, 1] without one."""
    low, high = control_range(m)
    return rng.uniform(low, high, (number, m.nu))


def control_range(m: Any) -> tuple[Any, Any]:
    """Lower and upper bounds ``[nu]``."""
    bounded = np.array(m.actuator_ctrllimited, dtype=bool)
    low, high = np.array(m.actuator_ctrlrange, dtype=float).reshape(-1, 2).T
    return np.where(bounded, low, -1.0), np.where(bounded, high, 1.0)


def home(m: Any, start: Any) -> Pose:
    """The keyframe called ``home`` or ``stand``, else the first; without one the pose ``start``, held by its servos."""
    names = [m.key(k).name for k in range(m.nkey)]
    if names:
        k = next((names.index(name) for name in _POSES if name in names), 0)
        return Pose(np.array(m.key_qpos[k]), np.array(m.key_ctrl[k]), names[k] or str(k))
    q = np.array(start)
    return Pose(q, holding_controls(m, q), None)


def holding_controls(m: Any, q: Any) -> Any:
    """Controls ``[nu]`` at which servos exert no force at rest in a pose; zero for others; within the ranges."""
    d = mujoco.MjData(m)
    d.qpos[:] = q
    mujoco.mj_forward(m, d)
    gain, bias = np.array(m.actuator_gainprm), np.array(m.actuator_biasprm)
    affine = np.array(m.actuator_biastype) == int(mujoco.mjtBias.mjBIAS_AFFINE)
    servo = affine & (gain[:, 0] != 0) & (bias[:, 1] != 0)
    rest = -(bias[:, 0] + bias[:, 1] * np.array(d.actuator_length)) / np.where(servo, gain[:, 0], 1.0)
    low, high = np.array(m.actuator_ctrlrange).T if m.nu else (np.zeros(0), np.zeros(0))
    u = np.where(servo, rest, 0.0)
    return np.where(np.array(m.actuator_ctrllimited, dtype=bool), np.clip(u, low, high), u)
