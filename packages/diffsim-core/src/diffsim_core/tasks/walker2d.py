"""Walker2d: Hopper with two legs. The SHAC paper does not have it; what can be Hopper's is Hopper's.

The robot has the measures of Gymnasium's Walker2d, with Hopper's contact and the paper's observation and reward.
"""

from __future__ import annotations

from diffsim_core.tasks._rigid import bundled_task
from diffsim_core.tasks.hopper import Hopper


class Walker2d(Hopper):
    """Observation ``[N, 17]``, action ``[N, 6]``: 100 N m times the action on each hinge."""

    name = "walker2d"


make_task = bundled_task(Walker2d)
