"""Shapes and their contact with grid nodes: gradients by finite differences, the twin, friction, broad phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffsim_mpm import twin_coupling as twin
from diffsim_mpm.chain import KinematicChain
from diffsim_mpm.shapes import Box, Capsule, Cylinder, Plane, Shape, SignedDistanceGrid, Sphere

from .coupling_probe import Probe

DT = 1e-3


def ellipsoid(softness: float = 200.0, **shape: Any) -> SignedDistanceGrid:
    """Not quite a distance, which shows what the code assumes."""
    axis = np.linspace(-0.16, 0.16, 17)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    samples = np.sqrt(x**2 + (1.3 * y) ** 2 + (0.9 * z) ** 2) - 0.1
    return SignedDistanceGrid(samples=samples, origin=(-0.16,) * 3, spacing=0.02, softness=softness, **shape)


TURNED = {"pos": (0.03, -0.02, 0.05), "quat": (0.9, 0.2, -0.3, 0.1)}
SHAPES: dict[str, Any] = {
    "sphere": lambda **more: Sphere(radius=0.1, **more),
    "capsule": lambda **more: Capsule(radius=0.05, half_length=0.08, **more),
    "box": lambda **more: Box(half_sizes=(0.1, 0.06, 0.08), **more),
    "rounded box": lambda **more: Box(half_sizes=(0.08, 0.05, 0.06), radius=0.02, **more),
    "cylinder": lambda **more: Cylinder(radius=0.08, half_length=0.06, **more),
    "plane": lambda **more: Plane(**more),
    "sampled": ellipsoid,
}


def moved(chain: KinematicChain, seed: int) -> tuple[Any, Any]:
    """Poses now and at the end of a sub-step: turned and moved a little."""
    random = np.random.default_rng(seed)
    pose = twin.poses(chain, np.zeros(chain.nq))
    after = []
    for p in pose:
        skew = np.cross(np.eye(3), -1e-3 * random.standard_normal(3))
        turn = np.eye(3) + skew + 0.5 * skew @ skew
        after.append(
            np.concatenate([(turn @ p[:9].reshape(3, 3).T).T.ravel(), p[9:] + 1e-3 * random.standard_normal(3)])
        )
    return pose, np.array(after)


def nodes_at(shape: Shape, pose: Any, distances: tuple[float, float], n: int, seed: int) -> Any:
    """Points in the world between two distances from the shape."""
    random, found = np.random.default_rng(seed), np.zeros((0, 3))
    while len(found) < n:
        local = random.uniform(-0.14, 0.14, (4000, 3))
        d, _ = twin.signed_distance(shape, local)
        found = np.concatenate([found, local[(d > distances[0]) & (d < distances[1])]])
    return found[:n] @ pose[:9].reshape(3, 3) + pose[9:]


def velocities(n: int, seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((n, 3))


def central(f: Any, x: Any, h: float = 1e-6) -> Any:
    """Gradient of a function of arrays by central differences, number by number."""
    g = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        g[i] = (f(up) - f(down)) / (2 * h)
    return g


def check_vjp(chain: KinematicChain, x: Any, v: Any, seed: int, tolerance: float = 1e-6) -> dict[str, Any]:
    probe, random = Probe(chain), np.random.default_rng(seed)
    pose, pose_next = moved(chain, seed)
    mass = random.uniform(0.5, 2.0, len(x))
    gv_out, gimpulse = random.standard_normal(x.shape), 0.3 * random.standard_normal((len(pose), 6))
    given = {"pose": pose, "pose_next": pose_next, "mass": mass, "v": v}

    def loss(**changed: Any) -> float:
        values = given | changed
        v_out, impulse = probe.collide(values["pose"], values["pose_next"], DT, x, values["mass"], values["v"])
        return float(np.sum(gv_out * v_out) + np.sum(gimpulse * impulse))

    back = probe.collide_vjp(pose, pose_next, DT, x, mass, v, gv_out, gimpulse)
    for name, value in given.items():
        by_differences = central(lambda a, name=name: loss(**{name: a}), value)
        error = np.abs(back["g" + name] - by_differences).max() / max(np.abs(by_differences).max(), 1.0)
        assert error < tolerance, f"{name}: {error}"
    return back


@pytest.mark.parametrize("where", [(-0.04, -0.01), (0.001, 0.01), (-0.03, 0.02)], ids=["inside", "zone", "both"])
@pytest.mark.parametrize("name", SHAPES)
def test_gradient(name: str, where: tuple[float, float]) -> None:
    shape = SHAPES[name](softness=200.0, friction=0.4, **TURNED)
    chain = KinematicChain((), (shape,))
    pose, _ = moved(chain, 1)
    x = nodes_at(shape, pose[0], where, 16, seed=2)
    back = check_vjp(chain, x, velocities(16, 3), seed=1)
    assert np.abs(back["gpose"]).max() > 0.1 and np.abs(back["gpose_next"]).max() > 10


@pytest.mark.parametrize("name", SHAPES)
def test_gradient_on_planes_of_symmetry(name: str) -> None:
    """Nodes of a grid often have a coordinate of exactly zero in the frame of a shape that no joint has turned yet."""
    shape = SHAPES[name](softness=200.0, friction=0.4)
    chain = KinematicChain((), (shape,))
    signs = np.array([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1) if i or j or k])
    rays = signs[:, None] * np.array([0.7, 1.1, 0.9]) * np.linspace(0.001, 0.14, 140)[:, None]
    d = twin.signed_distance(shape, rays.reshape(-1, 3))[0].reshape(rays.shape[:2])
    near = (d > 0.001) & (d < 0.006)
    x = np.array([points[close][0] for points, close in zip(rays, near, strict=True) if close.any()])
    assert (x == 0).any(axis=1).sum() >= 5
    x = np.concatenate([x] * 4)  # whole lanes
    check_vjp(chain, x, velocities(len(x), 20), seed=19)


@pytest.mark.parametrize("friction", [0.0, 0.3, 5.0, 99.0], ids=["slip", "slide", "stick", "sticky"])
def test_gradient_by_friction(friction: float) -> None:
    shape = Box(half_sizes=(0.1, 0.06, 0.08), radius=0.01, softness=200.0, friction=friction, **TURNED)
    chain = KinematicChain((), (shape,))
    x = nodes_at(shape, moved(chain, 4)[0][0], (-0.01, 0.01), 32, seed=5)
    check_vjp(chain, x, velocities(32, 6), seed=4)


def test_gradient_of_many_shapes() -> None:
    """Each acts on what the ones before it left, and the moment is about each one's own origin."""
    shapes = [make(softness=100.0, friction=0.3, pos=(0.02 * k, 0.0, 0.01)) for k, make in enumerate(SHAPES.values())]
    chain = KinematicChain((), tuple(shapes))
    x = np.random.default_rng(7).uniform(-0.1, 0.1, (24, 3))
    back = check_vjp(chain, x, velocities(24, 8), seed=9)
    assert (np.abs(back["gpose"]).max(axis=1) > 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("friction", [0.0, 0.5, 200.0])
def test_twin(friction: float, dtype: str) -> None:
    shapes = tuple(make(softness=300.0, friction=friction, **TURNED) for make in SHAPES.values())
    chain = KinematicChain((), shapes)
    pose, pose_next = moved(chain, 11)
    x = np.random.default_rng(12).uniform(-0.2, 0.2, (4000, 3))
    mass = np.where(np.arange(4000) % 5 == 0, 0.0, 1.5)
    v = velocities(4000, 13)
    wanted, impulses = twin.collide(chain, pose, pose_next, DT, x, mass, v)
    found, pushed = Probe(chain, dtype).collide(pose, pose_next, DT, x, mass, v)
    # a node at a switch may take the other side in single precision
    off = np.abs(found - wanted).max(axis=1) / (1 + np.abs(wanted).max())
    assert np.quantile(off, 0.995) < (1e-3 if dtype == "float32" else 1e-12)
    if dtype == "float64":
        assert np.abs(found - wanted).max() < 1e-9
        np.testing.assert_allclose(pushed, impulses, atol=1e-9 * np.abs(impulses).max())
    np.testing.assert_array_equal(found[::5], v[::5].astype(dtype))


def test_made_for_cuda_is_the_same() -> None:
    """What CUDA compiles, one node at a time, run here."""
    chain = KinematicChain((), tuple(make(softness=200.0, **TURNED) for make in SHAPES.values()))
    pose, pose_next = moved(chain, 14)
    x, v = np.random.default_rng(15).uniform(-0.15, 0.15, (40, 3)), velocities(40, 16)
    given = (pose, pose_next, DT, x, np.ones(40), v)
    one, many = Probe(chain, on_cuda=True), Probe(chain)
    for a, b in zip(one.collide(*given), many.collide(*given), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    given = (*given, v, np.ones((len(pose), 6)))
    ones, manys = one.collide_vjp(*given), many.collide_vjp(*given)
    for name, a in ones.items():
        np.testing.assert_allclose(a, manys[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "sampled"])
def test_distance_is_one(name: str) -> None:
    """|grad d| = 1 and n = grad d, and a step along n ends on the surface; the samples here are of no distance."""
    shape = SHAPES[name]()
    x = np.random.default_rng(17).uniform(-0.2, 0.2, (500, 3))
    d, n = twin.signed_distance(shape, x)
    np.testing.assert_allclose(np.linalg.norm(n, axis=1), 1.0, atol=1e-12)
    slope = np.stack(
        [(twin.signed_distance(shape, x + h)[0] - twin.signed_distance(shape, x - h)[0]) for h in 1e-7 * np.eye(3)], 1
    )
    np.testing.assert_allclose(slope / 2e-7, n, atol=1e-5)
    outside = d > 0
    on, _ = twin.signed_distance(shape, x[outside] - n[outside] * d[outside, None])
    np.testing.assert_allclose(on, 0.0, atol=1e-12)


def test_closed_forms() -> None:
    """A resting plane: what comes in at an angle leaves along it with what Coulomb leaves; what leaves is not held."""
    x = np.tile([0.0, 0.0, -0.01], (8, 1))
    v = np.tile([[3.0, 4.0, -2.0], [3.0, 4.0, 2.0]], (4, 1))

    def after(friction: float) -> Any:
        chain = KinematicChain((), (Plane(friction=friction),))
        pose = twin.poses(chain, [])
        found, impulse = Probe(chain).collide(pose, pose, DT, x, np.full(8, 0.5), v)
        np.testing.assert_allclose(impulse[0, :3], 0.5 * (v - found).sum(axis=0), atol=1e-12)
        np.testing.assert_allclose(impulse[0, 3:], np.cross(x, 0.5 * (v - found)).sum(axis=0), atol=1e-12)
        return found[:2]

    up = [3.0, 4.0, 2.0]
    np.testing.assert_allclose(after(0.0), [[3, 4, 0], up], atol=1e-12)
    np.testing.assert_allclose(after(0.5), [[2.4, 3.2, 0], up], atol=1e-12)  # |t| = 5 loses 0.5 * 2
    np.testing.assert_allclose(after(3.0), [[0, 0, 0], up], atol=1e-12)
    np.testing.assert_allclose(after(99.0), np.zeros((2, 3)), atol=1e-12)


def test_soft_zone() -> None:
    """At distance d a share exp(-softness d) of the change takes place, and none beyond ln(10) / softness."""
    shape = Plane(friction=0.0, softness=100.0)
    chain = KinematicChain((), (shape,))
    pose = twin.poses(chain, [])
    d = np.array([-0.1, 0.0, 0.005, 0.01, 0.02, 0.023, 0.0231, 1.0])
    x, v = np.stack([0 * d, 0 * d, d], 1), np.tile([0.0, 0.0, -1.0], (8, 1))
    found, _ = Probe(chain).collide(pose, pose, DT, x, np.ones(8), v)
    assert shape.reach == pytest.approx(np.log(10) / 100)
    share = np.where(d > shape.reach, 0.0, np.exp(-100 * np.maximum(d, 0)))
    np.testing.assert_allclose(found[:, 2], share - 1, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SHAPES)
def test_nothing_is_infinite_where_directions_end(name: str, dtype: str) -> None:
    """Centre, axis, edges, no relative velocity, no mass: numbers stay finite."""
    chain = KinematicChain((), (SHAPES[name](softness=200.0),))
    pose = twin.poses(chain, [])
    places = [
        [0, 0, 0],
        [0, 0, 0.05],
        [0, 0, 0.08],
        [0.1, 0, 0],
        [0.1, 0.06, 0.08],
        [0.08, 0, 0.06],
        [0, 0.05, 0],
        [9, 9, 9],
    ]
    x = np.array(places, float)
    for v in (np.zeros((8, 3)), velocities(8, 18)):
        for mass in (np.zeros(8), np.ones(8)):
            probe = Probe(chain, dtype)
            out, impulse = probe.collide(pose, pose, DT, x, mass, v)
            assert np.isfinite(out).all() and np.isfinite(impulse).all()
            back = probe.collide_vjp(pose, pose, DT, x, mass, v, np.ones((8, 3)), np.ones((1, 6)))
            assert all(np.isfinite(a).all() for a in back.values())
