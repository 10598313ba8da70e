"""Joints by name: how a link moves against its parent. Each is a C++ header and an entry with the twin's functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from diffsim_core.entries import Registry
from diffsim_core.rigid._headers import SOURCE
from diffsim_core.rigid._twin_algebra import (
    FloatArray,
    axis_rotation,
    quat_mul,
    rotation_matrix,
    rotation_vector,
    turning,
)

if TYPE_CHECKING:
    from diffsim_core.rigid.model import RigidModel

MOST_COORDINATES = 4
"""Most coordinates of a joint, its link's place in the world not counted: ``model.h`` has columns for so many."""


class Placed(NamedTuple):
    """A link behind its joint, in world axes."""

    rotation: FloatArray
    """``[3, 3]`` axes, as columns."""
    position: FloatArray
    """``[3]`` origin [m]."""
    S: FloatArray
    """``[6, nv]`` twist about the world origin per unit of each of the joint's velocities."""


def _added(q: FloatArray, qd: FloatArray, dt: float) -> FloatArray:
    return q + dt * qd


def _spring_and_range(model: RigidModel, i: int, q: FloatArray) -> FloatArray:
    """A linear spring, and soft ends of the range (Eq. 4 of the SHAC paper, Xu et al. 2022)."""
    tau = -model.joint_stiffness[i] * (q - model.q_spring[model.joint_q[i]])
    if model.joint_limited[i]:
        lower, upper = model.joint_range[i]
        tau = tau + model.limit_stiffness[i] * (max(lower - q[0], 0) + min(upper - q[0], 0))
    return tau


def _stretch(model: RigidModel, i: int, q: FloatArray) -> FloatArray:
    return q - model.q_spring[model.joint_q[i]]


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A type of joint.

    To add one: a header that defines its struct as ``_source/joint.h`` says, an entry with the same for NumPy, and
    ``register_joint``. The defaults below are those of a joint with one coordinate, whose rate is its velocity.
    """

    name: str
    """The struct has the name in CamelCase: ``screw`` is ``ds::Screw``."""
    header: Path
    """The C++ of the joint, anywhere."""
    place: Callable[[RigidModel, int, FloatArray, FloatArray, FloatArray], Placed]
    """``(model, link, q [nq], R [3, 3], x [3])``: the link, from the axes and origin at which its parent carries it."""
    nq: int = 1
    """Coordinates."""
    nv: int = 1
    """Velocities."""
    integrate: Callable[[FloatArray, FloatArray, float], FloatArray] = _added
    """``(q [nq], qd [nv], dt)``: coordinates after ``dt`` [s] at constant velocity."""
    forces: Callable[[RigidModel, int, FloatArray], FloatArray] = _spring_and_range
    """``(model, link, q [nq])``: generalised forces ``[nv]`` of spring and limits."""
    stretch: Callable[[RigidModel, int, FloatArray], FloatArray] = _stretch
    """``(model, link, q [nq])``: deflection of the spring, whose energy is half the stiffness times its square."""
    world: int = 0
    """3 if its first three coordinates and velocities are its link's place in the world [m] and its rate, else 0. All
    other columns of ``Placed.S`` must be carried along with the link."""
    quaternion: int | None = None
    """Which coordinate is the first of a quaternion, if there is one."""
    translates: bool = False
    """Whether it moves its link without turning it."""
    parameters: tuple[str, ...] = ()
    """Names of the columns of ``RigidModel.joint_parameters`` that it reads; C++: ``real[L_OWN]`` and the next."""

    @property
    def scalar(self) -> bool:
        """Whether it has one coordinate, with a range and a reference."""
        return self.nq == self.nv == 1


def _slide(model: RigidModel, i: int, q: FloatArray, R: FloatArray, x: FloatArray) -> Placed:
    axis = R @ model.joint_axis[i]
    S = np.concatenate([np.zeros(3), axis])
    return Placed(R, x + axis * (q[0] - model.q_ref[model.joint_q[i]]), S[:, None])


def _hinge(model: RigidModel, i: int, q: FloatArray, R: FloatArray, x: FloatArray) -> Placed:
    S = turning(R @ model.joint_axis[i], x)
    return Placed(R @ axis_rotation(model.joint_axis[i], q[0] - model.q_ref[model.joint_q[i]]), x, S[:, None])


def _ball(model: RigidModel, i: int, q: FloatArray, R: FloatArray, x: FloatArray) -> Placed:
    R = R @ rotation_matrix(q)
    return Placed(R, x, turning(R, x))


def _turn_quaternion(q: FloatArray, qd: FloatArray, dt: float) -> FloatArray:
    """``q + dt/2 q (0, omega)``, normalised; omega in the body's axes."""
    unit = q / np.linalg.norm(q)
    turned = unit + 0.5 * dt * quat_mul(unit, np.concatenate([[0.0], qd]))
    return turned / np.linalg.norm(turned)


def _ball_deflection(model: RigidModel, i: int, q: FloatArray) -> FloatArray:
    """Rotation vector from ``q_spring`` to ``q``."""
    k = model.joint_q[i]
    conjugate = model.q_spring[k : k + 4] * np.array([1, -1, -1, -1])
    return rotation_vector(quat_mul(conjugate, q / np.linalg.norm(q)))


def _ball_spring(model: RigidModel, i: int, q: FloatArray) -> FloatArray:
    return -model.joint_stiffness[i] * _ball_deflection(model, i, q)


def _free(model: RigidModel, i: int, q: FloatArray, R: FloatArray, x: FloatArray) -> Placed:
    x, R = q[:3], rotation_matrix(q[3:])
    S = np.zeros((6, 6))
    S[3:, :3] = np.eye(3)
    S[:, 3:] = turning(R, x)
    return Placed(R, x, S)


def _move_freely(q: FloatArray, qd: FloatArray, dt: float) -> FloatArray:
    return np.concatenate([q[:3] + dt * qd[:3], _turn_quaternion(q[3:], qd[3:], dt)])


def _none(model: RigidModel, i: int, q: FloatArray) -> FloatArray:
    return np.zeros(6)


_HEADERS = SOURCE / "joints"

FREE = Joint(
    name="free",
    header=_HEADERS / "free.h",
    nq=7,
    nv=6,
    world=3,
    quaternion=3,
    place=_free,
    integrate=_move_freely,
    forces=_none,
    stretch=_none,
)
"""Position and quaternion in the world; velocities linear in world axes, then angular in the link's."""

BALL = Joint(
    name="ball",
    header=_HEADERS / "ball.h",
    nq=4,
    nv=3,
    quaternion=0,
    place=_ball,
    integrate=_turn_quaternion,
    forces=_ball_spring,
    stretch=_ball_deflection,
)
"""A quaternion; angular velocity in the link's axes. The spring pulls along the rotation vector."""

SLIDE = Joint(name="slide", header=_HEADERS / "slide.h", place=_slide, translates=True)
"""A shift [m] along ``joint_axis``."""

HINGE = Joint(name="hinge", header=_HEADERS / "hinge.h", place=_hinge)
"""A turn [rad] about ``joint_axis``."""

JOINTS: Registry[Joint] = Registry("joint type", (FREE, BALL, SLIDE, HINGE))
"""By name; ``RigidModel.joint_type`` holds their numbers, ``JOINTS.index(name)``."""


def register_joint(joint: Joint) -> int:
    """Make a type of joint known in this process, and return its number for ``RigidModel.joint_type``.

    Raises:
        ValueError: if the name is taken, the header does not exist, or the sizes are none that the engine has room for.
    """
    own = joint.nq - joint.world
    if joint.world not in (0, 3) or not 0 < own <= MOST_COORDINATES or not joint.nv <= joint.nq <= joint.nv + 1:
        raise ValueError(
            f"joint type {joint.name!r}: world={joint.world} must be 0 or 3, nq={joint.nq} between nv={joint.nv} and "
            f"nv + 1, and nq - world at most {MOST_COORDINATES}"
        )
    return JOINTS.register(joint)


def extra_joints(model: RigidModel) -> tuple[Joint, ...]:
    """The types that a model has beyond those that every module is compiled with, by name."""
    used = {JOINTS.at(int(kind)) for kind in set(model.joint_type.tolist())}
    return tuple(sorted(used - set(JOINTS.built_in), key=lambda joint: joint.name))


def compiled_joints(model: RigidModel) -> tuple[Joint, ...]:
    """The types that the model's module is compiled with, in the order of their numbers there."""
    return (*JOINTS.built_in, *extra_joints(model))
