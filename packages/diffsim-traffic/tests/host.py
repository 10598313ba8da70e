"""The simulator on NumPy arrays, without an array library, and worlds to put into it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core import Buffer
from diffsim_traffic import IDM, IDM_CLIP_SUM, KRAUSS, OVM, Law, Road, TrafficDynamics, TrafficModel

DRIVERS = {
    IDM.name: IDM.row(a=1.4, b=2.0, T=1.2, s0=2.0, v0=20.0),
    IDM_CLIP_SUM.name: IDM_CLIP_SUM.row(a=3.0, b=2.5, T=0.4, s0=1.5, v0=20.0),
    OVM.name: OVM.row(kappa=0.6, v0=20.0, l=12.0, beta=1.5, **{"lambda": 0.5}),
    KRAUSS.name: KRAUSS.row(a=2.0, b=3.0, tau=1.0, s0=2.0, v0=20.0),
}


class Worlds(NamedTuple):
    """A state, and the drivers that it belongs to."""

    x: Any
    v: Any
    y: Any
    psi: Any
    drivers: Any


def buffer(array: Any) -> Buffer:
    assert array.flags.c_contiguous
    return Buffer(array.ctypes.data, array.shape, str(array.dtype), "cpu")


def step(dynamics: TrafficDynamics, state: Worlds, steering: Any, acceleration: Any) -> tuple[Worlds, Any]:
    """Outputs are poisoned first, so a number that nobody writes is found."""
    given = _inputs(dynamics, state, steering, acceleration)
    out = [np.full_like(a, np.nan) for a in given[:4]]
    ok = np.full(len(out[0]), -1, np.int32)
    dynamics.step(
        [buffer(a) for a in given[:4]], [buffer(a) for a in given[4:]], [buffer(a) for a in out], buffer(ok), None
    )
    return Worlds(*out, given[-1]), ok


def vjp(dynamics: TrafficDynamics, state: Worlds, steering: Any, acceleration: Any, ok: Any, cotangent: Any) -> list:
    """Cotangents of ``(*state, steering, acceleration)``, from those of the next x, v, y and psi."""
    given = _inputs(dynamics, state, steering, acceleration)
    pulled = [np.full_like(a, np.nan) for a in given]
    cotangent = [np.ascontiguousarray(a, dtype=dynamics.dtype) for a in cotangent[:4]]
    nothing = np.zeros(0, dynamics.dtype)
    dynamics.vjp(
        [buffer(a) for a in given[:4]],
        [buffer(a) for a in given[4:]],
        buffer(ok),
        buffer(nothing),
        [buffer(a) for a in cotangent],
        [buffer(a) for a in pulled],
    )
    return [*pulled[:4], pulled[6], *pulled[4:6]]


def _inputs(dynamics: TrafficDynamics, state: Worlds, steering: Any, acceleration: Any) -> list[Any]:
    """As a simulator gets them: state, controls, constants."""
    return [np.ascontiguousarray(a, dtype=dynamics.dtype) for a in (*state[:4], steering, acceleration, state.drivers)]


def some_model(law: Law = IDM, *, ring: bool = False, controlled: int = 2, **options: Any) -> TrafficModel:
    road = Road(num_lanes=3, circumference=90.0 if ring else None)
    return TrafficModel(
        road=road, drivers_per_lane=(3, 0, 2), num_controlled=controlled, law=law, min_speed=-5.0, **options
    )


def some_worlds(model: TrafficModel, n: int, seed: int) -> tuple[Worlds, Any, Any]:
    """Drivers in order, some so close that they brake hard; vehicles under control anywhere, off the road too."""
    random, c, d = np.random.default_rng(seed), model.num_controlled, model.num_drivers
    apart = random.uniform(5.2, 25.0, (n, d))
    x = np.concatenate([random.uniform(-10, 60, (n, c)), 60 - np.cumsum(apart, axis=1)], axis=1)
    for lane in range(model.road.num_lanes):
        mine = np.flatnonzero(model.lane_of_driver == lane)
        x[:, c + mine] = 60 - np.cumsum(apart[:, mine], axis=1)
    v = random.uniform(0, 15, (n, c + d))
    y = random.uniform(-3, 11, (n, c))
    psi = random.uniform(-0.3, 0.3, (n, c))
    row = DRIVERS[model.law.name]
    drivers = row * random.uniform(0.8, 1.2, (n, d, len(row)))
    steering, acceleration = random.uniform(-0.3, 0.3, (n, c)), random.uniform(-3, 3, (n, c))
    return Worlds(x, v, y, psi, drivers), steering, acceleration
