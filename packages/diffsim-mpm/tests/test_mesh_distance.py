"""Signed distances of meshes: those of the shape that the mesh is, and named refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim_mpm import twin_coupling as twin
from diffsim_mpm._mesh_distance import sample_mesh
from diffsim_mpm.shapes import Box, SignedDistanceGrid

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
FACES = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
TRIANGLES = np.array([[f[i] for i in part] for f in FACES for part in ((0, 1, 2), (0, 2, 3))])
HALF = np.array([0.1, 0.06, 0.08])


def test_a_boxs_mesh_is_a_box() -> None:
    """The spline is exact where the distance is linear; near edges it rounds by a part of the spacing."""
    grid = SignedDistanceGrid.from_mesh(CORNERS * HALF, TRIANGLES, spacing=0.01)
    x = np.random.default_rng(0).uniform(-0.11, 0.11, (3000, 3))
    d, n = twin.signed_distance(grid, x)
    box, m = twin.signed_distance(Box(half_sizes=tuple(HALF)), x)
    known = d < 1e3  # the samples end somewhere beyond the reach
    assert known[box < 0.01].all()
    x, d, n, box, m = x[known], d[known], n[known], box[known], m[known]
    # weights of a quadratic spline reach a mean square of a quarter of the spacing along each axis
    np.testing.assert_allclose(d, box, atol=np.sqrt(3) / 2 * 0.01)
    away = HALF - np.abs(x)
    # far from edges, where the nearest face is the only one that counts
    flat = (np.abs(box) < 0.02) & (np.sort(away, axis=1)[:, 1] > 0.045)
    assert flat.sum() > 50
    np.testing.assert_allclose(d[flat], box[flat], atol=1e-12)
    np.testing.assert_allclose(n[flat], m[flat], atol=1e-9)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_a_turned_tetrahedron_has_the_distance_of_its_nearest_point(seed: int) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(-0.1, 0.1, (4, 3))
    a, b, c, d = corners
    if np.dot(np.cross(b - a, c - a), d - a) < 0:
        corners = corners[[0, 2, 1, 3]]
    volume = np.dot(np.cross(*(corners[1:3] - corners[0])), corners[3] - corners[0])
    if volume < 2e-4:
        return
    triangles = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
    samples, origin = sample_mesh(corners, triangles, 0.04, 0.0)
    at = np.array(origin) + 0.04 * np.argwhere(np.ones(samples.shape))
    weights = np.linalg.solve(np.vstack([corners.T, np.ones(4)]), np.vstack([at.T, np.ones(len(at))]))
    np.testing.assert_array_equal((weights > 0).all(axis=0), samples.ravel() < 0)
    share = random.dirichlet(np.ones(3), 600)
    on = np.concatenate([share @ corners[t] for t in triangles])
    nearest = np.array([np.linalg.norm(on - p, axis=1).min() for p in at])
    assert (np.abs(samples.ravel()) <= nearest + 1e-12).all()
    assert (nearest - np.abs(samples.ravel()) < 0.015).all()


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        (CORNERS, TRIANGLES[:-1], "not closed: 3 edges"),
        (CORNERS, TRIANGLES[:, ::-1], "inside out"),
        (CORNERS, TRIANGLES + 1, "outside 0 to 7"),
        (CORNERS[:, :2], TRIANGLES, "vertices have shape"),
        (CORNERS, np.zeros((0, 3), int), "at least one"),
    ],
)
def test_what_is_no_closed_mesh_is_refused(vertices, triangles, message) -> None:
    with pytest.raises(ValueError, match=message):
        SignedDistanceGrid.from_mesh(vertices, triangles, spacing=0.1)


def test_too_fine_a_grid_is_refused() -> None:
    with pytest.raises(ValueError, match="make it larger"):
        SignedDistanceGrid.from_mesh(CORNERS, TRIANGLES, spacing=1e-4)
