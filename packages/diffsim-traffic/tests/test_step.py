"""A step against the readable twin, which searches leaders among all vehicles; its derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import diffsim_traffic.dynamics as simulator
from diffsim_traffic import IDM, LAWS, Road, TrafficDynamics, TrafficModel, twin

from .host import DRIVERS, Worlds, some_model, some_worlds, step, vjp

KINDS = [
    (law, ring, integration) for law in LAWS for ring in (False, True) for integration in ("semi_implicit", "explicit")
]


@pytest.mark.parametrize(("law", "ring", "integration"), KINDS)
def test_a_step_is_the_twins(law, ring, integration):
    model = some_model(LAWS[law], ring=ring, integration=integration)
    dynamics = TrafficDynamics(model, dt=0.1, dtype="float64")
    state, steering, acceleration = some_worlds(model, 61, seed=1)
    out, ok = step(dynamics, state, steering, acceleration)
    assert (ok == 1).all()
    followed = 0
    for k in range(61):
        world = twin.World(*(a[k] for a in state))
        wanted = twin.step(model, world, steering[k], acceleration[k], 0.1)
        for name in ("x", "v", "y", "psi", "drivers"):
            np.testing.assert_allclose(getattr(out, name)[k], getattr(wanted, name), rtol=1e-12, atol=1e-12)
        followed += sum(0 <= twin.leader_of(model, world, i)[0] < 2 for i in range(model.num_drivers))
    assert followed > 20  # vehicles under control are among the leaders


@pytest.mark.parametrize(("law", "ring", "integration"), KINDS)
def test_derivatives_are_those_of_differences(law, ring, integration):
    model = some_model(LAWS[law], ring=ring, integration=integration, max_braking=9.0)
    compare_with_differences(TrafficDynamics(model, dt=0.1, dtype="float64"), seed=2)


def test_derivatives_with_smoothed_lanes():
    model = some_model(controlled=1, lane_smoothing=1.5)
    share = compare_with_differences(TrafficDynamics(model, dt=0.1, dtype="float64"), seed=3)
    assert share["y"] > 5  # worlds in which drivers feel how far over the line the vehicle is


def compare_with_differences(dynamics: TrafficDynamics, seed: int, n: int = 48, h: float = 1e-6) -> dict[str, int]:
    """Every entry of the gradient; worlds with a switch within reach of the differences are left out."""
    state, steering, acceleration = some_worlds(dynamics.model, n, seed)
    random = np.random.default_rng(seed)
    inputs = [*state, steering, acceleration]
    out, ok = step(dynamics, state, steering, acceleration)
    assert (ok == 1).all()
    weights = [random.normal(size=a.shape) for a in out[:4]]

    def loss(arrays):
        after, _ = step(dynamics, Worlds(*arrays[:5]), *arrays[5:])
        return sum((w * a).reshape(n, -1).sum(axis=1) for w, a in zip(weights, after[:4], strict=True))

    here, exact, felt, checked = loss(inputs), vjp(dynamics, state, steering, acceleration, ok, weights), {}, 0
    for name, k in zip((*Worlds._fields, "steering", "acceleration"), range(7), strict=True):
        flat = inputs[k].reshape(n, -1)
        gradient = exact[k].reshape(n, -1)
        for column in range(flat.shape[1]):
            sides = []
            for sign in (1, -1):
                moved = flat.copy()
                moved[:, column] += sign * h
                arrays = [*inputs[:k], moved.reshape(inputs[k].shape), *inputs[k + 1 :]]
                sides.append(sign * (loss(arrays) - here) / h)
            smooth = abs(sides[0] - sides[1]) < 1e-3 * (1 + abs(gradient[:, column]))
            middle = (sides[0] + sides[1]) / 2
            np.testing.assert_allclose(gradient[smooth, column], middle[smooth], rtol=2e-6, atol=2e-6)
            checked += smooth.sum()
        felt[name] = int((abs(gradient) > 1e-9).any(axis=1).sum())
        assert checked > 0.95 * n * flat.shape[1]
        checked = 0
    return felt


def test_smoothed_lanes_are_lanes_in_the_limit():
    sharp, smooth = some_model(controlled=1), some_model(controlled=1, lane_smoothing=1e-9)
    worlds = some_worlds(sharp, 40, seed=4)
    for a, b in zip(
        *(step(TrafficDynamics(m, dt=0.1, dtype="float64"), *worlds)[0] for m in (sharp, smooth)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)


def test_no_gradient_passes_through_the_choice_of_a_lane():
    """The bias of gradients at lane changes: a driver who would be freed by one tells nothing about it."""
    model = TrafficModel(road=Road(num_lanes=2), drivers_per_lane=(1, 1))
    dynamics = TrafficDynamics(model, dt=0.1, dtype="float64")
    row = np.broadcast_to(DRIVERS["idm"], (2, 2, 5))
    x, v = np.tile([20.0, 0.0, 0.0], (2, 1)), np.full((2, 3), 10.0)
    state = Worlds(x, v, np.array([[1.9], [2.1]]), np.zeros((2, 1)), row)
    out, ok = step(dynamics, state, np.zeros((2, 1)), np.zeros((2, 1)))
    assert out.v[0, 1] < out.v[1, 1] - 0.1 and out.v[1, 2] < out.v[0, 2] - 0.1  # the line is between the two worlds
    zero = [np.zeros_like(a) for a in state]
    zero[1] = np.ones_like(zero[1])
    gx, gv, gy, _, _, _, _ = vjp(dynamics, state, np.zeros((2, 1)), np.zeros((2, 1)), ok, zero)
    assert (gy == 0).all()
    assert (gx[:, 0] > 0).all() and (gv[:, 0] > 0).all()  # along the lane it does


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_worlds_do_not_depend_on_others_or_on_threads(dtype, monkeypatch):
    model = some_model()
    state, steering, acceleration = some_worlds(model, 700, seed=5)
    one = TrafficDynamics(model, dt=0.1, dtype=dtype, threads=1)
    whole, ok = step(one, state, steering, acceleration)
    weights = [np.ones_like(a) for a in state]
    pulled = vjp(one, state, steering, acceleration, ok, weights)
    four = TrafficDynamics(model, dt=0.1, dtype=dtype, threads=4)
    monkeypatch.setattr(simulator, "_DRIVERS_WORTH_A_THREAD", 1)
    for chosen, dynamics in ((slice(0, 700), four), (slice(3, 4), one), (slice(100, 113), one)):
        few = Worlds(*(a[chosen] for a in state)), steering[chosen], acceleration[chosen]
        out, found = step(dynamics, *few)
        again = vjp(dynamics, *few, found, [w[chosen] for w in weights])
        for a, b in zip((*whole, *pulled), (*out, *again), strict=True):
            assert np.array_equal(a[chosen], b)


def test_float32_is_float64_rounded():
    model = some_model()
    worlds = some_worlds(model, 64, seed=6)
    wide, narrow = (step(TrafficDynamics(model, dt=0.1, dtype=dtype), *worlds)[0] for dtype in ("float64", "float32"))
    for a, b in zip(wide, narrow, strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("spoil", ["x", "v", "y", "psi", "drivers", "steering", "acceleration"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_lost_world_is_contained(spoil, value):
    model = some_model()
    dynamics = TrafficDynamics(model, dt=0.1, dtype="float64")
    state, steering, acceleration = some_worlds(model, 20, seed=7)
    clean, _ = step(dynamics, state, steering, acceleration)
    inputs = dict(zip((*Worlds._fields, "steering", "acceleration"), (*state, steering, acceleration), strict=True))
    inputs[spoil] = inputs[spoil].copy()
    inputs[spoil][11].flat[0] = value
    spoilt = Worlds(*list(inputs.values())[:5])
    out, ok = step(dynamics, spoilt, inputs["steering"], inputs["acceleration"])
    assert ok[11] == 0 and ok.sum() == 19
    pulled = vjp(dynamics, spoilt, inputs["steering"], inputs["acceleration"], ok, [np.ones_like(a) for a in state])
    rest = np.arange(20) != 11
    for before, after, wanted in zip(spoilt, out, clean, strict=True):
        assert np.array_equal(after[11], before[11], equal_nan=True)
        assert np.array_equal(after[rest], wanted[rest])
    for gradient in pulled:
        assert (gradient[11] == 0).all() and np.isfinite(gradient).all()


@pytest.mark.parametrize(("k", "value"), [(0, 0.0), (1, -1.0), (2, -0.1), (3, -2.0), (4, 0.0)])
def test_drivers_who_make_no_sense_are_lost(k, value):
    model = some_model()
    state, steering, acceleration = some_worlds(model, 4, seed=8)
    state.drivers[2, 1, k] = value
    out, ok = step(TrafficDynamics(model, dt=0.1, dtype="float64"), state, steering, acceleration)
    assert ok.tolist() == [1, 1, 0, 1]
    assert np.array_equal(out.v[2], state.v[2])


@settings(deadline=None, max_examples=60)
@given(
    gap=st.floats(-20, 400),
    v=st.floats(0, 60),
    lead_v=st.floats(0, 60),
    dt=st.floats(0.01, 1.0),
    law=st.sampled_from(sorted(LAWS)),
)
def test_whatever_the_gap_nothing_is_lost_and_nobody_reverses(gap, v, lead_v, dt, law):
    """Overlaps, speeds far beyond those wished for and steps too long are odd, but finite."""
    model = TrafficModel(road=Road(), drivers_per_lane=(2,), num_controlled=0, law=LAWS[law])
    state = Worlds(
        np.array([[gap + 5.0, 0.0]]), np.array([[lead_v, v]]), np.zeros((1, 0)), np.zeros((1, 0)),
        np.broadcast_to(DRIVERS[law], (1, 2, 5)),
    )  # fmt: skip
    for dtype in ("float32", "float64"):
        dynamics = TrafficDynamics(model, dt=dt, dtype=dtype)
        out, ok = step(dynamics, state, np.zeros((1, 0)), np.zeros((1, 0)))
        assert ok.all() and (out.v >= 0).all() and np.isfinite(out.x).all()
        pulled = vjp(dynamics, state, np.zeros((1, 0)), np.zeros((1, 0)), ok, [np.ones_like(a) for a in state])
        assert all(np.isfinite(gradient).all() for gradient in pulled)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), steps=st.integers(1, 60))
def test_drivers_keep_their_order_behind_a_leader_who_stops(seed, steps):
    random = np.random.default_rng(seed)
    model = TrafficModel(road=Road(), drivers_per_lane=(8,), num_controlled=0, law=IDM)
    dynamics = TrafficDynamics(model, dt=0.1, dtype="float64")
    n = 16
    x = -np.cumsum(random.uniform(7.0, 30.0, (n, 8)), axis=1)
    v = np.repeat(random.uniform(0, 15, (n, 1)), 8, axis=1)
    drivers = DRIVERS["idm"] * random.uniform(0.8, 1.2, (n, 8, 5))
    drivers[:, 0, 4] = 1e-3  # the first wishes to stand
    state, nothing = Worlds(x, v, np.zeros((n, 0)), np.zeros((n, 0)), drivers), np.zeros((n, 0))
    for _ in range(steps):
        state, ok = step(dynamics, state, nothing, nothing)
        assert ok.all()
    assert (np.diff(state.x, axis=1) < -5.0).all()  # nobody touches the car ahead


@settings(max_examples=100, deadline=None)
@given(st.floats(-9e5, 9e5), st.floats(0.1, 30))
def test_far_out_a_world_moves_as_it_does_near_by_or_is_lost(start, speed):
    model = some_model(controlled=1)
    worlds, steering, acceleration = some_worlds(model, 1, seed=4)
    x = (worlds.x + start).astype(np.float32)
    worlds = worlds._replace(x=x, v=np.full_like(worlds.v, speed))
    single, ok = step(TrafficDynamics(model, dt=0.1), worlds, steering, acceleration)
    exact, fine = step(TrafficDynamics(model, dt=0.1, dtype="float64"), worlds, steering, acceleration)
    assert fine.all()
    moves = exact.x - x > 1 / 128
    if ok.all():
        np.testing.assert_allclose(single.x, exact.x, rtol=0, atol=1 / 200)
        assert (single.x[moves] > x[moves]).all()
    else:
        assert abs(exact.x).max() > 2**17 - 1
        np.testing.assert_array_equal(single.x, x)


def test_starts_too_far_out_for_single_precision_are_refused():
    model = TrafficModel(road=Road(), drivers_per_lane=(2,))
    x = np.array([131_000.0, 130_900.0, -140_000.0])
    model.check_state(x, np.zeros(3), np.zeros(1))
    with pytest.raises(ValueError, match=r"vehicle 2: x = -140000 m is beyond 131072 m, .* or use float64"):
        model.check_state(x.astype(np.float32), np.zeros(3), np.zeros(1))
