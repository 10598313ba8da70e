"""Ant (SHAC paper, A.3.4): a four-legged robot with eight motors runs along x."""

from __future__ import annotations

from typing import Any

from diffsim_core._protocol import Array
from diffsim_core.tasks._locomotion import HEIGHT, Runner
from diffsim_core.tasks._rigid import bundled_task
from diffsim_core.tasks._running import GymnasiumReward

TERMINATION_HEIGHT = 0.27


class Ant(Runner):
    """Observation ``[N, 37]``, action ``[N, 8]``: 200 N m times the action on each hinge."""

    name = "ant"
    rest = (0.0, 0.0, 0.75, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, 0.0, 1.0)
    fallen_below = TERMINATION_HEIGHT
    penalty = 0.0
    gymnasium = GymnasiumReward(healthy=1.0, forward=1.0, control=0.5)

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """``v_x + 0.1 up + heading + (height - 0.27)`` (Eq. 19); the released code has no action penalty."""
        return self.progress(next_obs) + (next_obs[:, HEIGHT] - TERMINATION_HEIGHT)


make_task = bundled_task(Ant)
