"""Hopper (SHAC paper, A.3.3): a one-legged robot with three motors hops along x."""

from __future__ import annotations

import math
from typing import Any

from diffsim_core._protocol import Array
from diffsim_core.tasks._planar import HEIGHT, PITCH, PlanarRunner
from diffsim_core.tasks._rigid import bundled_task
from diffsim_core.tasks._running import GymnasiumReward, height_reward

TERMINATION_HEIGHT = -0.45
"""Height above the model's zero, at which the torso is at 1.25 m [m]."""
_MARGIN = 0.15
_UPRIGHT = math.pi / 6


class Hopper(PlanarRunner):
    """Observation ``[N, 11]``, action ``[N, 3]``: 200 N m times the action on each hinge."""

    name = "hopper"
    noise_q = noise_qd = 0.05
    fallen_below = TERMINATION_HEIGHT
    penalty = 0.1
    gymnasium = GymnasiumReward(healthy=1.0, forward=1.0, control=1e-3)

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """``v_x + H + 1 - (pitch / 30 degrees)^2``, minus ``0.1 |a|^2`` (Eq. 15 to 18).

        ``H`` rewards height over the termination height plus a margin of 0.15 m, up to 0.3 m, with slope 1.
        """
        above = next_obs[:, HEIGHT] - (TERMINATION_HEIGHT + _MARGIN)
        lean = next_obs[:, PITCH] / _UPRIGHT
        return self.speed(next_obs) + height_reward(xp, above, 0.3, 1.0) + (1.0 - lean * lean)


make_task = bundled_task(Hopper)
