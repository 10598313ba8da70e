"""A point mass that must go to a place it sees only as a cloud of points, as a task ``beacon``.

The point is that of ``toy``; the goal is drawn for every episode, uniform in [-1, 1], and shows as eight points around
it. Reward ``1 - (x - goal)^2 - 0.1 v^2 - 0.01 a^2``: whoever does not see the goal gets at most ``1 - 1/3`` a step on
average, the goal's variance being a third. Usable as ``diffrl ... --import beacon.py``.
"""

from __future__ import annotations

import math

import diffsim_core

from .toy import PointTask

RING = [(0.1 * math.cos(0.7 * k), 0.1 * math.sin(0.7 * k), 0.05 * k) for k in range(8)]


class Beacon(PointTask):
    name = "beacon"
    num_obs = 26
    obs_shapes = {"points": (8, 3), "state": (2,)}  # noqa: RUF012

    def initial(self, xp, random):
        physics, _ = super().initial(xp, random)
        return physics, random.uniform(2, (1,), -1.0, 1.0)

    def observe(self, xp, physics, task):
        ring = xp.asarray(RING, dtype=task.dtype, device=task.device)
        goal = xp.concat([task, xp.zeros_like(task), xp.zeros_like(task)], axis=1)
        return {"points": goal[:, None, :] + ring[None], "state": xp.concat([physics.x, physics.v], axis=1)}

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        x, v, a = next_physics.x[:, 0] - task[:, 0], next_physics.v[:, 0], action[:, 0]
        return 1.0 - x * x - 0.1 * v * v - 0.01 * a * a

    def metrics(self, xp, physics, action, next_physics, next_obs, task):
        return {"distance": xp.abs(next_physics.x[:, 0] - task[:, 0])}


def make_task(*, num_envs, device, dtype, limit=10.0, horizon=30, breaks=1e6):
    return Beacon(dtype, limit, horizon, breaks)


if "beacon" not in diffsim_core.list_tasks():
    diffsim_core.register_task("beacon", make_task)
