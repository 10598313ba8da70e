"""Free rigid bodies among particles: the twin, gradients, what must be conserved, and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from diffsim_mpm import twin, twin_rigid
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.rigid import RigidBody
from diffsim_mpm.shapes import Box, Capsule, Cylinder, Sphere

from .host import block, some_model, some_state, step, vjp
from .test_coupling import ellipsoid
from .test_engine import bodies, hand, relative_error, twin_world

INERTIA = [[2e-3, 3e-4, -2e-4], [3e-4, 3e-3, 1e-4], [-2e-4, 1e-4, 2.5e-3]]


def some_bodies(friction: float = 0.4, softness: float = 60.0):
    """A light one of two shapes with its centre of mass elsewhere, and a heavy one, 0.4 m above the same particles."""
    common = {"friction": friction, "softness": softness}
    turned = {"pos": (0.32, 0.38, 0.7), "quat": (0.9, 0.2, -0.3, 0.1)}
    shapes = (
        Box(half_sizes=(0.08, 0.05, 0.03), **common),
        Capsule(radius=0.03, half_length=0.05, pos=(0.03, 0.02, 0.04), quat=(0.8, 0.3, 0.2, 0.1), **common),
    )
    light = RigidBody(name="light", mass=0.2, inertia=INERTIA, shapes=shapes, centre=(0.01, 0.005, 0.01), **turned)
    heavy = RigidBody.solid(name="heavy", shapes=(Sphere(radius=0.06, **common),), density=9e3, pos=(0.44, 0.35, 0.76))
    return light, heavy


def coupled(dtype: str = "float64", *, friction: float = 0.4, threads: int = 1, **options):
    model = some_model(
        *bodies("von_mises", "drucker_prager"),
        ground_friction=0.3,
        shapes=hand(),
        rigid_bodies=some_bodies(friction),
    )
    options = {"dt": 1e-3, "substeps": 4, "reactions": True, "loads": True} | options
    return MpmDynamics(model, dtype=dtype, threads=threads, **options)


def some_motion(dynamics, n, seed):
    """A state in which the bodies move through the particles, with loads and a motion of the joints."""
    random = np.random.default_rng(seed)
    state = some_state(dynamics, n, seed, strain=0.02)
    pose, twist = state.pose.copy(), random.standard_normal(state.twist.shape).astype(state.twist.dtype)
    pose[..., 2] -= 0.4
    pose[..., 3:] += 0.1 * random.standard_normal(pose[..., 3:].shape)  # of any length
    twist[..., :3] *= 0.5
    state = state._replace(q=np.tile([0.1, 0.05], (n, 1)), F=0.97 * state.F, pose=pose, twist=twist)
    load = random.standard_normal((n, 2, 6)) * [1, 1, 1, 0.02, 0.02, 0.02]
    return state, load, 0.02 * random.standard_normal((n, 2))


@pytest.mark.parametrize("friction", [0.0, 0.4, 5.0, 99.0])
def test_twin(friction):
    dynamics = coupled(friction=friction)
    state, load, u = some_motion(dynamics, 2, 1)
    out, ok = step(dynamics, state, u, load=load)
    assert ok.all()
    still, _ = step(dynamics, state._replace(pose=state.pose + [0, 0, 5, 0, 0, 0, 0]), u, load=load)
    assert (np.abs(out.v - still.v).max(axis=(1, 2)) > 1e-2).all()  # the bodies do touch
    for i in range(2):
        impulses = np.zeros((2, 6))
        expected = twin.step(
            dynamics.model, twin_world(dynamics, state, i), u[i], dynamics.dt, 4, impulses=impulses, load=load[i]
        )
        for name, a in out._asdict().items():
            b = impulses / dynamics.dt if name == "wrench" else getattr(expected, name)
            assert np.abs(a[i] - b).max() <= 1e-10 * max(1.0, np.abs(b).max()), name


def in_the_corner(kind: str) -> RigidBody:
    """A body that just reaches the ground and two walls of ``some_model``."""
    shape = {
        "sphere": Sphere(radius=0.06),
        "box": Box(half_sizes=(0.05, 0.04, 0.03), radius=0.01),
        "cylinder": Cylinder(radius=0.05, half_length=0.04),
        "sampled": ellipsoid(),
    }[kind]
    body = RigidBody.solid(name="corner", shapes=[shape], density=800.0, quat=(0.8, 0.3, -0.4, 0.2))
    moving = twin_rigid.moving(body, body.pose)
    reach = (body.points[:, 3:] - body.points[:, :3] @ moving.axes.T).max(axis=0) - moving.c
    return replace(body, pos=tuple(reach + some_model().sides[:, 0]))


MASS_NAMES = ("mass", "inertia_xx", "inertia_yy", "inertia_zz", "inertia_xy", "inertia_xz", "inertia_yz")


@pytest.mark.parametrize("friction", [0.0, 0.4, 5.0, 99.0])
def test_gradients(friction):
    """By every input: poses, twists, loads, joints, particles, materials, masses and inertias."""
    dynamics = coupled(friction=friction, parameters=("E", *MASS_NAMES))
    state, load, u = some_motion(dynamics, 3, 2)
    assert relative_error(dynamics, state, 4, u, load=load) < 1e-6



@pytest.mark.parametrize("friction", [0.0, 0.3, np.inf])
@pytest.mark.parametrize("kind", ["sphere", "box", "cylinder", "sampled"])
def test_twin_and_gradients_on_the_sides(kind, friction):
    """In the lowest corner, turned, spinning and sliding, away from all particles."""
    model = some_model(block(low=(0.5, 0.5, 0.5)), ground_friction=friction, rigid_bodies=[in_the_corner(kind)])
    options = {"dtype": "float64", "threads": 1, "loads": True, "parameters": MASS_NAMES}
    dynamics = MpmDynamics(model, dt=2e-3, substeps=4, **options)
    random = np.random.default_rng(20)
    state = dynamics.rest(2)
    pose = state.pose + 0.02 * random.standard_normal(state.pose.shape)
    pose[..., :3] = state.pose[..., :3] - 0.5 * model.dx
    state = state._replace(pose=pose, twist=random.standard_normal(state.twist.shape) * [[[0.5, 0.4, -0.3, 2, 3, 4]]])
    load = random.standard_normal((2, 1, 6)) * [1, 1, 1, 0.02, 0.02, 0.02]
    out, ok = step(dynamics, state, load=load)
    assert ok.all()
    for i in range(2):
        expected = twin.step(model, twin_world(dynamics, state, i), None, dynamics.dt, 4, load=load[i])
        for name in ("pose", "twist"):
            np.testing.assert_allclose(getattr(out, name)[i], getattr(expected, name), rtol=0, atol=1e-11)
    free = state.twist[..., :3] + 2e-3 * (np.array([0, 0, -9.81]) + load[..., :3] / model.rigid_bodies[0].mass)
    assert (np.abs(out.twist[..., :3] - free) > 1e-4).all()  # it touches three sides
    assert relative_error(dynamics, state, 21, load=load) < 1e-6


def everything(dynamics, state, load, u):
    random = np.random.default_rng(13)
    out, ok = step(dynamics, state, u, load=load)
    g = [random.standard_normal(a.shape) for a in out]
    return [*out, *vjp(dynamics, state, ok, g, u, load=load).values()], ok


def test_cuda_source_on_a_cpu(monkeypatch):
    """What is made for CUDA does the same, one item after the other; also with lost worlds."""
    names = ("E", "mass:heavy", "inertia_xy")
    expected = coupled(parameters=names)
    build = MpmDynamics._build
    monkeypatch.setattr(MpmDynamics, "_build", lambda self, on_cuda: build(self, True))
    dynamics = coupled(parameters=names)
    state, load, u = some_motion(dynamics, 4, 12)
    state.x[1, 7] = 2.0
    state.twist[2, 1, 3] = np.nan
    found, ok = everything(dynamics, state, load, u)
    assert ok.tolist() == [1, 0, 0, 1]
    for one, other in zip(found, everything(expected, state, load, u)[0], strict=True):
        assert one == pytest.approx(other, abs=1e-10 * max(1.0, np.nanmax(np.abs(other))), nan_ok=True)
