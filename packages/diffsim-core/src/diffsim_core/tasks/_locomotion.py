"""``Runner``: observation and initial state of Ant and the Humanoids, which have a free root (SHAC paper, Table 9).

World axes have z up; x is the direction to run.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from diffsim_core._protocol import Array, PyTree, Random
from diffsim_core.rigid.dynamics import RigidState
from diffsim_core.rigid.model import JointType, RigidModel
from diffsim_core.tasks._running import RunningTask

HEIGHT, SPEED, UP = 0, 5, 11
"""Columns of an observation: torso height [m] and forward velocity [m/s]; add the number of joint columns to ``UP``."""

_TILT = math.pi / 24


def locomotion_obs_names(model: RigidModel, actions: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the observation's entries, in order."""
    angles, rates = [], []
    for name, kind in zip(model.joint_name[1:], model.joint_type[1:], strict=True):
        ball = kind == JointType.BALL
        angles += [f"{name} quaternion {c}" for c in "wxyz"] if ball else [f"{name} [rad]"]
        rates += [f"0.1 {name} rate {c} [rad/s]" for c in "xyz"] if ball else [f"0.1 {name} rate [rad/s]"]
    return (
        "height [m]",
        *(f"torso quaternion {c}" for c in "wxyz"),
        *(f"torso velocity {c} [m/s]" for c in "xyz"),
        *(f"torso angular velocity {c} [rad/s]" for c in "xyz"),
        *angles,
        *rates,
        "up: torso z axis along world z",
        "heading: torso x axis towards the target",
        *(f"last action {name}" for name in actions),
    )


class Runner(RunningTask):
    """A torso on a free joint with hinges, which runs along x; other arguments as ``RunningTask``."""

    height_coordinate = 2
    rest: tuple[float, ...]
    """Rest coordinates ``[nq]``."""
    target_distance: ClassVar[float] = 10_000.0
    """Position along x of the target of the heading [m]."""
    remembers_action: ClassVar[bool] = True
    """Whether the last action is part of the observation."""
    joint_noise: ClassVar[float] = 0.2
    """Half-width of the initial noise on joint coordinates [rad]."""

    def observed(self, model: RigidModel) -> tuple[str, ...]:
        """See ``locomotion_obs_names``."""
        return locomotion_obs_names(model, model.actuator_name if self.remembers_action else ())

    def initial(self, xp: Any, random: Random) -> tuple[PyTree, PyTree]:
        """The rest pose plus noise: 0.1 m, a rotation of 7.5 degrees about a random axis, 0.2 rad, and 0.25 on
        rates."""
        nv, joints = self.dynamics.model.nv, len(self.rest) - 7
        q, qd = random.constant(self.rest), random.constant([0.0] * nv)
        if self.random_start:
            noise = random.uniform(0, (7 + joints + nv,), -1.0, 1.0)
            axis = noise[:, 3:6]
            half = noise[:, 6:7] * (_TILT / 2)
            norm = xp.sqrt(xp.sum(axis * axis, axis=1, keepdims=True)) + 1e-9
            turn = xp.concat([xp.cos(half), xp.sin(half) * axis / norm], axis=1)
            position, angles = q[:, :3] + 0.1 * noise[:, :3], q[:, 7:] + self.joint_noise * noise[:, 7 : 7 + joints]
            q = xp.concat([position, turn, angles], axis=1)
            qd = qd + 0.25 * noise[:, 7 + joints :]
        action = random.constant([0.0] * self.num_actions) if self.remembers_action else ()
        return RigidState(q, qd), action

    def advance(self, xp: Any, action: Array, task: PyTree) -> PyTree:
        """Remember the action."""
        return action if self.remembers_action else task

    def observe(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """``[N, no]``, see ``locomotion_obs_names``; velocities are in world axes."""
        q, qd = physics[:2]
        w, u, spin = q[:, 3:4], q[:, 4:7], qd[:, 3:6]
        x, y, z = u[:, :1], u[:, 1:2], u[:, 2:]
        # angular velocity from the body frame into world axes: v + w t + u x t with t = 2 u x v
        t = 2 * xp.linalg.cross(u, spin)
        spin = spin + w * t + xp.linalg.cross(u, t)
        yy = y * y
        up = 1 - 2 * (x * x + yy)
        to_x, to_y = self.target_distance - q[:, :1], -q[:, 1:2]
        forward = (1 - 2 * (yy + z * z)) * to_x + 2 * (x * y + w * z) * to_y
        heading = forward / xp.sqrt(to_x * to_x + to_y * to_y)
        parts = [q[:, 2:7], qd[:, :3], spin, q[:, 7:], 0.1 * qd[:, 6:], up, heading]
        return xp.concat([*parts, task] if self.remembers_action else parts, axis=1)

    def progress(self, next_obs: Array) -> Array:
        """Reward of every runner: forward velocity, a tenth of uprightness, and heading."""
        model = self.dynamics.model
        up = UP + (model.nq - 7) + (model.nv - 6)
        return next_obs[:, SPEED] + 0.1 * next_obs[:, up] + next_obs[:, up + 1]
