"""Humanoid (SHAC paper, A.3.5): a person of 41 kg with 21 motors runs along x."""

from __future__ import annotations

from typing import Any

from diffsim_core._protocol import Array
from diffsim_core.tasks._locomotion import HEIGHT, Runner
from diffsim_core.tasks._rigid import bundled_task
from diffsim_core.tasks._running import GymnasiumReward, height_reward

TERMINATION_HEIGHT = 0.74
_MARGIN = 0.1


class Humanoid(Runner):
    """Observation ``[N, 76]``, action ``[N, 21]``: 35 to 210 N m times the action on each hinge."""

    name = "humanoid"
    substeps = 48
    memory = "low"  # a quarter of the memory for some 5 % of the simulator's time
    rest = (0.0, 0.0, 1.35, 1.0, 0.0, 0.0, 0.0) + (0.0,) * 21
    target_distance = 200.0
    fallen_below = TERMINATION_HEIGHT
    penalty = 0.002
    gymnasium = GymnasiumReward(healthy=5.0, forward=1.25, control=0.1)

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """``v_x + 0.1 up + heading + H``, minus ``0.002 |a|^2`` (Eq. 20 to 22).

        ``H`` rewards height over the termination height plus a margin of 0.1 m, up to 0.1 m, with slope 10.
        """
        above = next_obs[:, HEIGHT] - (TERMINATION_HEIGHT + _MARGIN)
        return self.progress(next_obs) + height_reward(xp, above, 0.1, 10.0)


make_task = bundled_task(Humanoid)
