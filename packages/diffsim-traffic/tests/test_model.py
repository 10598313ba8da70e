"""Roads, vehicles and drivers that make no sense are refused by name, with their value."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_traffic import IDM, KRAUSS, OVM, Road, TrafficDynamics, TrafficModel


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Road(num_lanes=0), "num_lanes=0"),
        (lambda: Road(lane_width=-1.0), "lane_width=-1.0"),
        (lambda: Road(circumference=0.0), "circumference=0.0"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(0,), num_controlled=0), "no vehicle"),
        (lambda: TrafficModel(road=Road(num_lanes=2), drivers_per_lane=(1,)), r"drivers_per_lane=\(1,\) must be 2"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(-1,)), "drivers_per_lane"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), num_controlled=-1), "num_controlled=-1"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), integration="euler"), "integration='euler'"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), gap_floor=0.0), "gap_floor=0.0"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), max_braking=-9.0), "max_braking=-9.0"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), min_speed=50.0), "min_speed=50.0"),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), lane_smoothing=9.0), "lane_smoothing=9.0"),
        (
            lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), lane_smoothing=1.0, num_controlled=2),
            "lane_smoothing needs num_controlled=1, got 2",
        ),
        (lambda: TrafficModel(road=Road(), drivers_per_lane=(1,), length=(5.0,)), r"length=\(5.0,\)"),
        (
            lambda: TrafficModel(road=Road(circumference=20.0), drivers_per_lane=(4,)),
            "drivers of lane 0 alone are 20 m",
        ),
        (lambda: IDM.row(a=1.0, b=1.0), "needs the parameters a, b, T, s0, v0; got a, b"),
        (
            lambda: IDM.check(IDM.row(a=1.0, b=1.0, T=-1.0, s0=2.0, v0=20.0), 0.1),
            "T = -1 s must be finite and positive",
        ),
        (lambda: IDM.check(np.array([[1, 1, 1, -2, 20.0]]), 0.1), "s0 = -2 m must be finite and at least 0"),
        (lambda: IDM.check(np.array([1.0, np.nan, 1, 2, 20]), 0.1), "b = nan"),
        (lambda: IDM.check(np.zeros(3), 0.1), r"shape \(3,\)"),
        (lambda: IDM.check(IDM.row(a=35.0, b=25.0, T=0.4, s0=1.5, v0=20.0), 0.5), "dt = 0.5 s is too long"),
        (lambda: OVM.check(np.array([2.0, 20, 10, 1, 3]), 0.3), "steps of at most 0.2 s"),
        (lambda: KRAUSS.check(np.array([2.0, 3, 0.5, 2, 20]), 1.0), "steps of at most 0.5 s"),
        (lambda: TrafficDynamics(TrafficModel(road=Road(), drivers_per_lane=(1,)), dt=-0.1), "dt=-0.1"),
        (
            lambda: TrafficDynamics(TrafficModel(road=Road(), drivers_per_lane=(1,)), dt=0.1, dtype="half"),
            "dtype='half'",
        ),
        (lambda: TrafficDynamics(TrafficModel(road=Road(), drivers_per_lane=(1,)), dt=0.1, threads=0), "threads=0"),
    ],
)
def test_what_makes_no_sense_is_refused(build, words):
    with pytest.raises(ValueError, match=words):
        build()


@pytest.mark.parametrize(
    ("x", "v", "y", "words"),
    [
        (
            [50.0, 10.0, 6.0],
            [0, 0, 0],
            [0.0],
            "vehicles 1 and 2 overlap or are out of order: the gap between them is -1 m",
        ),
        ([50.0, 0.0, 10.0], [0, 0, 0], [0.0], "vehicles 1 and 2 overlap or are out of order"),
        ([12.0, 10.0, 0.0], [0, 0, 0], [0.5], "vehicles 0 and 1 overlap"),
        ([50.0, 10.0, 0.0], [0, -1, 0], [0.0], "vehicle 1: x = 10 m with speed v = -1 m/s"),
        ([50.0, 10.0, 0.0], [99, 0, 0], [0.0], "vehicle 0: x = 50 m with speed v = 99 m/s; .* from 0 to 40 m/s"),
        ([50.0, np.nan, 0.0], [0, 0, 0], [0.0], "vehicle 1: x = nan m"),
        ([50.0, 10.0], [0, 0], [0.0], r"x has shape \(2,\)"),
    ],
)
def test_states_that_make_no_sense_are_refused(x, v, y, words):
    model = TrafficModel(road=Road(), drivers_per_lane=(2,))
    with pytest.raises(ValueError, match=words):
        model.check_state(x, v, y)


def test_states_that_are_fine_pass():
    model = TrafficModel(
        road=Road(num_lanes=2, circumference=60.0), drivers_per_lane=(2, 1), length=[4.0, 5.0, 5.0, 12.0]
    )
    model.check_state([30.0, 50.0, 40.0, 30.0], [5, 5, 5, 5], [0.0])
    with pytest.raises(ValueError, match="vehicles 1 and 2 overlap"):
        model.check_state([30.0, 100.5, 40.0, 30.0], [5, 5, 5, 5], [0.0])  # the front has all but lapped the back


def test_whom_drivers_follow():
    straight = TrafficModel(road=Road(num_lanes=3), drivers_per_lane=(2, 0, 3))
    assert straight.leaders()[0].tolist() == [-1, 0, -1, 2, 3]
    ring = TrafficModel(road=Road(num_lanes=3, circumference=100.0), drivers_per_lane=(2, 0, 3))
    ahead, laps = ring.leaders()
    assert ahead.tolist() == [1, 0, 4, 2, 3]
    assert laps.tolist() == [1, 0, 1, 0, 0]
