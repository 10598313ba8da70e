"""Convex hulls of a compiled model's meshes, as MuJoCo's compiler made them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid.hulls import FloatArray, Hull, spread_directions

MESH = int(mujoco.mjtGeom.mjGEOM_MESH)

CLOSE = 0.01
"""Most that a hull may reach beyond its points in any direction, as a part of half its diagonal."""

MOST_POINTS = 64
"""Number of points at which the search for closer ones ends."""

DIRECTIONS = 500
"""In which the reach is compared."""

REST_FACES = 8
"""Most faces that are looked at for corners."""

NEAR = 0.05
"""Distance of a face's corners that count as one, as a part of half the hull's diagonal."""


def mesh_hulls(m: Any) -> dict[int, Hull]:
    """The hull of every mesh geom that may touch something, by MuJoCo's index, in the geom's own frame."""
    made: dict[int, Hull] = {}
    found: dict[int, Hull] = {}
    for g in np.flatnonzero(np.asarray(m.geom_type) == MESH).tolist():
        if m.geom_contype[g] or m.geom_conaffinity[g] or g in m.pair_geom1 or g in m.pair_geom2:
            i = int(m.geom_dataid[g])
            found[g] = made[i] = made.get(i) or _hull(m, i)
    return found


def _hull(m: Any, i: int) -> Hull:
    """Of mesh ``i``; all vertices and no faces where MuJoCo made no hull."""
    first = int(m.mesh_vertadr[i])
    vertices = np.array(m.mesh_vert[first : first + int(m.mesh_vertnum[i])], dtype=np.float64)
    start = int(m.mesh_graphadr[i])
    if start < 0:
        return Hull(vertices=vertices, planes=np.zeros((0, 4)), edges=np.zeros((0, 2), dtype=np.int64))
    # the graph: numbers of vertices and faces; where each vertex's edges begin; its index in the mesh; edges; faces
    nv, nf = (int(x) for x in m.mesh_graph[start : start + 2])
    used = np.array(m.mesh_graph[start + 2 + nv : start + 2 + 2 * nv], dtype=np.int64)
    faces = start + 2 + 3 * nv + 3 * nf
    triangles = np.array(m.mesh_graph[faces : faces + 3 * nf], dtype=np.int64).reshape(-1, 3)
    place = np.zeros(len(vertices), dtype=np.int64)
    place[used] = np.arange(nv)
    return Hull.of_triangles(vertices[used], place[triangles])


def hull_points(hull: Hull) -> tuple[FloatArray, FloatArray]:
    """Points ``[n, 3]`` at which a hull touches the ground, and the share ``[n]`` of its stiffness that each has.

    The corners of the faces that it can rest on, one of each that are near to each other, and then the vertices that
    reach furthest beyond the points so far. A box rests on four corners with a shape's stiffness each; of ``n`` points
    on a hull's faces each has ``sqrt(4 / n)`` of it. With ``4 / n`` a hull would sink as a box does where it lies flat,
    but far too deep where it lies on two points.
    """
    size = float(np.linalg.norm(np.ptp(hull.vertices, axis=0))) / 2
    near, same = NEAR * size, 1e-6 * size
    faces, directions = _rest_faces(hull, size), spread_directions(DIRECTIONS)
    points: list[FloatArray] = []
    for face in faces:
        own: list[FloatArray] = []
        for corner in face.corners[np.argmax(_around(face.normal) @ face.corners.T, axis=1)]:
            if _apart(corner, own, near) and _apart(corner, points, same):
                own.append(corner)
        points += own
    reach = np.max(directions @ hull.vertices.T, axis=1)
    found = np.max(directions @ np.array(points).T, axis=1) if points else np.full(len(reach), -np.inf)
    while len(points) < MOST_POINTS and np.max(reach - found) > CLOSE * size:
        points.append(hull.support(directions[[np.argmax(reach - found)]])[0])
        found = np.maximum(found, directions @ points[-1])
    places = np.array(points)
    weighted, area = np.zeros(len(places)), np.zeros(len(places))
    for face in faces:
        resting = np.max(face.corners @ face.normal) - places @ face.normal < 0.01 * size
        weighted += resting * face.area * resting.sum()
        area += resting * face.area
    count = np.divide(weighted, area, out=np.full(len(places), 4.0), where=area > 0)
    return places, np.sqrt(4 / np.maximum(count, 4))


class _Face(NamedTuple):
    normal: FloatArray
    corners: FloatArray
    """``[n, 3]``, in no order."""
    area: float


def _rest_faces(hull: Hull, size: float) -> list[_Face]:
    """The largest faces on which a hull stands if its mass is about the origin."""
    normals, distances = hull.planes[:, :3], hull.planes[:, 3]
    below = normals * distances[:, None]  # of the origin, on each plane
    # one after the other: all at once would be gigabytes for a scan, and the first plane already leaves out half
    stands = np.arange(len(normals))
    room = np.full(
        len(normals), np.inf
    )  # from that place to the nearest other plane: how far the face reaches around it
    for i, (normal, distance) in enumerate(zip(normals, distances, strict=True)):
        slack = distance - below[stands] @ normal
        room[stands] = np.where(stands == i, room[stands], np.minimum(room[stands], slack))
        stands = stands[slack >= -1e-6 * size]
    widest = stands[np.argsort(-room[stands], kind="stable")][: 4 * REST_FACES]
    faces: list[_Face] = []
    for normal, distance in zip(normals[widest], distances[widest], strict=True):
        corners = hull.vertices[hull.vertices @ normal > distance - 1e-5 * size]
        faces.append(_Face(normal, corners, _area(corners, normal)))
    return sorted(faces, key=lambda face: -face.area)[:REST_FACES]


def _area(corners: FloatArray, normal: FloatArray) -> float:
    """Area [m^2] of a convex polygon of which the corners ``[n, 3]`` come in any order."""
    x, y = _around(normal)[[0, 2]] @ (corners - corners.mean(axis=0)).T
    order = np.argsort(np.arctan2(y, x))
    x, y = x[order], y[order]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _around(normal: FloatArray) -> FloatArray:
    """Eight directions ``[8, 3]`` across a unit vector, each turned on by 45 degrees."""
    one = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))]).astype(np.float64)
    one = one / np.linalg.norm(one)
    turn = np.arange(8) * np.pi / 4
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    across: FloatArray = circle @ np.stack([one, np.cross(normal, one).astype(np.float64)])
    return across


def _apart(place: FloatArray, others: list[FloatArray], distance: float) -> bool:
    return not others or bool(np.min(np.linalg.norm(np.array(others) - place, axis=1)) > distance)
