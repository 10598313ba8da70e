"""``PlanarRunner``: observation and initial state of Hopper, Walker2d and HalfCheetah, which move in the x-z plane."""

from __future__ import annotations

from typing import Any, ClassVar

from diffsim_core._protocol import Array, PyTree, Random
from diffsim_core.rigid.dynamics import RigidState
from diffsim_core.rigid.model import RigidModel
from diffsim_core.tasks._running import RunningTask

HEIGHT, PITCH = 0, 1
"""Columns of an observation: height above the model's zero [m] and pitch [rad]."""


class PlanarRunner(RunningTask):
    """A body with coordinates x, z, pitch and hinges, ``q = (x, z, pitch, joints)``; arguments as ``RunningTask``."""

    height_coordinate = 1
    rest_height: ClassVar[float] = 0.0
    """Initial z, from the model's zero [m]."""
    noise_q: ClassVar[float]
    """Half-width of the initial noise on all coordinates [m] or [rad]."""
    noise_qd: ClassVar[float]
    """Half-width of the initial noise on all velocities [m/s] or [rad/s]."""

    def observed(self, model: RigidModel) -> tuple[str, ...]:
        """Heights and angles, then their rates."""
        joints = model.joint_name[3:]
        return (
            "height above zero [m]",
            "pitch [rad]",
            *(f"{name} [rad]" for name in joints),
            "velocity x [m/s]",
            "velocity z [m/s]",
            "pitch rate [rad/s]",
            *(f"{name} rate [rad/s]" for name in joints),
        )

    def initial(self, xp: Any, random: Random) -> tuple[PyTree, PyTree]:
        """At rest with joints at zero, plus noise."""
        n = self.dynamics.model.nv
        q = random.constant([0.0, self.rest_height] + [0.0] * (n - 2))
        qd = random.constant([0.0] * n)
        if self.random_start:
            q = q + self.noise_q * random.uniform(0, (n,), -1.0, 1.0)
            qd = qd + self.noise_qd * random.uniform(1, (n,), -1.0, 1.0)
        return RigidState(q, qd), ()

    def observe(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """``[N, 2 n - 1]``: all coordinates but x, then all velocities (SHAC paper, Tables 7 and 8)."""
        q, qd = physics
        return xp.concat([q[:, 1:], qd], axis=1)

    def speed(self, next_obs: Array) -> Array:
        """Forward velocity [m/s], ``[N]``."""
        return next_obs[:, self.dynamics.model.nq - 1]
