"""A platoon beside SUMO: drivers behind a leader who follows a profile of speed, from 0 to 25 m/s and to a stand."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_traffic import IDM, Road, TrafficDynamics, TrafficModel
from diffsim_traffic.sumo import PROFILE, Highway, Platoon, _check_clock, simulate_platoon

from .host import Worlds, step

pytest.importorskip("libsumo")


def ours(platoon: Platoon, record) -> Worlds:
    """The same drivers behind the same leader; positions of centres, ``[T, V]``."""
    n = len(platoon.drivers)
    model = TrafficModel(road=Road(), drivers_per_lane=(n,), length=platoon.length)
    dynamics = TrafficDynamics(model, dt=platoon.dt, dtype="float64")
    row = platoon.parameters()[None]
    state = Worlds(record.x[:1], record.v[:1], np.zeros((1, 1)), np.zeros((1, 1)), row)
    acceleration = np.diff(record.v[:, 0]) / platoon.dt
    states = [state]
    for a in acceleration:
        state, ok = step(dynamics, state, np.zeros((1, 1)), np.full((1, 1), a))
        assert ok.all()
        states.append(state)
    return Worlds(*(np.concatenate(arrays) for arrays in zip(*states, strict=True)))


def test_a_platoon_is_sumos_over_two_minutes():
    same = {"a": 1.4, "b": 2.0, "T": 1.5, "s0": 2.0, "v0": 30.0}
    platoon = Platoon(drivers=(same,) * 5, profile=PROFILE)
    record = simulate_platoon(platoon)
    assert record.x.shape == (1201, 6)
    assert record.v[:, 0].max() > 24.9 and record.v[:, 1:].min() < 0.1
    found = ours(platoon, record)
    assert abs(found.x - record.x).max() < 1e-4
    assert abs(found.v - record.v).max() < 1e-4


def test_so_is_one_of_different_drivers():
    random = np.random.default_rng(1)
    base = {"a": 1.4, "b": 2.0, "T": 1.5, "s0": 2.0, "v0": 30.0}
    drivers = tuple({key: value * random.uniform(0.8, 1.2) for key, value in base.items()} for _ in range(5))
    platoon = Platoon(drivers=drivers, profile=PROFILE)
    record = simulate_platoon(platoon)
    found = ours(platoon, record)
    assert abs(found.x - record.x).max() < 1e-4
    assert abs(found.v - record.v).max() < 1e-4


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Platoon(drivers=()), "drivers is empty"),
        (lambda: Platoon(drivers=({"a": 1.0},)), "needs the parameters"),
        (
            lambda: Platoon(drivers=(dict(zip(IDM.parameters, (1, 1, 1, 2, 30.0), strict=True)),), spacing=4.0),
            "spacing=4.0",
        ),
        (
            lambda: Platoon(drivers=(dict(zip(IDM.parameters, (1, 1, 1, 2, 30.0), strict=True)),), profile=((0, 5),)),
            "profile",
        ),
    ],
)
def test_platoons_that_make_no_sense_are_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_a_highway_keeps_its_vehicles():
    driver = dict(zip(IDM.parameters, (1.4, 2.0, 1.5, 2.0, 30.0), strict=True))
    with Highway(num_vehicles=30, num_lanes=4, driver=driver, steps=100) as highway:
        highway.step(50)
        assert highway.num_vehicles == 30


DRIVER = dict(zip(IDM.parameters, (1, 1, 1, 2, 30.0), strict=True))


@pytest.mark.parametrize("dt", [1 / 60, 1 / 30, 0.0005, 0.1001, 1e-4, float("inf"), float("nan"), 0.0, -0.1])
def test_steps_that_sumo_would_round_are_refused(dt):
    """Its clock counts milliseconds: 1/60 s would be 17 ms, another scene."""
    for make in (
        lambda: Platoon(drivers=[DRIVER], dt=dt),
        lambda: Highway(num_vehicles=2, num_lanes=1, driver=DRIVER, dt=dt),
    ):
        with pytest.raises(ValueError, match=r"dt=.* SUMO counts time in whole milliseconds; take 0\.\d+"):
            make()


@pytest.mark.parametrize("milliseconds", [1, 3, 7, 17, 33, 100, 250, 999])
def test_whole_milliseconds_are_taken_however_they_are_rounded(milliseconds):
    for dt in (milliseconds / 1000, milliseconds * 0.001):
        _check_clock(dt)
