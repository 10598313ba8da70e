"""HalfCheetah (SHAC paper, A.3.2): a two-legged robot with six motors runs along x."""

from __future__ import annotations

from typing import Any

from diffsim_core._protocol import Array
from diffsim_core.tasks._planar import PlanarRunner
from diffsim_core.tasks._rigid import bundled_task
from diffsim_core.tasks._running import GymnasiumReward


class HalfCheetah(PlanarRunner):
    """Observation ``[N, 17]``, action ``[N, 6]``: 200 N m times the action on each hinge. No state ends an episode."""

    name = "half_cheetah"
    rest_height = -0.2
    noise_q, noise_qd = 0.1, 0.25
    penalty = 0.1
    gymnasium = GymnasiumReward(healthy=0.0, forward=1.0, control=0.1)

    def paper_reward(self, xp: Any, next_obs: Array) -> Array:
        """``v_x``, minus ``0.1 |a|^2`` (Eq. 14)."""
        return self.speed(next_obs)


make_task = bundled_task(HalfCheetah)
