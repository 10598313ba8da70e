"""What free rigid bodies must do: conserve with what they meet, fall, spin, roll, float, swing and bounce."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from diffsim_mpm.chain import Joint, KinematicChain
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.model import MpmBody, MpmModel
from diffsim_mpm.rigid import RigidBody
from diffsim_mpm.shapes import Box, Sphere
from diffsim_mpm.twin_rigid import distance, moving

from .host import block, box, some_model, step
from .test_physics import NO_GRAVITY, momenta, run


def momentum(model, state):
    """Linear and angular momentum about the origin of particles and rigid bodies, of the first world ``[2, 3]``."""
    p, L = (a[0] for a in momenta(model, state))
    for body, pose, twist in zip(model.rigid_bodies, *(np.asarray(a[0], float) for a in state[4:6]), strict=True):
        b = moving(body, pose)
        p = p + body.mass * twist[:3]
        L = L + np.cross(b.c, body.mass * twist[:3]) + b.inertia @ twist[3:]
    return np.array([p, L])


def meeting(friction, **options):
    """Two bodies on their way into a block in free space, one of them light and turning, both on the same nodes."""
    common = {"friction": friction, "softness": 60.0}
    light = RigidBody.solid(
        name="light", shapes=[Box(half_sizes=(0.05, 0.08, 0.02), **common)], density=100.0, pos=(0.35, 0.4, 0.6)
    )
    heavy = RigidBody.solid(name="heavy", shapes=[Sphere(radius=0.07, **common)], density=5e3, pos=(0.48, 0.42, 0.63))
    body = block(count=(8, 8, 8), parameters={"E": 2e4})
    model = some_model(body, cells=20, rigid_bodies=(light, heavy), **NO_GRAVITY)
    dynamics = MpmDynamics(model, **{"dt": 5e-4, "substeps": 1, "threads": 1} | options)
    state = dynamics.rest()
    twist = np.array([[[0.1, 0.2, -2.0, 4.0, -3.0, 5.0], [-0.2, 0.1, -1.0, 1.0, 2.0, 3.0]]])
    return model, dynamics, state._replace(twist=twist.astype(dynamics.dtype))


@pytest.mark.parametrize("friction", [0.0, 0.5, 99.0])
def test_a_sub_step_keeps_linear_and_angular_momentum(friction):
    model, dynamics, state = meeting(friction, dtype="float64")
    before, scale = momentum(model, state), np.abs(momentum(model, state)).max(axis=1, keepdims=True)
    exchanged = 0.0
    for _ in range(200):
        given = state.twist
        state, ok = step(dynamics, state)
        assert ok.all()
        exchanged += np.abs(state.twist - given).max()
        after = momentum(model, state)
        assert (np.abs(after - before) < 1e-12 * scale).all()
        before = after
    assert exchanged > 5


def test_single_precision_keeps_momentum_over_1000_sub_steps():
    model, dynamics, state = meeting(0.5, dt=2.5e-4)
    before = momentum(model, state)
    after = momentum(model, run(dynamics, state, 1000))
    assert (np.abs(after - before).max(axis=1) < 1e-5 * np.abs(before).max(axis=1)).all()


def alone(inertia=(2e-3, 3e-3, 4e-3), cells=20, **options):
    """A body in free space, and a block that is far away."""
    body = RigidBody(name="top", mass=0.7, inertia=inertia, shapes=[Sphere(radius=0.05)], pos=(0.3, 0.3, 0.7))
    return some_model(block(low=(0.6, 0.6, 0.3), count=(3, 3, 3)), cells=cells, rigid_bodies=[body], **options)


def test_free_fall_under_a_load():
    """Semi-implicit Euler falls by a t (t + dt) / 2."""
    dynamics = MpmDynamics(alone(), dt=1e-3, substeps=2, dtype="float64", loads=True, threads=1)
    load, state = np.array([[[0.3, -0.2, 0.5, 0.0, 0.0, 0.0]]]), dynamics.rest()
    start, t = state.pose[0, 0, :3], 0.1
    for _ in range(100):
        state, _ = step(dynamics, state, load=load)
    a = load[0, 0, :3] / 0.7 + [0, 0, -9.81]
    np.testing.assert_allclose(state.pose[0, 0, :3], start + a * t * (t + 5e-4) / 2, atol=1e-12)
    np.testing.assert_allclose(state.twist[0, 0], [*(a * t), 0, 0, 0], atol=1e-12)


def test_a_torque_turns_about_a_principal_axis():
    dynamics = MpmDynamics(alone(), dt=1e-3, substeps=2, dtype="float64", loads=True, threads=1)
    state, load = dynamics.rest(), np.array([[[0, 0, 0, 0, 0.03, 0]]])
    for _ in range(100):
        state, _ = step(dynamics, state, load=load)
    angle = 0.03 / 3e-3 * 0.1 * (0.1 + 5e-4) / 2
    np.testing.assert_allclose(state.pose[0, 0, 3:], [math.cos(angle / 2), 0, math.sin(angle / 2), 0], atol=1e-12)


def euler(inertia, w, t, steps=4000):
    """Euler's equations of a torque-free top by Runge-Kutta: angular velocity in its axes, and its axes."""
    I = np.array(inertia)

    def rate(y):
        w, R = y[0], y[1:]
        return np.concatenate([[-np.cross(w, I * w) / I], R @ np.cross(np.eye(3), w)])

    y, h = np.concatenate([[w], np.eye(3)]), t / steps
    for _ in range(steps):
        a = rate(y)
        b = rate(y + h / 2 * a)
        c = rate(y + h / 2 * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + rate(y + h * c))
    return y[1:] @ y[0], y[1:]


def spun(inertia, w, t, sub_dt):
    model = alone(inertia, **NO_GRAVITY)
    dynamics = MpmDynamics(model, dt=t, substeps=round(t / sub_dt), dtype="float64", threads=1)
    state = dynamics.rest()
    state.twist[0, 0, 3:] = w
    return model, state, run(dynamics, state, 1)


@pytest.mark.parametrize("inertia", [(2e-3, 3e-3, 4e-3), (3e-3, 3e-3, 1e-3)])
def test_a_free_top_precesses(inertia):
    """Also over the unstable middle axis; of first order in the sub-step, with its angular momentum kept exactly."""
    w, t = np.array([0.5, 6.0, 1.0]), 0.5
    spin, axes = euler(inertia, w, t)
    errors = []
    for sub_dt in (4e-4, 2e-4, 1e-4):
        model, before, after = spun(inertia, w, t, sub_dt)
        (L, L_after) = (momentum(model, s)[1] for s in (before, after))
        np.testing.assert_allclose(L_after, L, atol=1e-13)
        b = moving(model.rigid_bodies[0], after.pose[0, 0])
        errors.append(max(np.abs(after.twist[0, 0, 3:] - spin).max() / 6, np.abs(b.axes - axes).max()))
    assert errors[-1] < 2e-3
    assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(1.0, abs=0.1)


def test_a_symmetric_top_precesses_at_its_closed_form():
    """Its axis goes round the angular momentum at L / I_1."""
    w = np.array([1.0, 0.0, 4.0])
    t = 1.0
    model, before, after = spun((3e-3, 3e-3, 1e-3), w, t, 1e-4)
    L = momentum(model, before)[1]
    along = L / np.linalg.norm(L)
    axis = moving(model.rigid_bodies[0], after.pose[0, 0]).axes[:, 2]
    start, phi = np.array([0.0, 0.0, 1.0]), np.linalg.norm(L) / 3e-3 * t
    expected = (
        start * math.cos(phi) + np.cross(along, start) * math.sin(phi) + along * (along @ start) * (1 - math.cos(phi))
    )
    np.testing.assert_allclose(axis, expected, atol=2e-3)


def test_a_ball_that_misses_comes_to_rest_on_the_ground():
    ball = RigidBody.solid(name="ball", shapes=[Sphere(radius=0.08)], density=600.0, pos=(0.3, 0.3, 0.4))
    model = some_model(block(low=(0.55, 0.55, 0.2), count=(3, 3, 3)), ground_friction=0.5, rigid_bodies=[ball])
    dynamics = MpmDynamics(model, dt=2e-3, substeps=4, threads=1)
    state = run(dynamics, dynamics.rest(), 1500)
    assert state.pose[0, 0, 2] == pytest.approx(model.sides[2, 0] + 0.08 - 0.02 * model.dx, abs=1e-4)
    assert np.abs(state.twist[0, 0]).max() < 1e-3


def test_a_sliding_ball_comes_to_roll():
    """Whatever the friction, 5/7 of the speed is left of a ball that began to slide without spin."""
    ball = RigidBody.solid(name="ball", shapes=[Sphere(radius=0.08)], density=600.0, pos=(0.3, 0.3, 0.4))
    model = some_model(
        block(low=(0.3, 0.7, 0.3), count=(3, 3, 3)), cells=24, ground_friction=0.3, rigid_bodies=[ball], dx=1 / 16
    )
    dynamics = MpmDynamics(model, dt=2e-3, substeps=4, threads=1, dtype="float64")
    state = dynamics.rest()
    state.pose[0, 0, 2] = model.sides[2, 0] + 0.08 - 0.02 * model.dx
    state.twist[0, 0, 0] = 1.0
    state = run(dynamics, state, 250)
    v, spin = state.twist[0, 0, 0], state.twist[0, 0, 4]
    assert v == pytest.approx(5 / 7, rel=1e-2)
    assert spin * 0.08 == pytest.approx(v, rel=2e-2)


def driven(kinematic):
    """A ball that comes down on a block at constant speed: on a joint, or free and far heavier than the block."""
    where, speed, dt = (0.41, 0.4, 0.6), 0.8, 1e-3
    shape = Sphere(radius=0.09, friction=0.4, softness=80.0)
    slide = Joint(name="down", kind="slide", axis=(0, 0, -1), pos=where)
    chain = KinematicChain((slide,), (replace(shape, joint="down"),))
    body = RigidBody(name="ball", mass=1e12, inertia=(1e12,) * 3, shapes=(shape,), pos=where)
    given = {"shapes": chain} if kinematic else {"rigid_bodies": (body,)}
    model = some_model(block(parameters={"E": 2e4}), **NO_GRAVITY, **given)
    dynamics = MpmDynamics(model, dt=dt, substeps=2, dtype="float64", threads=1)
    state, u = dynamics.rest(), np.array([[speed * dt]])
    if not kinematic:
        state.twist[0, 0, 2] = -speed
    for _ in range(150):
        state, ok = step(dynamics, state, u if kinematic else None)
        assert ok.all()
    return state


def test_a_very_heavy_body_is_a_kinematic_shape():
    one, other = driven(kinematic=True), driven(kinematic=False)
    assert np.abs(one.v).max() > 0.3
    for name in ("x", "v", "C", "F"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-8)


@pytest.mark.parametrize("friction", [0.0, 0.5, 99.0])
@pytest.mark.parametrize("mass", [1e-6, 1e-3, 1.0])
def test_however_light_a_body_never_overshoots(mass, friction):
    """It is carried along by a block of 8 kg, no faster than the block or itself ever was."""
    shape = Box(half_sizes=(0.06, 0.05, 0.02), friction=friction, softness=100.0)
    inertia = mass * np.array([0.05**2 + 0.02**2, 0.06**2 + 0.02**2, 0.06**2 + 0.05**2]) / 3
    body = RigidBody(name="leaf", mass=mass, inertia=inertia, shapes=[shape], pos=(0.41, 0.4, 0.64))
    model = some_model(block(low=(0.3, 0.3, 0.35), parameters={"E": 2e4}), rigid_bodies=[body], **NO_GRAVITY)
    dynamics = MpmDynamics(model, dt=1e-3, substeps=1, threads=1)
    state = dynamics.rest()
    state = state._replace(v=state.v + np.float32([0, 0, 1.0]))
    state.twist[0, 0, 2] = -1.0
    for _ in range(200):
        state, ok = step(dynamics, state)
        assert ok.all()
        assert np.abs(state.twist[0, 0, :3]).max() < 2.5
        assert np.abs(state.v).max() < 2.5
    assert state.twist[0, 0, 2] > 0.5


@pytest.mark.parametrize("density", [0.3, 0.7])
def test_a_box_floats_as_deep_as_archimedes_says(density):
    """As deep as its density is part of the water's. Its zone of influence, a cell wide, keeps the water out."""
    dx, half = 1 / 32, 3 / 32
    width, depth, low = 14 * dx, 10 * dx, 2 * dx
    middle, start = 9 * dx, low + depth + half * (1 - 2 * density)
    shape = Box(half_sizes=(half,) * 3, friction=0.0, softness=25.0)
    body = RigidBody.solid(name="box", shapes=[shape], density=1e3 * density, pos=(middle, middle, start))
    x = box((low,) * 3, (width, width, depth), (28, 28, 20))
    water = MpmBody(
        name="water",
        particles=x[distance(moving(body, body.pose), x) > 0],
        volume=(dx / 2) ** 3,
        density=1e3,
        material="fluid",
        parameters={"bulk_modulus": 1e5, "viscosity": 50.0},
    )
    model = MpmModel(bodies=[water], cells=(18, 18, 26), dx=dx, rigid_bodies=[body])
    dynamics = MpmDynamics(model, dt=4e-3, substeps=6, threads=1)
    state, drafts = run(dynamics, dynamics.rest(), 120), []
    for _ in range(60):
        state = run(dynamics, state, 1)
        away = np.abs(state.x[0, :, :2] - middle).max(axis=1) > half + 1.5 * dx
        level = 2 * state.x[0, away, 2].mean() - low
        drafts.append((level - state.pose[0, 0, 2] + half) / (2 * half))
    assert np.mean(drafts) == pytest.approx(density, abs=0.04)


def test_a_plate_on_an_elastic_column_swings_at_its_closed_form():
    """Held by a column that is clamped below: a period of 2 pi sqrt((M + m / 3) L / (E A)), m that of the column."""
    E, rho, dx, side = 2e4, 200.0, 1 / 40, 0.1
    low, clamped, free = 0.2, 0.1, 0.2  # free: between the nodes that are held
    sticky = {"friction": 99.0, "softness": 0.0}
    clamp = Box(half_sizes=(0.15, 0.15, 0.1), pos=(0.5, 0.5, low + clamped + dx / 4 - 0.1), **sticky)
    plate = Box(half_sizes=(0.15, 0.15, 0.1), **sticky)
    body = RigidBody(name="plate", mass=4.0, inertia=(0.2, 0.2, 0.3), shapes=[plate], pos=(0.5, 0.5, 0.85))
    column = block(
        low=(0.45, 0.45, low),
        size=(side, side, 2 * clamped + free),
        count=(8, 8, 32),
        density=rho,
        parameters={"E": E, "nu": 0.0},
    )
    model = MpmModel(
        bodies=[column], cells=(40,) * 3, dx=dx, shapes=KinematicChain((), (clamp,)), rigid_bodies=[body], **NO_GRAVITY
    )
    dynamics = MpmDynamics(model, dt=2e-3, substeps=4, threads=1)
    state = dynamics.rest()
    state.pose[0, 0, 2] = low + clamped + free - dx / 4 + 0.1
    state.twist[0, 0, 2] = 0.02
    moved_along, sprung = rho * side**2 * clamped, rho * side**2 * free / 3
    period = 2 * math.pi * math.sqrt((4.0 + moved_along + sprung) / (E * side**2 / free))
    heights = []
    for _ in range(round(1.2 * period / dynamics.dt)):
        state = run(dynamics, state, 1)
        heights.append(float(state.twist[0, 0, 2]))
    turns = [k + a / (a - b) for k, (a, b) in enumerate(pairwise(heights)) if a * b < 0]
    assert 2 * (turns[1] - turns[0]) * dynamics.dt == pytest.approx(period, rel=0.03)


def test_a_bar_bounces_off_a_heavy_plate():
    """It leaves at (1 + e) M V / (M + m). In theory e is 1 where M >> m; transfers take a part of the wave front."""
    plate = Box(half_sizes=(0.15, 0.15, 0.06), friction=0.0)
    body = RigidBody(name="plate", mass=200.0, inertia=(1.0, 1.0, 2.0), shapes=[plate], pos=(0.4, 0.4, 0.24))
    bar = block(low=(0.35, 0.35, 0.31), size=(0.1, 0.1, 0.2), count=(6, 6, 13), parameters={"E": 1e4, "nu": 0.0})
    model = some_model(bar, cells=32, rigid_bodies=[body], **NO_GRAVITY)
    dynamics = MpmDynamics(model, dt=4e-3, substeps=8, threads=1)
    state, m = dynamics.rest(), model.masses.sum()
    state.twist[0, 0, 2] = 0.5
    before = momentum(model, state)
    state = run(dynamics, state, 75)
    speeds = [float(state.v[0, :, 2].mean()), float(state.twist[0, 0, 2])]
    state = run(dynamics, state, 5)  # they are apart
    assert speeds == pytest.approx([float(state.v[0, :, 2].mean()), float(state.twist[0, 0, 2])], rel=1e-6)
    np.testing.assert_allclose(momentum(model, state)[0], before[0], atol=1e-5 * before[0, 2])
    restitution = (speeds[0] - speeds[1]) / 0.5
    assert 0.6 < restitution <= 1.0
    assert speeds[0] == pytest.approx((1 + restitution) * 200.0 * 0.5 / (200.0 + m), rel=1e-4)
    assert np.abs(state.twist[0, 0, 3:]).max() < 1e-3
