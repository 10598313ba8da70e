"""The Intelligent Driver Model in simulation does what its theory says."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_traffic import Road, TrafficDynamics, TrafficModel, equilibrium
from diffsim_traffic.laws import IDM

from .host import Worlds, step

CALM = {"a": 2.5, "b": 1.5, "T": 1.6, "s0": 2.0, "v0": 30.0}
NERVOUS = {"a": 0.6, "b": 1.5, "T": 1.0, "s0": 2.0, "v0": 30.0}


def platoon(drivers: dict[str, float], cars: int, v: float, dt: float) -> tuple[TrafficDynamics, Worlds]:
    """A vehicle under control and drivers behind it, at the equilibrium of ``v``."""
    model = TrafficModel(road=Road(), drivers_per_lane=(cars,))
    away = equilibrium.equilibrium_gap(v, **drivers) + 5.0
    x = -away * np.arange(cars + 1)[None, :]
    row = np.broadcast_to(IDM.row(**drivers), (1, cars, 5))
    state = Worlds(x, np.full((1, cars + 1), v), np.zeros((1, 1)), np.zeros((1, 1)), row)
    return TrafficDynamics(model, dt=dt, dtype="float64"), state


@pytest.mark.parametrize("v", [3.0, 12.0, 25.0])
def test_the_gap_settles_at_the_equilibrium(v):
    dynamics, state = platoon(CALM, 3, v, 0.1)
    gap = equilibrium.equilibrium_gap(v, **CALM)
    state = state._replace(x=state.x * 1.3)
    zero = np.zeros((1, 1))
    for _ in range(6000):
        state, _ = step(dynamics, state, zero, zero)
    np.testing.assert_allclose(-np.diff(state.x[0]) - 5.0, gap, rtol=1e-9)
    np.testing.assert_allclose(state.v[0], v, rtol=1e-12)
    assert equilibrium.equilibrium_speed(gap, **CALM) == pytest.approx(v, rel=1e-12)


def test_small_oscillations_grow_or_shrink_as_the_transfer_function_says():
    v, dt, cars, amplitude = 15.0, 0.01, 2, 1e-4
    cases = [(drivers, omega) for drivers in (CALM, NERVOUS) for omega in (0.1, 0.3, 1.0)]
    worlds = [platoon(drivers, cars, v, dt) for drivers, _ in cases]
    dynamics = worlds[0][0]
    state = Worlds(*(np.concatenate(arrays) for arrays in zip(*(state for _, state in worlds), strict=True)))
    omega = np.array([[omega] for _, omega in cases])
    settle, longest = round(150 / dt), round(2 * np.pi / 0.1 / dt)
    zero, seen = np.zeros((len(cases), 1)), []
    for k in range(settle + longest):
        state, _ = step(dynamics, state, zero, amplitude * omega * np.cos(omega * k * dt))
        if k >= settle:
            seen.append(state.v - v)
    for i, (drivers, w) in enumerate(cases):
        wave = np.array(seen)[: round(2 * np.pi / w / dt), i]
        tone = np.exp(-1j * w * dt * np.arange(len(wave)))
        size = abs((wave * tone[:, None]).sum(axis=0))
        np.testing.assert_allclose(size[1:] / size[:-1], equilibrium.gain(w, v, **drivers), rtol=0.01)


def test_waves_die_out_or_grow_along_a_platoon_as_the_criterion_says():
    """A leader who slows down a little: the dip is deeper at every car behind, or shallower."""
    v, dt, cars = 15.0, 0.05, 40
    for drivers, stable in ((CALM, True), (NERVOUS, False)):
        assert equilibrium.is_string_stable(v, **drivers) == stable
        dynamics, state = platoon(drivers, cars, v, dt)
        zero, dip = np.zeros((1, 1)), np.zeros(cars + 1)
        for k in range(round(200 / dt)):
            t = k * dt
            acceleration = np.full((1, 1), -0.05 if t < 4 else 0.05 if t < 8 else 0.0)
            state, _ = step(dynamics, state, zero, acceleration)
            dip = np.maximum(dip, v - state.v[0])
        trend = np.diff(dip[25:])  # quick waves, which die out in either case, are gone by then
        assert (trend < 0).all() if stable else (trend > 0).all()


def test_the_border_of_stability_is_where_slow_waves_neither_grow_nor_shrink():
    low, high = 0.5, 3.0
    for _ in range(60):
        middle = (low + high) / 2
        stable = equilibrium.is_string_stable(15.0, **{**CALM, "a": middle, "T": 1.0})
        low, high = (low, middle) if stable else (middle, high)
    below, above = ({**CALM, "a": high * factor, "T": 1.0} for factor in (0.98, 1.02))
    assert equilibrium.gain(0.01, 15.0, **below) > 1 > equilibrium.gain(0.01, 15.0, **above)


def test_speeds_without_an_equilibrium_are_refused():
    with pytest.raises(ValueError, match=r"v=30.0 m/s must be from 0 to below"):
        equilibrium.equilibrium_gap(30.0, **CALM)
    assert equilibrium.equilibrium_speed(1.0, **CALM) == 0
