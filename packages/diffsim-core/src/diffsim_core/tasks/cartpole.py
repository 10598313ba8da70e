"""CartPole swing-up (SHAC paper, A.3.1): a motor pushes a cart to raise and balance a hanging pole."""

from __future__ import annotations

import math
from typing import Any

from diffsim_core._protocol import Array, PyTree, Random
from diffsim_core.options import EpisodeLength, RandomStart
from diffsim_core.rigid.dynamics import RigidDynamics, RigidState
from diffsim_core.tasks._rigid import RigidTask, bundled_task

OBS_NAMES = ("x [m]", "xd [m/s]", "sin(theta)", "cos(theta)", "thetad [rad/s]")


class CartPole(RigidTask):
    """``q = (x, theta)`` with theta = 0 upright; the motor pushes with 1000 N times the action."""

    name = "cartpole"
    substeps = 4

    def __init__(
        self, dynamics: RigidDynamics, *, episode_length: EpisodeLength = 240, random_start: RandomStart = True
    ) -> None:
        super().__init__(dynamics, episode_length=episode_length, obs_names=OBS_NAMES)
        self.random_start = random_start

    def initial(self, xp: Any, random: Random) -> tuple[PyTree, PyTree]:
        """The hanging pole at rest in the middle, plus noise of +-pi/2 on both coordinates and +-0.25 on both rates."""
        q, qd = random.constant([0.0, -math.pi]), random.constant([0.0, 0.0])
        if self.random_start:
            q = q + random.uniform(0, (2,), -math.pi / 2, math.pi / 2)
            qd = qd + random.uniform(1, (2,), -0.25, 0.25)
        return RigidState(q, qd), ()

    def observe(self, xp: Any, physics: PyTree, task: PyTree) -> Array:
        """``[N, 5]``, see ``OBS_NAMES``."""
        q, qd = physics
        theta = q[:, 1:]
        return xp.concat([q[:, :1], qd[:, :1], xp.sin(theta), xp.cos(theta), qd[:, 1:]], axis=1)

    def reward(
        self, xp: Any, physics: PyTree, action: Array, next_physics: PyTree, next_obs: Array, task: PyTree
    ) -> Array:
        """``-theta^2 - 0.1 thetad^2 - 0.05 x^2 - 0.1 xd^2`` (Eq. 13), theta wrapped to [-pi, pi]."""
        x, xd, thetad = next_obs[:, 0], next_obs[:, 1], next_obs[:, 4]
        theta = xp.atan2(next_obs[:, 2], next_obs[:, 3])
        return -(theta * theta) - 0.1 * thetad * thetad - 0.05 * x * x - 0.1 * xd * xd


make_task = bundled_task(CartPole)
