"""Base of traffic tasks: drivers are drawn for each world and episode, and checked before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval, Unit, doc

from diffsim_core import Random, from_numpy, stop_gradient
from diffsim_core.options import Finite, Positive
from diffsim_traffic.dynamics import TrafficDynamics

Drivers = Annotated[
    Mapping[str, Finite] | None, doc("Parameters of the drivers' law by name that differ from the task's.")
]
Spread = Annotated[
    float,
    Interval(ge=0, lt=1),
    doc("Every parameter of every driver is multiplied by a number from 1 - spread to 1 + spread."),
]
Step = Annotated[Positive, Unit("s"), doc("Duration of a step.")]
Acceleration = Annotated[Positive, Unit("m/s^2"), doc("Acceleration of the controlled vehicle at an action of 1.")]
Braking = Annotated[
    Annotated[float, Interval(gt=0)], Unit("m/s^2"), doc("Strongest braking of drivers; inf for no bound.")
]

_DRIVERS = 1_000_000
"""Stream of the drivers' random numbers."""


class TrafficTask:
    """Base of traffic tasks.

    Args:
        dynamics: the simulator.
        name: name of the task.
        drivers: parameters of the drivers' law: ``[np]`` for all, or ``[D, np]``.
        spread: every parameter of every driver and episode is multiplied by a number drawn uniformly from
            ``1 - spread`` to ``1 + spread``.
        episode_length: steps in an episode.
        obs_names: name of each observation entry, with its unit.
        action_names: name of each action entry.

    Raises:
        ValueError: drivers, drawn ones included, are out of range or need shorter steps; the message names the value.
    """

    def __init__(
        self,
        dynamics: TrafficDynamics,
        *,
        name: str,
        drivers: Any,
        spread: float,
        episode_length: int,
        obs_names: tuple[str, ...],
        action_names: tuple[str, ...],
    ) -> None:
        if episode_length < 1:
            raise ValueError(f"episode_length={episode_length!r} must be at least 1 step")
        if not 0 <= spread < 1:
            raise ValueError(f"spread={spread!r} must be from 0 to below 1")
        model = dynamics.model
        law = model.law
        values = np.asarray(drivers, dtype=np.float64)
        law.check(values, dynamics.dt)
        if spread:
            corners = np.stack(np.meshgrid(*[[1 - spread, 1 + spread]] * len(law.parameters)), -1)
            law.check(values[..., None, :] * corners.reshape(-1, len(law.parameters)), dynamics.dt)
        self.name = name
        self.dynamics = dynamics
        self.horizon = episode_length
        self.obs_names = obs_names
        self.action_names = action_names
        self.num_obs = len(obs_names)
        self.num_actions = len(action_names)
        self.spread = spread
        self.constants_vary = spread > 0
        self.drivers = np.broadcast_to(values, (model.num_drivers, len(law.parameters))).astype(dynamics.dtype)

    def constants(self, xp: Any, random: Random) -> tuple[Any]:
        """Parameters of the drivers of every world, ``[N, D, np]``."""
        drivers = random.constant(self.drivers)
        if not self.spread:
            return (drivers,)
        return (drivers * random.uniform(_DRIVERS, self.drivers.shape, 1 - self.spread, 1 + self.spread),)

    def advance(self, xp: Any, action: Any, task: Any) -> Any:
        """The task has no state between steps."""
        return task

    def lane_changes(self, xp: Any, physics: Any, next_physics: Any) -> Any:
        """Number of controlled vehicles that changed lanes, ``[N]``: their gradients were cut."""
        width = self.dynamics.model.road.lane_width

        def lane(y: Any) -> Any:
            return xp.floor(stop_gradient(y) * (1 / width) + 0.5)

        changed = lane(physics.y) != lane(next_physics.y)
        return xp.sum(xp.astype(changed, physics.y.dtype), axis=1)


class Constants:
    """Numbers of a task as arrays. Torch's are made once per device, because making one is as slow as using it."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)
        self._made: dict[Any, Any] = {}

    def __call__(self, like: Any) -> Any:
        """An array of the library and on the device of ``like``."""
        if not type(like).__module__.startswith("torch"):
            return from_numpy(self._values, like)
        made = self._made.get(like.device)
        if made is None:
            made = from_numpy(self._values, like)
            if not made.is_inference():  # an inference tensor could never take part in a backward pass
                self._made[like.device] = made
        return made
