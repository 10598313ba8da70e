"""The pace car (GI-PPO paper, 7.5.2): one vehicle on several lanes makes all others drive at a given speed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval, Unit, doc

from diffsim_core import Random, stop_gradient
from diffsim_core.options import EpisodeLength, Positive, Threads
from diffsim_traffic.dynamics import TrafficDynamics, TrafficState
from diffsim_traffic.laws import IDM, IDM_CLIP_SUM, Law
from diffsim_traffic.model import Road, TrafficModel
from diffsim_traffic.tasks._traffic import Acceleration, Braking, Constants, Drivers, Spread, Step, TrafficTask

DRIVERS_PER_LANE = {1: 1, 2: 2, 3: 3, 4: 4, 10: 1}
"""Drivers in each lane, by number of lanes; the numbers for 1, 2, 4 and 10 lanes are the paper's."""
_LENGTH = 5.0
_WIDTH = 2.0
_MAX_STEERING = math.radians(20)
_SPACING = 10.0
_AHEAD = 50.0
_TOO_FAR = 100.0


@dataclass(frozen=True, kw_only=True)
class PaceCarPreset:
    """Constants of the drivers and of the controlled vehicle."""

    law: Law
    drivers: Mapping[str, float]
    """Parameters of the drivers' law by name."""
    spread: float
    """See :class:`TrafficTask`."""
    dt: float
    """Duration of a step [s]."""
    integration: str
    max_acceleration: float
    """Acceleration of the controlled vehicle at an action of 1 [m/s^2]."""
    max_braking: float
    """Strongest braking of drivers [m/s^2]."""
    min_speed: float
    """Least speed of the controlled vehicle [m/s]."""
    reward: str
    collision: str


PACE_CAR_PRESETS = {
    "realistic": PaceCarPreset(
        law=IDM,
        drivers={"a": 1.4, "b": 2.0, "T": 1.2, "s0": 2.0, "v0": 20.0},
        spread=0.2,
        dt=0.1,
        integration="semi_implicit",
        max_acceleration=4.0,
        max_braking=9.0,
        min_speed=0.0,
        reward="mean_of_clipped",
        collision="rectangles",
    ),
    "paper": PaceCarPreset(
        law=IDM_CLIP_SUM,
        drivers={"a": 35.0, "b": 25.0, "T": 0.4, "s0": 1.5, "v0": 20.0},
        spread=0.0,
        dt=0.03,
        integration="explicit",
        max_acceleration=8.0,
        max_braking=math.inf,
        min_speed=-40.0,
        reward="clipped_mean",
        collision="distance",
    ),
}
"""``"realistic"``, and ``"paper"``: the constants of the code behind the GI-PPO paper, whose drivers accelerate with
35 m/s^2."""


class PaceCar(TrafficTask):
    """The pace car. It starts 50 m ahead of the drivers, in a lane drawn for each episode; all vehicles stand at first.

    ``obs`` holds ``x`` and ``y`` of every vehicle relative to the controlled one, which comes first, then all ``vx``,
    then all ``vy``: ``4 V`` numbers. ``action`` is steering (20 degrees at 1) and acceleration. A collision, leaving
    the road, or a position more than 100 m from every driver or behind any driver terminates an episode with a reward
    of -1.

    Args:
        dynamics: the simulator, with one controlled vehicle.
        name: name of the task.
        drivers: see :class:`TrafficTask`.
        spread: see :class:`TrafficTask`.
        max_acceleration: acceleration at an action of 1 [m/s^2].
        target_speed: target speed of the drivers [m/s].
        reward: ``"mean_of_clipped"``: 1 minus the mean over drivers of ``min(|v - target| / target, 1)``, as in the
            paper; ``"clipped_mean"``: 1 minus the smaller of the mean of ``|v - target| / target`` and 1, as in its
            code.
        collision: ``"rectangles"``: rectangles of 5 m by 2 m overlap, without headings; ``"distance"``: the distance of
            two centres is less than 2.5 m, as in the paper's code.
        episode_length: steps in an episode.
    """

    def __init__(
        self,
        dynamics: TrafficDynamics,
        *,
        name: str,
        drivers: Any,
        spread: float,
        max_acceleration: float,
        target_speed: float,
        reward: str,
        collision: str,
        episode_length: int,
    ) -> None:
        if reward not in ("mean_of_clipped", "clipped_mean"):
            raise ValueError(f"reward={reward!r} must be 'mean_of_clipped' or 'clipped_mean'")
        if collision not in ("rectangles", "distance"):
            raise ValueError(f"collision={collision!r} must be 'rectangles' or 'distance'")
        for option, value in (("target_speed", target_speed), ("max_acceleration", max_acceleration)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{option}={value!r} must be positive")
        model = dynamics.model
        vehicles = ["ego", *(f"driver{i}" for i in range(model.num_drivers))]
        fields = ("x - x_ego [m]", "y - y_ego [m]", "vx [m/s]", "vy [m/s]")
        super().__init__(
            dynamics,
            name=name,
            drivers=drivers,
            spread=spread,
            episode_length=episode_length,
            obs_names=tuple(f"{vehicle} {field}" for field in fields for vehicle in vehicles),
            action_names=("steering", "acceleration"),
        )
        self.max_acceleration = max_acceleration
        self.control_range = ((-_MAX_STEERING, _MAX_STEERING), (-max_acceleration, max_acceleration))
        """Steering [rad] and acceleration [m/s^2]."""
        self.target_speed = target_speed
        self.reward_kind = reward
        self.collision = collision
        per_lane = model.drivers_per_lane
        places = [_SPACING * (n - 1 - j) for n in per_lane for j in range(n)]
        self._x = np.array([_SPACING * (max(per_lane) - 1) + _AHEAD, *places], dtype=dynamics.dtype)
        lane_y = np.array([0.0, *model.lane_of_driver * model.road.lane_width], dtype=dynamics.dtype)
        self._lane_y, self._driver_y = Constants(lane_y), Constants(lane_y[1:])
        self._others = Constants(np.array([0.0] + [1.0] * model.num_drivers, dtype=dynamics.dtype))
        model.check_state(self._x, np.zeros_like(self._x), np.zeros(1))

    def initial(self, xp: Any, random: Random) -> tuple[Any, Any]:
        """All vehicles stand; the lane of the controlled one is drawn."""
        model = self.dynamics.model
        x = random.constant(self._x)
        lanes = model.road.num_lanes
        y = random.constant([0.0])
        if lanes > 1:
            lane = xp.floor(random.uniform(0, (1,), 0.0, float(lanes)))
            y = lane * model.road.lane_width
        return TrafficState(x, xp.zeros_like(x), y, xp.zeros_like(y)), ()

    def control(self, xp: Any, action: Any) -> tuple[Any, ...]:
        """Steering [rad] and acceleration [m/s^2]."""
        return action[:, :1] * _MAX_STEERING, action[:, 1:] * self.max_acceleration

    def observe(self, xp: Any, physics: Any, task: Any) -> Any:
        """``[N, 4 V]``, see ``obs_names``."""
        x, v, y, psi = physics
        dy = self._lane_y(x) - y * self._others(x)
        ego = v[:, :1]
        still = xp.zeros_like(stop_gradient(v[:, 1:]))
        return xp.concat([x - x[:, :1], dy, ego * xp.cos(psi), v[:, 1:], ego * xp.sin(psi), still], axis=1)

    def reward(self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any) -> Any:
        """1 if all drivers have the target speed, 0 far from it; -1 where the episode is terminated."""
        error = xp.abs(next_physics.v[:, 1:] - self.target_speed) / self.target_speed
        if self.reward_kind == "mean_of_clipped":
            reward = 1 - xp.mean(xp.clip(error, None, 1.0), axis=1)
        else:
            reward = 1 - xp.clip(xp.mean(error, axis=1), None, 1.0)
        ended = self.terminated(xp, next_physics, task)
        return xp.where(ended, -xp.ones_like(stop_gradient(reward)), reward)

    def terminated(self, xp: Any, physics: Any, task: Any) -> Any:
        """A collision, or a position off the road, far from all drivers, or behind one of them."""
        x, y = stop_gradient(physics.x), stop_gradient(physics.y)
        road = self.dynamics.model.road
        dx = x[:, 1:] - x[:, :1]
        dy = self._driver_y(x) - y
        nearest = xp.min(dx * dx + dy * dy, axis=1)
        if self.collision == "distance":
            hit = nearest < (_LENGTH / 2) ** 2
        else:
            hit = xp.any((xp.abs(dx) < _LENGTH) & (xp.abs(dy) < _WIDTH), axis=1)
        middle, half = (road.num_lanes - 1) * road.lane_width / 2, road.num_lanes * road.lane_width / 2
        off_road = xp.abs(y[:, 0] - middle) >= half
        behind = xp.any(dx > 0, axis=1)
        return hit | off_road | (nearest > _TOO_FAR**2) | behind

    def metrics(
        self, xp: Any, physics: Any, action: Any, next_physics: Any, next_obs: Any, task: Any
    ) -> dict[str, Any]:
        """Mean speed of the drivers [m/s], and lane changes, which keep only the gradient along the lane."""
        speed = xp.mean(stop_gradient(next_physics.v)[:, 1:], axis=1)
        return {"driver_speed": speed, "lane_changes": self.lane_changes(xp, physics, next_physics)}


def make_pace_car(
    num_lanes: int,
    *,
    num_envs: int,
    device: str,
    dtype: str,
    preset: Annotated[Literal["realistic", "paper"], doc("Source of what no other option says.")] = "realistic",
    target_speed: Annotated[Positive, Unit("m/s"), doc("Speed that the drivers are to have.")] = 10.0,
    drivers: Drivers = None,
    spread: Spread | None = None,
    dt: Step | None = None,
    integration: Annotated[
        Literal["semi_implicit", "explicit"] | None, doc("Whether vehicles move with the new speed or the old one.")
    ] = None,
    max_acceleration: Acceleration | None = None,
    max_braking: Braking | None = None,
    reward: Annotated[
        Literal["mean_of_clipped", "clipped_mean"] | None, doc("Whether each driver's error is clipped, or their mean.")
    ] = None,
    collision: Annotated[
        Literal["rectangles", "distance"] | None, doc("Vehicles collide as rectangles, or within 2.5 m of each other.")
    ] = None,
    lane_smoothing: Annotated[
        float, Interval(ge=0, le=4), Unit("m"), doc("Width over which drivers notice a change of lane.")
    ] = 0.0,
    episode_length: EpisodeLength = 1000,
    threads: Threads = None,
) -> PaceCar:
    """The pace car on so many lanes, see :class:`PaceCar` and :class:`TrafficModel`; the preset has the defaults.

    ``drivers`` replaces some of the law's parameters.
    """
    if preset not in PACE_CAR_PRESETS:
        raise ValueError(f"preset={preset!r} must be one of {', '.join(PACE_CAR_PRESETS)}")
    base = PACE_CAR_PRESETS[preset]
    model = TrafficModel(
        road=Road(num_lanes=num_lanes),
        drivers_per_lane=(DRIVERS_PER_LANE[num_lanes],) * num_lanes,
        law=base.law,
        length=_LENGTH,
        integration=base.integration if integration is None else integration,
        max_braking=base.max_braking if max_braking is None else max_braking,
        min_speed=base.min_speed,
        lane_smoothing=lane_smoothing,
    )
    step = base.dt if dt is None else dt
    return PaceCar(
        TrafficDynamics(model, dt=step, dtype=dtype, device=device, threads=threads),
        name=f"pace_car_{num_lanes}",
        drivers=base.law.row(**{**base.drivers, **(drivers or {})}),
        spread=base.spread if spread is None else spread,
        max_acceleration=base.max_acceleration if max_acceleration is None else max_acceleration,
        target_speed=target_speed,
        reward=base.reward if reward is None else reward,
        collision=base.collision if collision is None else collision,
        episode_length=episode_length,
    )


def _on(num_lanes: int) -> Callable[..., PaceCar]:
    return functools.partial(make_pace_car, num_lanes)


make_pace_car_1 = _on(1)
make_pace_car_2 = _on(2)
make_pace_car_3 = _on(3)
make_pace_car_4 = _on(4)
make_pace_car_10 = _on(10)
