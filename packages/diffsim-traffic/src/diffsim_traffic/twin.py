"""The readable twin: one world of traffic in plain NumPy, in which a driver's leader is searched among all vehicles."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from diffsim_traffic.laws import FREE
from diffsim_traffic.model import TrafficModel

Numbers = np.ndarray[Any, Any]


class World(NamedTuple):
    """One world of :class:`TrafficState`: the same arrays without the first axis."""

    x: Numbers
    v: Numbers
    y: Numbers
    psi: Numbers
    drivers: Numbers


def lane_of(model: TrafficModel, y: float) -> int:
    """The lane at ``y`` [m]; -1 off the road or exactly on a lane's border."""
    lane = math.floor(y / model.road.lane_width + 0.5)
    beside = abs(y - lane * model.road.lane_width) < model.road.lane_width / 2
    return lane if beside and 0 <= lane < model.road.num_lanes else -1


def leader_of(model: TrafficModel, world: World, i: int) -> tuple[int, float]:
    """The vehicle that driver ``i`` (0 is the first driver) follows, -1 for none, and its distance ahead [m]."""
    c = model.num_controlled
    lanes = [lane_of(model, y) for y in world.y] + list(model.lane_of_driver)
    me, best, nearest = c + i, -1, math.inf
    for j in range(model.num_vehicles):
        distance = world.x[j] - world.x[me]
        if model.road.circumference is not None:
            distance %= model.road.circumference
            if j == me:
                distance = model.road.circumference  # a driver alone on a ring follows itself
        if lanes[j] == lanes[me] and 0 < distance < nearest:
            best, nearest = j, distance
    return best, nearest


def accelerations(model: TrafficModel, world: World, dt: float) -> Numbers:
    """Accelerations of the drivers, ``[D]`` [m/s^2]."""
    c, lengths = model.num_controlled, model.lengths
    out = np.zeros(model.num_drivers)
    for i in range(model.num_drivers):
        j, distance = leader_of(model, world, i)
        me = c + i
        gap, lead_v = np.asarray(FREE), world.v[me]
        if j >= 0:
            gap = np.maximum(distance - (lengths[me] + lengths[j]) / 2, model.gap_floor)
            lead_v = world.v[j]
        acc = model.law.acceleration(world.v[me], gap, lead_v, world.drivers[i], dt)
        out[i] = max(float(acc), -model.max_braking)
    return out


def step(model: TrafficModel, world: World, steering: Numbers, acceleration: Numbers, dt: float) -> World:
    """One time step, without ``lane_smoothing``."""
    c, lengths = model.num_controlled, model.lengths
    x, v, y, psi = world.x.copy(), world.v.copy(), world.y.copy(), world.psi.copy()
    v[c:] = np.maximum(0, world.v[c:] + dt * accelerations(model, world, dt))
    v[:c] = np.clip(world.v[:c] + dt * acceleration, model.min_speed, model.max_speed)
    moving = v if model.integration == "semi_implicit" else world.v
    beta = np.arctan(np.tan(steering) / 2)
    x[c:] += dt * moving[c:]
    x[:c] += dt * moving[:c] * np.cos(world.psi + beta)
    y += dt * moving[:c] * np.sin(world.psi + beta)
    psi += dt * moving[:c] * np.sin(beta) / (lengths[:c] / 2)
    return World(x, v, y, psi, world.drivers)
