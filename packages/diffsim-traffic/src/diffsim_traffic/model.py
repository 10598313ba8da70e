"""The traffic model: a road, its vehicles, and how they drive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_traffic.laws import IDM, Law

INTEGRATIONS = ("semi_implicit", "explicit")
REACH_32 = 2.0**17
"""Farthest position in float32 [m]: numbers below are at most 1/128 m apart, those above 1/64 m and more."""


@dataclass(frozen=True, kw_only=True)
class Road:
    """Parallel lanes, straight or closed to a ring. Lane i is centred at y = i ``lane_width``.

    On a ring, x is the distance along the road. All lanes have the same length, and the curvature has no effect on
    vehicles.
    """

    num_lanes: int = 1
    lane_width: float = 4.0
    """Width of a lane [m]."""
    circumference: float | None = None
    """Length of a ring [m]; None for an endless straight road."""

    def __post_init__(self) -> None:
        if self.num_lanes < 1:
            raise ValueError(f"num_lanes={self.num_lanes!r}: a road needs at least 1 lane")
        if not (math.isfinite(self.lane_width) and self.lane_width > 0):
            raise ValueError(f"lane_width={self.lane_width!r} must be positive metres")
        if self.circumference is not None and not (math.isfinite(self.circumference) and self.circumference > 0):
            raise ValueError(
                f"circumference={self.circumference!r} must be positive metres, or None for a straight road"
            )


@dataclass(frozen=True, kw_only=True)
class TrafficModel:
    """A road and its vehicles: first ``num_controlled`` controlled ones, then the drivers, lane by lane, and in each
    lane from the front to the back.

    Drivers keep their lane and their order. Controlled vehicles are kinematic bicycles that move freely across lanes;
    drivers ignore one that is off the road.
    """

    road: Road
    drivers_per_lane: Sequence[int]
    """Drivers in each lane, lane 0 first."""
    num_controlled: int = 1
    law: Law = IDM
    """The drivers' law of car following."""
    length: float | Sequence[float] = 5.0
    """Length of every vehicle, or of each [m]."""
    integration: str = "semi_implicit"
    """``"semi_implicit"`` moves with the new speed, as SUMO does; ``"explicit"`` with the old one."""
    gap_floor: float = 1e-3
    """Least gap [m]: a smaller one, also that of an overlap, is replaced by it, with zero gradient."""
    max_braking: float = math.inf
    """Strongest braking of a driver [m/s^2]; gradients are zero where the law demands more."""
    min_speed: float = 0.0
    """Least speed of controlled vehicles [m/s]; drivers never drive backwards."""
    max_speed: float = 40.0
    """Largest speed of controlled vehicles [m/s]."""
    lane_smoothing: float = 0.0
    """Width [m] around a lane's border over which drivers gradually begin to follow a controlled vehicle. It makes lane
    changes differentiable, changes the simulation, and allows one controlled vehicle only. With 0 such a vehicle is in
    one lane, and a lane change has no gradient."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "drivers_per_lane", tuple(int(n) for n in self.drivers_per_lane))
        lanes, per_lane = self.road.num_lanes, self.drivers_per_lane
        if len(per_lane) != lanes or min(per_lane) < 0:
            raise ValueError(f"drivers_per_lane={per_lane} must be {lanes} numbers of at least 0, one for each lane")
        if self.num_controlled < 0:
            raise ValueError(f"num_controlled={self.num_controlled!r} must be at least 0")
        if self.num_vehicles == 0:
            raise ValueError("the model has no vehicle; give drivers_per_lane a driver, or num_controlled at least 1")
        if self.integration not in INTEGRATIONS:
            raise ValueError(f"integration={self.integration!r} must be one of {', '.join(INTEGRATIONS)}")
        for name in ("gap_floor", "max_braking"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)!r} must be positive")
        if not (math.isfinite(self.max_speed) and self.min_speed < self.max_speed):
            raise ValueError(f"min_speed={self.min_speed!r} must be below max_speed={self.max_speed!r}, both finite")
        if not (math.isfinite(self.lane_smoothing) and 0 <= self.lane_smoothing <= self.road.lane_width):
            width = self.road.lane_width
            raise ValueError(f"lane_smoothing={self.lane_smoothing!r} must be from 0 to lane_width={width!r} metres")
        if self.lane_smoothing > 0 and self.num_controlled != 1:
            raise ValueError(f"lane_smoothing needs num_controlled=1, got {self.num_controlled}")
        lengths = self.lengths
        if lengths.shape != (self.num_vehicles,) or not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ValueError(f"length={self.length!r} must be positive metres, one for all or {self.num_vehicles}")
        if self.road.circumference is not None:
            self._check_ring(self.road.circumference)

    @property
    def num_drivers(self) -> int:
        return sum(self.drivers_per_lane)

    @property
    def num_vehicles(self) -> int:
        return self.num_controlled + self.num_drivers

    @property
    def lengths(self) -> np.ndarray[Any, Any]:
        """Length of each vehicle ``[V]`` [m]."""
        length = np.asarray(self.length, dtype=np.float64)
        return np.full(self.num_vehicles, length) if length.ndim == 0 else length

    @property
    def lane_of_driver(self) -> np.ndarray[Any, Any]:
        """Lane of each driver ``[D]``."""
        return np.repeat(np.arange(self.road.num_lanes), self.drivers_per_lane)

    def leaders(self) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """The driver ahead of each driver, -1 for none, and 1 if that driver is a lap ahead, else 0; ``[D]`` both."""
        lane = self.lane_of_driver
        front = np.append(True, lane[1:] != lane[:-1])[: len(lane)]
        ahead, laps = np.arange(len(lane)) - 1, np.zeros(len(lane), dtype=np.int64)
        ahead[front] = -1
        if self.road.circumference is not None:
            last = np.cumsum(self.drivers_per_lane) - 1
            ahead[front], laps[front] = last[lane[front]], 1
        return ahead, laps

    def check_state(self, x: Any, v: Any, y: Any = None) -> None:
        """Check that vehicles do not overlap and are in order, and that speeds are in range.

        Args:
            x: positions of centres ``[..., V]`` [m].
            v: speeds ``[..., V]`` [m/s].
            y: lateral positions of controlled vehicles ``[..., C]`` [m]; without them, only drivers are compared.

        Raises:
            ValueError: they are not, or float32 cannot tell apart positions so far out; the message names the vehicles,
                the values and a remedy.
        """
        single = np.asarray(x).dtype == np.float32
        x, v = np.asarray(x, dtype=np.float64), np.asarray(v, dtype=np.float64)
        shape = (self.num_vehicles,)
        if x.shape[-1:] != shape or x.shape != v.shape:
            raise ValueError(f"x has shape {x.shape} and v {v.shape}; both must be [..., {self.num_vehicles}]")
        c, lengths = self.num_controlled, self.lengths
        low = np.array([self.min_speed] * c + [0.0] * self.num_drivers)
        high = np.array([self.max_speed] * c + [math.inf] * self.num_drivers)
        wrong = ~((v >= low) & (v <= high) & np.isfinite(v) & np.isfinite(x))
        if wrong.any():
            world = tuple(np.argwhere(wrong)[0])
            i = world[-1]
            raise ValueError(
                f"vehicle {i}: x = {x[world]:g} m with speed v = {v[world]:g} m/s; x must be finite and v from"
                f" {low[i]:g} to {high[i]:g} m/s"
            )
        if single and (far := abs(x) > REACH_32).any():
            world = tuple(np.argwhere(far)[0])
            raise ValueError(
                f"vehicle {world[-1]}: x = {x[world]:g} m is beyond {REACH_32:g} m, where numbers in float32 are 1/64 m"
                " apart and slow drivers would not move; count x from a place nearby, or use float64"
            )
        ahead, laps = self.leaders()
        ring = self.road.circumference or 0.0
        for i in np.flatnonzero(ahead >= 0):
            j = ahead[i]
            gap = x[..., c + j] + laps[i] * ring - x[..., c + i] - (lengths[c + i] + lengths[c + j]) / 2
            self._refuse(c + int(i), c + int(j), gap)
        if y is not None:
            self._check_controlled(x, np.asarray(y, dtype=np.float64), lengths, ring)

    def _check_controlled(self, x: Any, y: Any, lengths: Any, ring: float) -> None:
        c = self.num_controlled
        lateral = np.concatenate([y, np.broadcast_to(self.lane_of_driver * self.road.lane_width, x[..., c:].shape)], -1)
        for k in range(c):
            for i in range(k + 1, self.num_vehicles):
                away = x[..., i] - x[..., k]
                if ring:
                    away = away - ring * np.round(away / ring)
                beside = abs(lateral[..., i] - lateral[..., k]) >= self.road.lane_width / 2
                gap = np.where(beside, np.inf, abs(away) - (lengths[k] + lengths[i]) / 2)
                self._refuse(k, i, gap)

    def _refuse(self, i: int, j: int, gap: Any) -> None:
        if (np.asarray(gap) < 0).any():
            least = float(np.min(gap))
            raise ValueError(
                f"vehicles {min(i, j)} and {max(i, j)} overlap or are out of order: the gap between them is {least:g}"
                " m; increase the distance between them, and list the drivers of a lane from the front to the back"
            )

    def _check_ring(self, circumference: float) -> None:
        lengths, lane = self.lengths[self.num_controlled :], self.lane_of_driver
        for k in range(self.road.num_lanes):
            needed = float(lengths[lane == k].sum())
            if needed >= circumference:
                raise ValueError(
                    f"circumference={circumference!r}: the drivers of lane {k} alone are {needed:g} m long; take a"
                    " longer ring or fewer drivers"
                )
