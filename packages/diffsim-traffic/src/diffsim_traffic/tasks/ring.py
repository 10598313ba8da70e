"""A ring of cars in which waves grow, and one controlled vehicle that can calm them (Sugiyama et al. 2008)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval, Unit, doc

from diffsim_core import Random, stop_gradient
from diffsim_core.options import EpisodeLength, NotNegative, Positive, Threads
from diffsim_traffic.dynamics import TrafficDynamics, TrafficState
from diffsim_traffic.equilibrium import equilibrium_speed
from diffsim_traffic.laws import IDM
from diffsim_traffic.model import Road, TrafficModel
from diffsim_traffic.tasks._traffic import Braking, Constants, Drivers, Spread, Step, TrafficTask

_DRIVERS = {"a": 1.0, "b": 1.5, "T": 1.0, "s0": 2.0, "v0": 30.0}


class Ring(TrafficTask):
    """Vehicles at equal distances on one closed lane, with noise; the first of them is controlled.

    ``obs`` holds the gap of every vehicle to the one ahead, divided by the mean gap, and then every speed, divided by
    the speed of uniform traffic: ``2 V`` numbers, in the order of the vehicles. ``action`` is the acceleration. The
    reward is the mean speed, divided by the speed of uniform traffic, minus ``effort`` times the action squared. An
    episode is terminated with -1 when two vehicles overlap.

    Args:
        dynamics: the simulator, with one controlled vehicle.
        drivers: parameters of the Intelligent Driver Model by name.
        spread: see :class:`TrafficTask`.
        max_acceleration: acceleration at an action of 1 [m/s^2].
        effort: weight of the action in the reward.
        position_noise: largest noise of the initial positions, uniform to either side [m].
        speed_noise: the same for speeds [m/s].
        episode_length: steps in an episode.
    """

    def __init__(
        self,
        dynamics: TrafficDynamics,
        *,
        drivers: Mapping[str, float],
        spread: float,
        max_acceleration: float,
        effort: float,
        position_noise: float,
        speed_noise: float,
        episode_length: int,
    ) -> None:
        model = dynamics.model
        ring, v = model.road.circumference, model.num_vehicles
        assert ring is not None
        gap = ring / v - float(model.lengths[0])
        super().__init__(
            dynamics,
            name="ring",
            drivers=IDM.row(**drivers),
            spread=spread,
            episode_length=episode_length,
            obs_names=(*(f"gap{i} [mean gap]" for i in range(v)), *(f"v{i} [uniform speed]" for i in range(v))),
            action_names=("acceleration",),
        )
        if gap <= drivers["s0"]:
            raise ValueError(
                f"circumference={ring!r} leaves a mean gap of {gap:g} m, not more than s0={drivers['s0']:g} m: nobody"
                " would move; take a longer ring or fewer vehicles"
            )
        speed = equilibrium_speed(gap, **drivers)
        for name, value, top in (("position_noise", position_noise, gap / 2), ("speed_noise", speed_noise, speed)):
            if not 0 <= value < top:
                raise ValueError(
                    f"{name}={value!r} must be from 0 to below {top:g}, or vehicles might overlap or reverse"
                )
        for name, value in (("max_acceleration", max_acceleration), ("effort", effort)):
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}={value!r} must be finite and at least 0")
        self.mean_gap = gap
        self.uniform_speed = speed
        """Speed of uniform traffic of average drivers [m/s]."""
        self.max_acceleration = max_acceleration
        self.control_range = ((-max_acceleration, max_acceleration),)
        """Acceleration [m/s^2]."""
        self.effort = effort
        self.position_noise = position_noise
        self.speed_noise = speed_noise
        self._x = ring / v * np.arange(v - 1, -1, -1, dtype=dynamics.dtype)
        self._length = float(model.lengths[0])
        self._lap = Constants(np.array([ring] + [0.0] * (v - 1), dtype=dynamics.dtype))
        model.check_state(self._x, np.full(v, speed))

    def initial(self, xp: Any, random: Random) -> tuple[Any, Any]:
        """Uniform traffic, with noise on positions and speeds."""
        v = self.dynamics.model.num_vehicles
        x, speed = random.constant(self._x), random.constant(np.full(v, self.uniform_speed))
        if self.position_noise:
            x = x + random.uniform(0, (v,), -self.position_noise, self.position_noise)
        if self.speed_noise:
            speed = speed + random.uniform(1, (v,), -self.speed_noise, self.speed_noise)
        y = random.constant([0.0])
        return TrafficState(x, speed, y, y), ()

    def control(self, xp: Any, action: Any) -> tuple[Any, ...]:
        """No steering, and the acceleration [m/s^2]."""
        return xp.zeros_like(stop_gradient(action)), action * self.max_acceleration

    def observe(self, xp: Any, physics: Any, task: Any) -> Any:
        """``[N, 2 V]``, see ``obs_names``."""
        return xp.concat([self._gaps(xp, physics.x) / self.mean_gap, physics.v / self.uniform_speed], axis=1)

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        """Mean speed divided by that of uniform traffic, minus the effort."""
        reward = xp.mean(next_physics.v, axis=1) / self.uniform_speed - self.effort * action[:, 0] ** 2
        ended = self.terminated(xp, next_physics, task)
        return xp.where(ended, -xp.ones_like(stop_gradient(reward)), reward)

    def terminated(self, xp: Any, physics: Any, task: Any) -> Any:
        """Two vehicles overlap."""
        return xp.min(self._gaps(xp, stop_gradient(physics.x)), axis=1) < 0

    def metrics(
        self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any
    ) -> dict[str, Any]:
        """Mean and standard deviation over vehicles of the speed [m/s]."""
        v = stop_gradient(next_physics.v)
        return {"mean_speed": xp.mean(v, axis=1), "speed_deviation": xp.std(v, axis=1)}

    def _gaps(self, xp: Any, x: Any) -> Any:
        ahead = xp.concat([x[:, -1:], x[:, :-1]], axis=1) + self._lap(x)
        return ahead - x - self._length


def make_task(
    *,
    num_envs: int,
    device: str,
    dtype: str,
    num_vehicles: Annotated[int, Interval(ge=2, le=100_000), doc("Vehicles, one of them controlled.")] = 22,
    circumference: Annotated[Positive, Unit("m"), doc("Length of the ring.")] = 230.0,
    drivers: Drivers = None,
    spread: Spread = 0.0,
    dt: Step = 0.1,
    max_acceleration: Annotated[
        NotNegative, Unit("m/s^2"), doc("Acceleration of the controlled vehicle at an action of 1.")
    ] = 1.0,
    max_braking: Braking = 9.0,
    effort: Annotated[NotNegative, doc("Weight of the squared action in the reward.")] = 0.1,
    position_noise: Annotated[NotNegative, Unit("m"), doc("Largest noise of the initial positions.")] = 2.0,
    speed_noise: Annotated[NotNegative, Unit("m/s"), doc("Largest noise of the initial speeds.")] = 1.0,
    episode_length: EpisodeLength = 3000,
    threads: Threads = None,
) -> Ring:
    """The ring; ``drivers`` replaces some of the drivers' parameters. See :class:`Ring` and :class:`TrafficModel`."""
    if num_vehicles < 2:
        raise ValueError(f"num_vehicles={num_vehicles!r} must be at least 2: one under control and a driver")
    model = TrafficModel(
        road=Road(circumference=circumference), drivers_per_lane=(num_vehicles - 1,), max_braking=max_braking
    )
    return Ring(
        TrafficDynamics(model, dt=dt, dtype=dtype, device=device, threads=threads),
        drivers={**_DRIVERS, **(drivers or {})},
        spread=spread,
        max_acceleration=max_acceleration,
        effort=effort,
        position_noise=position_noise,
        speed_noise=speed_noise,
        episode_length=episode_length,
    )
