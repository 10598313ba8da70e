"""Convex hulls of meshes, and meshes on the ground."""

from __future__ import annotations

import dataclasses

import mujoco
import numpy as np
import pytest

from diffsim_core.io import ContactParams, load_model
from diffsim_core.io._hulls import hull_points
from diffsim_core.rigid import HeightField, Hull, RigidModel, twin
from diffsim_core.rigid.hulls import spread_directions

from .host import Step, step, vjp
from .test_dynamics import central_differences, dynamics, relative
from .test_pairs import tumbled_states

CUBE = '<mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1 1 1 0 1 0 1 0 1 1 1 1 1 .5 .5 .5"/>'
BOX = 'type="box" size=".5 .5 .5" pos=".5 .5 .5"'
EGG = '<mesh name="m" builtin="sphere" params="2" scale=".1 .2 .3"/>'


def free(mesh: str, *, geom: str = "", ground: bool = True, pos: str = "0 0 1") -> str:
    plane = '<geom name="ground" type="plane" size="5 5 1"/>' if ground else ""
    return f"""<mujoco><asset>{mesh}</asset><worldbody>{plane}<body pos="{pos}"><freejoint/>
      <geom name="g" type="mesh" mesh="m" {geom}/></body></worldbody></mujoco>"""


def hull(mesh: str) -> Hull:
    (geom,) = load_model(free(mesh, ground=False)).geoms
    assert geom.hull is not None
    return geom.hull


def test_the_hull_of_a_cube_has_eight_corners_six_faces_and_twelve_edges() -> None:
    found = hull(CUBE)
    assert found.vertices.shape == (8, 3)
    assert found.planes.shape == (6, 4) and np.allclose(np.abs(found.planes).sum(axis=1), 1.5)
    lengths = np.linalg.norm(np.diff(found.vertices[found.edges], axis=1), axis=2)
    assert found.edges.shape == (12, 2) and np.allclose(lengths, 1)


def test_a_hull_is_a_polyhedron_within_its_planes() -> None:
    found = hull(EGG)
    n, e, f = (len(x) for x in (found.vertices, found.edges, found.planes))
    assert n - e + f == 2  # Euler
    gaps = found.planes[:, 3] - found.vertices @ found.planes[:, :3].T
    assert gaps.min() > -1e-7 and np.allclose(np.sort(gaps, axis=0)[:3], 0, atol=1e-7)
    assert np.allclose(np.linalg.norm(found.planes[:, :3], axis=1), 1)


def test_support_is_the_furthest_vertex() -> None:
    found, directions = hull(EGG), spread_directions(50)
    reach = np.einsum("dk,dk->d", found.support(directions), directions)
    exact = np.linalg.norm(directions * [0.1, 0.2, 0.3], axis=1)
    assert (reach <= exact + 1e-7).all() and (reach > 0.97 * exact).all()


def test_directions_are_spread_over_the_sphere() -> None:
    directions = spread_directions(64)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    nearest = np.arccos(np.clip(spread_directions(5000) @ directions.T, -1, 1)).min(axis=1)
    assert nearest.max() < 0.35  # rad; caps of the same area have 0.25


@pytest.mark.parametrize("mask", ['contype="0" conaffinity="0"', ""])
def test_only_a_mesh_that_may_touch_something_has_a_hull(mask: str) -> None:
    (geom,) = load_model(free(CUBE, geom=mask, ground=False)).geoms
    assert (geom.hull is None) == bool(mask)


def test_vertices_are_where_mujoco_has_them() -> None:
    xml = free(EGG, geom='pos=".1 .2 .3" euler="10 20 30"', ground=False)
    (geom,) = load_model(xml).geoms
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    mujoco.mj_forward(m, d)
    assert geom.hull is not None
    np.testing.assert_allclose(geom.pos, d.geom_xpos[0] - d.xpos[1], atol=1e-9)
    half = np.abs(geom.hull.vertices).max(axis=0)
    np.testing.assert_allclose(half, m.geom_aabb[0, 3:], atol=1e-6)


def world(mesh: str, ground: float | HeightField = 0.0, **options) -> RigidModel:
    """A free mesh on its own."""
    return load_model(
        free(mesh, geom='pos=".02 .01 .03" euler="10 20 30"', ground=False, pos="0 0 0"), ground=ground, **options
    )


def polygon(sides: int, radius: float, half: float) -> str:
    turn = 2 * np.pi * np.arange(sides) / sides
    ends = [np.stack([radius * np.cos(turn), radius * np.sin(turn), 0 * turn + z], axis=1) for z in (-half, half)]
    return mesh_of(np.concatenate(ends))


def mesh_of(vertices: np.ndarray) -> str:
    return f'<mesh name="m" vertex="{" ".join(f"{x:.7f}" for x in vertices.ravel())}"/>'


FOOT = mesh_of(
    np.array([[x, y, z - 0.03] for x in (-0.06, 0.16) for y in (-0.04, 0.04) for z in (0.0, 0.01)] + [[0, 0, 0.08]])
)
DISC = polygon(24, 0.08, 0.02)
MESHES = {"cube": CUBE, "egg": EGG, "foot": FOOT, "disc": DISC}


@pytest.mark.parametrize("mesh", MESHES.values(), ids=MESHES)
def test_points_are_vertices_that_reach_as_far_as_the_hull(mesh: str) -> None:
    found = hull(mesh)
    places, share = hull_points(found)
    size = np.linalg.norm(np.ptp(found.vertices, axis=0)) / 2
    directions = spread_directions(3000)
    short = np.max(directions @ found.vertices.T, axis=1) - np.max(directions @ places.T, axis=1)
    assert len(places) <= 64 and short.max() < 0.03 * size
    assert (np.linalg.norm(places[:, None] - found.vertices, axis=2).min(axis=1) == 0).all()
    assert (share > 0.3).all() and (share <= 1).all()


def test_a_face_of_many_corners_is_as_stiff_as_a_box_or_a_little_stiffer() -> None:
    places, share = hull_points(hull(DISC))
    assert 4 < share[places[:, 2] < 0].sum() < 12
    assert (hull_points(hull(CUBE))[1] == 1).all()


def test_a_cube_moves_as_a_box() -> None:
    xml = free(CUBE, ground=False, pos="0 0 0")
    mesh, box = load_model(xml, ground=0.0), load_model(xml.replace('type="mesh" mesh="m"', BOX), ground=0.0)
    np.testing.assert_allclose(mesh.link_inertia, box.link_inertia, rtol=1e-5)
    arrays = tumbled_states(box, 20, seed=0)
    a, b = (dynamics(m).probe(*arrays) for m in (mesh, box))
    assert (a.contacts > 0).sum() > 5
    np.testing.assert_allclose(a.qdd, b.qdd, rtol=1e-4, atol=1e-3)


def settled(model: RigidModel, seconds: float = 2.0, qd: np.ndarray | None = None) -> Step:
    d = dynamics(model, substeps=16)
    q, qd = model.q_ref[None].copy(), np.zeros((1, 6)) if qd is None else qd
    for _ in range(int(seconds / d.dt)):
        out = step(d, q, qd, np.zeros((1, 0)))
        q, qd = out.q, out.qd
    return out


@pytest.mark.parametrize(("mesh", "quat"), [(FOOT, "1 0 0 0"), (DISC, "1 0 0 0"), (DISC, "0 1 0 0")])
def test_height_at_rest_is_mujocos(mesh: str, quat: str) -> None:
    xml = free(mesh, pos="0 0 .04").replace("<body ", f'<body quat="{quat}" ')
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    for _ in range(1000):
        mujoco.mj_step(m, d)
    weight = 9.81 * m.body_mass[1]
    model = load_model(xml, contact=ContactParams(kn=500 * weight, kd=2000 * weight, kt=5 * weight, mu=1.0))
    found = settled(model)
    assert found.ok.all() and np.abs(found.qd).max() < 0.02
    assert found.q[0, 2] == pytest.approx(d.qpos[2], abs=0.001)
    np.testing.assert_allclose(np.abs(found.q[0, 3:]), np.abs(d.qpos[3:]), atol=0.002)


def test_a_foot_that_stands_on_its_sole_does_not_turn() -> None:
    model = load_model(free(FOOT, pos="0 0 .03"))
    found = settled(model, qd=np.array([[0, 0, 0, 0, 0, 3.0]]))
    assert abs(found.qd[0, 5]) < 1e-3
    turned = 2 * np.arctan2(found.q[0, 6], found.q[0, 3])
    assert 0 < turned < 0.3


HILLS = HeightField(
    heights=np.random.default_rng(0).uniform(-0.2, 0.2, (7, 9)),
    origin=np.array([-1.0, -0.8]),
    spacing=np.array([0.25, 0.3]),
)


@pytest.mark.parametrize("ground", [0.0, HILLS], ids=["plane", "hills"])
def test_forces_and_gradients(ground: float | HeightField) -> None:
    model = world(EGG, ground, contact=ContactParams(kn=2e3, kd=300.0, kt=50.0, mu=0.8))
    d = dynamics(model, substeps=2)
    arrays = tumbled_states(model, 24, seed=3)
    found = d.probe(*arrays)
    assert (found.contacts > 2).sum() > 6
    for i, state in enumerate(zip(*arrays, strict=True)):
        assert relative(found.qdd[i], twin.forward_dynamics(model, *state)) < 1e-9
    rng = np.random.default_rng(4)
    gq, gqd = rng.standard_normal(arrays[0].shape), rng.standard_normal(arrays[1].shape)
    given, expected = vjp(d, *arrays, gq, gqd), central_differences(d, arrays, gq, gqd, eps=1e-7)
    for a, b in zip(given[:2], expected[:2], strict=True):
        assert np.abs(a - b).max(axis=1) == pytest.approx(0, abs=1e-6 * np.abs(b).max())


@pytest.mark.parametrize("ground", [0.0, HILLS], ids=["plane", "hills"])
def test_no_point_is_left_out_where_a_shape_barely_touches(ground: float | HeightField) -> None:
    """The engine passes over shapes in the air, the twin looks at every point."""
    model = world(EGG, ground, contact=ContactParams(kn=2e3, kd=0.0, kt=0.0, mu=0.0))
    model = dataclasses.replace(model, contact_smoothing=0.01)
    arrays = tumbled_states(model, 64, seed=5)
    arrays[0][:, 2] = np.linspace(0, 0.6, 64)
    found = dynamics(model).probe(*arrays)
    exact = np.stack([twin.forward_dynamics(model, *state) for state in zip(*arrays, strict=True)])
    np.testing.assert_allclose(found.qdd, exact, rtol=1e-9, atol=1e-8)
    forces = [twin.contact_forces(model, twin.kinematics(model, q), qd) for q, qd, _ in zip(*arrays, strict=True)]
    assert 10 < np.any(forces, axis=1).sum() < 54


@pytest.mark.parametrize(("kind", "points"), [("box", 8), ("ellipsoid", 1)])
def test_a_mesh_may_count_as_the_shape_around_it(kind: str, points: int) -> None:
    model = load_model(free(EGG), mesh=kind)
    assert model.nc == points and model.geoms[1].type == "mesh"
    found = settled(load_model(free(EGG, pos="0 0 .3"), mesh=kind))
    assert found.q[0, 2] == pytest.approx(0.3, abs=0.021)


def test_meshes_may_be_left_out() -> None:
    model = load_model(free(EGG), mesh="off")
    assert model.nc == 0 and model.notes == ('contact of the meshes g is not simulated: mesh="off"',)
    assert load_model(free(EGG, geom='contype="0"', ground=False), mesh="off").notes == ()
    with pytest.raises(ValueError, match="mesh is 'cube': use 'hull', 'box', 'ellipsoid', 'off'"):
        load_model(free(EGG), mesh="cube")
