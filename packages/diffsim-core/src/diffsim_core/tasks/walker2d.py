"""Walker2d: Hopper with two legs. It is not in the SHAC paper.

The robot has the dimensions of Gymnasium's Walker2d, and the contact, observation and reward of the paper's Hopper.
"""

from __future__ import annotations

from diffsim_core.tasks._rigid import bundled_task
from diffsim_core.tasks.hopper import Hopper


class Walker2d(Hopper):
    """Observation ``[N, 17]``, action ``[N, 6]``: 100 N m times the action on each hinge."""

    name = "walker2d"


make_task = bundled_task(Walker2d)
