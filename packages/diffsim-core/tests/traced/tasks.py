"""A task that observes any array code of a state of two numbers, for tests of the tracer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from diffsim_core import TaskEnv
from diffsim_core.tasks.functions import PointDynamics


class Observing:
    """``observe`` is a function ``(xp, x [N, 2]) -> [N, no]``; the state is what the action says, times ten.

    ``columns`` are functions ``(xp, x) -> [N]``, which become metrics.
    """

    name, num_actions, horizon = "observing", 2, 5

    def __init__(self, function: Any, num_obs: int, dtype: str = "float64", columns: Any = ()) -> None:
        self.dynamics = PointDynamics(2, dtype=dtype, device="cpu")
        self.function, self.num_obs, self.columns = function, num_obs, dict(columns)

    def initial(self, xp, random):
        return (random.uniform(0, (2,), -1.0, 1.0),), ()

    def control(self, xp, action):
        return (10 * action,)

    def advance(self, xp, action, task):
        return task

    def observe(self, xp, physics, task):
        return self.function(xp, physics.x)

    def reward(self, xp, physics, action, next_physics, next_obs, task):
        return next_physics.x[:, 0] + 0.1 * physics.x[:, 1]

    def terminated(self, xp, physics, task):
        return physics.x[:, 0] > 9.5

    def metrics(self, xp, physics, action, next_physics, next_obs, task):
        return {name: function(xp, next_physics.x) for name, function in self.columns.items()}


def observing(
    function: Callable[[Any, Any], Any],
    num_obs: int = 2,
    *,
    dtype: str = "float64",
    num_envs: int = 6,
    fused: bool = True,
    columns: Any = (),
) -> TaskEnv:
    task = Observing(function, num_obs, dtype, columns)
    return TaskEnv(task, num_envs, arrays="torch", dtype=dtype, fused=fused)
