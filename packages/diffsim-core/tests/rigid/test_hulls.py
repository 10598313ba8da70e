"""Convex hulls of meshes."""

import mujoco
import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid.hulls import spread_directions

CUBE = '<mesh name="m" vertex="0 0 0 1 0 0 0 1 0 0 0 1 1 1 0 1 0 1 0 1 1 1 1 1 .5 .5 .5"/>'
EGG = '<mesh name="m" builtin="sphere" params="2" scale=".1 .2 .3"/>'


def free(mesh: str, *, geom: str = "", ground: bool = True, pos: str = "0 0 1") -> str:
    plane = '<geom name="ground" type="plane" size="5 5 1"/>' if ground else ""
    return f"""<mujoco><asset>{mesh}</asset><worldbody>{plane}<body pos="{pos}"><freejoint/>
      <geom name="g" type="mesh" mesh="m" {geom}/></body></worldbody></mujoco>"""


def hull(mesh: str):
    (geom,) = load_model(free(mesh, ground=False)).geoms
    assert geom.hull is not None
    return geom.hull


def test_the_hull_of_a_cube_has_eight_corners_six_faces_and_twelve_edges():
    found = hull(CUBE)
    assert found.vertices.shape == (8, 3)
    assert found.planes.shape == (6, 4) and np.allclose(np.abs(found.planes).sum(axis=1), 1.5)
    lengths = np.linalg.norm(np.diff(found.vertices[found.edges], axis=1), axis=2)
    assert found.edges.shape == (12, 2) and np.allclose(lengths, 1)


def test_a_hull_is_a_polyhedron_within_its_planes():
    found = hull(EGG)
    n, e, f = (len(x) for x in (found.vertices, found.edges, found.planes))
    assert n - e + f == 2  # Euler
    gaps = found.planes[:, 3] - found.vertices @ found.planes[:, :3].T
    assert gaps.min() > -1e-7 and np.allclose(np.sort(gaps, axis=0)[:3], 0, atol=1e-7)
    assert np.allclose(np.linalg.norm(found.planes[:, :3], axis=1), 1)


def test_support_is_the_furthest_vertex():
    found, directions = hull(EGG), spread_directions(50)
    reach = np.einsum("dk,dk->d", found.support(directions), directions)
    exact = np.linalg.norm(directions * [0.1, 0.2, 0.3], axis=1)
    assert (reach <= exact + 1e-7).all() and (reach > 0.97 * exact).all()


def test_directions_are_spread_over_the_sphere():
    directions = spread_directions(64)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    nearest = np.arccos(np.clip(spread_directions(5000) @ directions.T, -1, 1)).min(axis=1)
    assert nearest.max() < 0.35  # rad; caps of the same area have 0.25


@pytest.mark.parametrize("mask", ['contype="0" conaffinity="0"', ""])
def test_only_a_mesh_that_may_touch_something_has_a_hull(mask):
    (geom,) = load_model(free(CUBE, geom=mask, ground=False)).geoms
    assert (geom.hull is None) == bool(mask)


def test_vertices_are_where_mujoco_has_them():
    xml = free(EGG, geom='pos=".1 .2 .3" euler="10 20 30"', ground=False)
    (geom,) = load_model(xml).geoms
    m = mujoco.MjModel.from_xml_string(xml)
    d = mujoco.MjData(m)
    mujoco.mj_forward(m, d)
    assert geom.hull is not None
    np.testing.assert_allclose(geom.pos, d.geom_xpos[0] - d.xpos[1], atol=1e-9)
    half = np.abs(geom.hull.vertices).max(axis=0)
    np.testing.assert_allclose(half, m.geom_aabb[0, 3:], atol=1e-6)
