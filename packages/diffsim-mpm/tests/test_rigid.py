"""Free rigid bodies among particles: the twin, gradients, what must be conserved, and closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import diffsim_core
from diffsim_mpm import _launches, twin, twin_rigid
from diffsim_mpm.chain import Joint, KinematicChain, place
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.rigid import RigidBody
from diffsim_mpm.shapes import Box, Capsule, Cylinder, Plane, Sphere
from diffsim_mpm.twin_coupling import signed_distance

from .host import block, some_model, some_state, step, vjp
from .host import box as host_box
from .shuffled import for_cuda
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
    q = np.tile([0.1, 0.05], (n, 1)).astype(dynamics.dtype)
    state = state._replace(q=q, F=0.97 * state.F, pose=pose.astype(dynamics.dtype), twist=twist)
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
    assert relative_error(dynamics, state, 6, u, load=load) < 1e-6


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


@pytest.mark.parametrize("atomics", [False, True])
def test_cuda_source_on_a_cpu(monkeypatch, atomics):
    """What is made for CUDA does the same, one item after the other; also with lost worlds."""
    names = ("E", "mass:heavy", "inertia_xy")
    expected = coupled(parameters=names)
    for_cuda(monkeypatch)
    dynamics = coupled(parameters=names, atomics=atomics)
    state, load, u = some_motion(dynamics, 4, 12)
    state.x[1, 7] = 2.0
    state.twist[2, 1, 3] = np.nan
    found, ok = everything(dynamics, state, load, u)
    assert ok.tolist() == [1, 0, 0, 1]
    for one, other in zip(found, everything(expected, state, load, u)[0], strict=True):
        assert one == pytest.approx(other, abs=1e-10 * max(1.0, np.nanmax(np.abs(other))), nan_ok=True)


def test_bits_do_not_depend_on_worlds_and_threads():
    dynamics = coupled("float32", parameters=("mass",))
    state, load, u = some_motion(dynamics, 5, 14)
    together, ok = everything(dynamics, state, load, u)
    assert ok.all()
    again, _ = everything(coupled("float32", parameters=("mass",), threads=3), state, load, u)
    assert all((a == b).all() for a, b in zip(together, again, strict=True))
    out, _ = step(dynamics, state, u, load=load)
    for i in range(5):
        alone, _ = step(dynamics, type(state)(*(a[i : i + 1] for a in state)), u[i : i + 1], load=load[i : i + 1])
        assert all((a[i] == b[0]).all() for a, b in zip(out, alone, strict=True))


@pytest.mark.parametrize("wrong", ["place", "attitude", "spin", "load", "fast"])
def test_a_lost_world_is_contained(wrong):
    dynamics = coupled("float32", parameters=("E", "mass"))
    state, load, u = some_motion(dynamics, 3, 15)
    clean, _ = everything(dynamics, state, load, u)
    bad, bad_load = type(state)(*(a.copy() for a in state)), load.copy()
    if wrong == "load":
        bad_load[1, 0, 4] = np.nan
    elif wrong == "attitude":
        bad.pose[1, 1, 3:] = 0.0
    elif wrong == "fast":
        bad.twist[1, 0, 0] = 2e6
    else:
        (bad.pose if wrong == "place" else bad.twist)[1, 0, 2] = np.inf
    lost, ok = everything(dynamics, bad, bad_load, u)
    assert ok.tolist() == [1, 0, 1]
    for k, (a, b) in enumerate(zip(lost, clean, strict=True)):
        assert (a[[0, 2]] == b[[0, 2]]).all()
        expected = bad[k][1] if k < len(state) else 0.0
        assert np.array_equal(a[1], np.broadcast_to(expected, a[1].shape), equal_nan=True)


def test_grids_that_are_not_kept_are_made_again(monkeypatch):
    found = []
    for nodes in (1000, 150, 0):
        monkeypatch.setattr(_launches, "_KEPT_NODES", nodes)
        monkeypatch.setattr(_launches, "_KEPT_NODES_A_PARTICLE", 0)
        dynamics = coupled("float32", parameters=("mass",))
        found.append(everything(dynamics, *some_motion(dynamics, 2, 16))[0])
    for other in found[1:]:
        assert all((a == b).all() for a, b in zip(found[0], other, strict=True))


def test_float32_gradients_over_8_control_steps():
    pulled = {}
    for dtype in ("float32", "float64"):
        dynamics = coupled(dtype, dt=2e-3, substeps=10)
        state, load, u = some_motion(dynamics, 2, 17)
        states = [state]
        for _ in range(8):
            state, ok = step(dynamics, state, u, load=load)
            assert ok.all()
            states.append(state)
        random = np.random.default_rng(18)
        g = [random.standard_normal(a.shape) for a in state]
        for before in states[-2::-1]:
            g = list(vjp(dynamics, before, ok, g, u, load=load).values())[: len(state)]
        pulled[dtype] = [np.asarray(a, np.float64).reshape(2, -1) for a in g]
    for a, b in zip(pulled["float32"][:-1], pulled["float64"][:-1], strict=True):  # no wrench is read
        assert ((a * b).sum(axis=1) > 0.999 * np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)).all()


def test_through_torch():
    """The state goes through the bridge by its names, and a load has a gradient."""
    torch = pytest.importorskip("torch")
    dynamics = coupled("float64")
    state, load, u = some_motion(dynamics, 2, 19)
    state = dynamics.state_type(*(torch.tensor(a) for a in state))
    pull = torch.tensor(load).requires_grad_()
    after, ok = diffsim_core.differentiable(dynamics)(state, (torch.tensor(u), pull))
    assert ok.all() and after._fields[-3:] == ("pose", "twist", "wrench")
    after.twist[..., 0].sum().backward()
    sub_steps = dynamics.dt / np.array([0.2, dynamics.model.rigid_bodies[1].mass])
    # the force acts on the body alone, or on what it carries along as well
    assert ((pull.grad[..., 0].numpy() > 0) & (pull.grad[..., 0].numpy() < 1.001 * sub_steps)).all()


GOOD = {"name": "ball", "mass": 1.0, "inertia": (1e-3,) * 3, "shapes": [Sphere(radius=0.05)], "pos": (0.4, 0.4, 0.7)}
BAD_BODIES = {
    "mass": ({"mass": 0.0}, r"rigid body 'ball': mass=0.0 must be positive \[kg\]"),
    "not a mass": ({"mass": np.nan}, "mass=nan must be positive"),
    "inertia": ({"inertia": (1e-3, 1e-3)}, r"inertia has shape \(2,\)"),
    "symmetric": ({"inertia": [[1, 0.1, 0], [0, 1, 0], [0, 0, 1]]}, "is not symmetric"),
    "definite": ({"inertia": (1e-3, -1e-3, 1e-3)}, "principal moment -0.001, all must be positive"),
    "triangle": ({"inertia": (1e-3, 1e-3, 3e-3)}, "no body has the principal moments 0.001, 0.001, 0.003"),
    "no shapes": ({"shapes": []}, "has no shapes"),
    "plane": ({"shapes": [Plane(name="table")]}, "Plane 'table' has no end; give a box"),
    "joint": ({"shapes": [Sphere(radius=0.1, joint="arm")]}, "Sphere is on joint 'arm'"),
    "pos": ({"pos": (0.0, np.nan, 0.0)}, "pos=.* must be 3 finite numbers"),
    "quat": ({"quat": (0.0, 0.0, 0.0, 0.0)}, "quat=.* must not be zero"),
    "stiffness": ({"stiffness": -1.0}, "stiffness=-1.0 must be at least 0"),
}
BAD_MODELS = {
    "names": ({"name": "block"}, {}, "two bodies are called 'block'"),
    "outside": (
        {"pos": (0.4, 0.4, 0.95)},
        {},
        r"rigid body 'ball' reaches .* beyond a side of the grid, where z is from",
    ),
    "overlap": ({"pos": (0.4, 0.4, 0.5)}, {}, r"rigid body 'ball' lies on \d+ particles of body 'block'; move one"),
    "stiff": ({"stiffness": 1e8}, {}, "too long for rigid body 'ball' on the ground: stable are at most"),
    "loads": (None, {"loads": True}, "loads=True: the model has no rigid bodies"),
    "parameter": ({}, {"parameters": ("mass:bal",)}, "unknown parameter 'mass:bal'.*mass:ball"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies_are_refused_by_name(name):
    wrong, message = BAD_BODIES[name]
    with pytest.raises(ValueError, match=message):
        RigidBody(**GOOD | wrong)


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models_are_refused_by_name(name):
    wrong, options, message = BAD_MODELS[name]
    ball = () if wrong is None else (RigidBody(**GOOD | wrong),)
    with pytest.raises(ValueError, match=message):
        MpmDynamics(some_model(block(), rigid_bodies=ball), dt=1e-3, substeps=2, threads=1, **options)


def test_a_state_without_attitude_is_refused():
    dynamics = coupled()
    state = dynamics.rest(3)
    dynamics.check_state(state)
    state.pose[2, 1, 3:] = 0.0
    with pytest.raises(ValueError, match=r"1 rigid bodies have no attitude.*\(2, 1\) at \[0.0, 0.0, 0.0, 0.0\]"):
        dynamics.check_state(state)


@pytest.mark.parametrize("density", [0.0, -1.0, np.inf])
def test_a_solid_has_a_density(density):
    with pytest.raises(ValueError, match="must be positive"):
        RigidBody.solid(name="ball", shapes=[Sphere(radius=0.1)], density=density)


@pytest.mark.parametrize(
    "shape",
    [
        Sphere(radius=0.1, pos=(0.1, 0.2, 0.3)),
        Capsule(radius=0.06, half_length=0.08, quat=(0.8, 0.3, 0.1, 0.2)),
        Cylinder(radius=0.07, half_length=0.05, quat=(0.8, 0.3, 0.1, 0.2), pos=(0.0, 0.1, 0.0)),
        Box(half_sizes=(0.1, 0.05, 0.03), quat=(0.8, 0.3, 0.1, 0.2)),
        Box(half_sizes=(0.1, 0.05, 0.03), radius=0.02, pos=(0.1, 0.0, 0.0)),
    ],
    ids=["sphere", "capsule", "cylinder", "box", "rounded box"],
)
def test_a_solid_has_the_mass_and_inertia_of_its_shapes(shape):
    """Against small cells in a box around it."""
    body = RigidBody.solid(name="solid", shapes=[shape, replace(shape, pos=(0.5, 0.0, 0.0))], density=700.0)
    mass, first, second = 0.0, np.zeros(3), np.zeros((3, 3))
    at = host_box((-0.2,) * 3, (0.4,) * 3, (80, 80, 80))
    for each in body.shapes:
        pose = place(each)
        inside = at[signed_distance(each, at)[0] < 0] @ pose[:9].reshape(3, 3) + pose[9:]
        per = 700.0 * 0.4**3 / len(at)
        mass, first, second = (
            mass + per * len(inside),
            first + per * inside.sum(axis=0),
            second + per * inside.T @ inside,
        )
    centre = first / mass
    about = second - mass * np.outer(centre, centre)
    assert body.mass == pytest.approx(mass, rel=0.02)
    np.testing.assert_allclose(body.centre, centre, atol=2e-3)
    inertia = np.trace(about) * np.eye(3) - about
    np.testing.assert_allclose(body.inertia, inertia, atol=0.02 * np.abs(inertia).max())


def on_shapes(kind):
    """A body on a table, a ball, a box and sampled distances that move with joints, and what moves it."""
    body = replace(in_the_corner(kind), pos=(0.4, 0.4, 0.4), name="held")
    chain = KinematicChain(
        (Joint(name="turn", axis=(1, 2, 3), pos=(0.38, 0.4, 0.35)), Joint(name="lift", kind="slide", parent="turn")),
        (
            Plane(joint="turn", pos=(0.0, 0.0, 0.04), friction=0.4),
            Sphere(radius=0.07, joint="lift", pos=(0.1, 0.02, 0.07), friction=0.0),
            Box(half_sizes=(0.03, 0.06, 0.05), joint="lift", pos=(-0.08, 0.02, 0.08), friction=99.0),
            ellipsoid(joint="turn", pos=(0.02, 0.16, 0.06), friction=0.7),
        ),
    )
    model = some_model(block(low=(0.6, 0.6, 0.6)), rigid_bodies=[body], shapes=chain, gravity=(0.0, 0.0, -1.0))
    options = {"dtype": "float64", "threads": 1, "loads": True, "reactions": True, "parameters": ("mass", "inertia_yy")}
    dynamics = MpmDynamics(model, dt=2e-3, substeps=4, **options)
    random = np.random.default_rng(22)
    state = dynamics.rest(2)
    state = state._replace(
        q=0.1 * random.standard_normal((2, 2)),
        x=state.x - 0.1,
        v=0.1 * random.standard_normal(state.v.shape),
        pose=state.pose + 0.01 * random.standard_normal(state.pose.shape),
        twist=random.standard_normal(state.twist.shape) * [[[0.5, 0.4, -0.3, 2, 3, 4]]],
    )
    load = random.standard_normal((2, 1, 6)) * [1, 1, 1, 0.02, 0.02, 0.02]
    return dynamics, state, load, 0.01 * random.standard_normal((2, 2))


@pytest.mark.parametrize("kind", ["sphere", "box", "cylinder"])
def test_twin_and_gradients_on_shapes(kind):
    """Also by and of what the shapes feel."""
    dynamics, state, load, u = on_shapes(kind)
    out, ok = step(dynamics, state, u, load=load)
    assert ok.all()
    assert (np.abs(out.wrench[:, :, :3]).max(axis=2) > 0).sum() >= 5  # most of the shapes hold it
    for i in range(2):
        impulses = np.zeros((4, 6))
        expected = twin.step(
            dynamics.model, twin_world(dynamics, state, i), u[i], dynamics.dt, 4, impulses=impulses, load=load[i]
        )
        for name in ("pose", "twist"):
            np.testing.assert_allclose(getattr(out, name)[i], getattr(expected, name), rtol=0, atol=1e-11)
        np.testing.assert_allclose(out.wrench[i], impulses / dynamics.dt, atol=1e-10 * np.abs(impulses / 2e-3).max())
    assert relative_error(dynamics, state, 23, u, load=load) < 1e-6


@pytest.mark.parametrize("make", [lambda: some_motion_of(coupled("float32")), lambda: on_shapes("box")])
def test_the_order_of_threads_changes_no_bit(monkeypatch, make):
    """On CUDA, in both passes."""
    found = []
    for seed in range(2):
        with monkeypatch.context() as patch:
            for_cuda(patch, np.random.default_rng(seed))
            arrays, ok = everything(*make())
            assert ok.all()
            found.append(arrays)
    assert all((a == b).all() for a, b in zip(*found, strict=True))


def some_motion_of(dynamics):
    return (dynamics, *some_motion(dynamics, 2, 25))


def test_cuda_source_on_shapes(monkeypatch):
    expected = everything(*on_shapes("box"))[0]
    for_cuda(monkeypatch)
    for one, other in zip(everything(*on_shapes("box"))[0], expected, strict=True):
        assert one == pytest.approx(other, abs=1e-10 * max(1.0, np.abs(other).max()))
