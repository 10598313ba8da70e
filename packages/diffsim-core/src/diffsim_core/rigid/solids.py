"""``Solid``: a convex shape as contact between bodies sees it, its edges as segments and its faces as planes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]

ROUNDING = 0.1
"""Radius of the rounded edges of a solid with faces, as a part of the least distance from its centre to a face."""

_SAME_PLANE = 1e-9
"""Distance from a plane, as a part of the solid's size, below which a vertex lies in it."""


@dataclass(frozen=True, kw_only=True)
class Solid:
    """A sphere or capsule, which is one segment with a radius, or a convex polyhedron.

    Everything is in the link's axes, and places are from ``centre``. Against another solid with faces, the edges of a
    polyhedron are rounded to a radius ``r`` of at most ``rounding``: they are then ``segments + r shrink``.
    """

    link: int
    """Index of the link it moves with; -1 is the world."""
    centre: FloatArray
    """``[3]`` in the link's frame [m]."""
    radius: float
    """Of the segment of a sphere or capsule [m]; zero for a polyhedron."""
    segments: FloatArray
    """``[ns, 2, 3]`` middle of each edge, and from there to its end [m]; zero for a sphere."""
    shrink: FloatArray
    """``[ns, 2, 3]`` how they change, per metre of rounding; zero for a sphere or capsule."""
    planes: FloatArray
    """``[nf, 4]`` outward unit normal of each face, and its distance from the centre [m]; none if it is round."""
    rounding: float
    """Largest radius [m] to which edges can be rounded; infinite for a sphere or capsule."""

    @property
    def bound(self) -> float:
        """Radius of a sphere about the centre that holds all of it [m]."""
        ends = self.segments[:, :1] + np.array([[[-1.0], [1.0]]]) * self.segments[:, 1:]
        return float(np.linalg.norm(ends, axis=2).max()) + self.radius


def round_solid(link: int, centre: FloatArray, half: FloatArray, radius: float) -> Solid:
    """A sphere, or a capsule whose ends are at ``centre +- half``."""
    segments = np.stack([np.zeros(3), half])[None]
    return Solid(
        link=link,
        centre=np.array(centre, dtype=np.float64),
        radius=float(radius),
        segments=segments,
        shrink=np.zeros_like(segments),
        planes=np.zeros((0, 4)),
        rounding=float("inf"),
    )


def polyhedron(link: int, vertices: FloatArray) -> Solid | None:
    """The convex hull of ``vertices`` ``[n, 3]`` in the link's frame, at most a few dozen; None if it is flat.

    A plane through three vertices is a face if no other vertex is beyond it, and two vertices are an edge if they
    share two faces.
    """
    if len(vertices) < 4:
        return None
    centre = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    points = vertices - centre
    size = float(np.linalg.norm(points, axis=1).max())
    planes = _faces(points, _SAME_PLANE * size)
    if len(planes) < 4 or planes[:, 3].min() <= 1e-6 * size:
        return None
    on = np.abs(points @ planes[:, :3].T - planes[:, 3]) <= 20 * _SAME_PLANE * size
    used = np.flatnonzero(on.sum(axis=1) >= 3)
    points, on = points[used], on[used]
    pairs = np.array([(a, b) for a, b in combinations(range(len(points)), 2) if (on[a] & on[b]).sum() >= 2])
    # a vertex follows its faces inwards: exactly where three meet, and nearest to that where more do
    inwards = np.array([np.linalg.lstsq(planes[f, :3], -np.ones(int(f.sum())), rcond=None)[0] for f in on])
    a, b = (points[pairs[:, k]] for k in (0, 1))
    da, db = (inwards[pairs[:, k]] for k in (0, 1))
    segments = np.stack([a + b, b - a], axis=1) / 2
    shrink = np.stack([da + db, db - da], axis=1) / 2
    length2 = np.einsum("ei,ei->e", segments[:, 1], segments[:, 1])
    rate = -np.einsum("ei,ei->e", segments[:, 1], shrink[:, 1]) / length2  # of the length, per metre of rounding
    rounding = min(ROUNDING * float(planes[:, 3].min()), 0.5 / max(float(rate.max()), 1e-30))
    return Solid(
        link=link, centre=centre, radius=0.0, segments=segments, shrink=shrink, planes=planes, rounding=rounding
    )


def _faces(points: FloatArray, near: float) -> FloatArray:
    """Planes ``[f, 4]`` through three of the points that no point is beyond, each once."""
    triples = np.array(list(combinations(range(len(points)), 3)))
    a, b, c = (points[triples[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1)
    solid = area > 1e-9 * max(float(area.max(initial=0.0)), 1e-300)
    normal, a = normal[solid] / area[solid, None], a[solid]
    order = np.argsort(-area[solid], kind="stable")  # wide triangles have the best normals
    normal, a = normal[order], a[order]
    beside = normal @ points.T - np.einsum("ti,ti->t", normal, a)[:, None]
    outer = (beside <= near).all(axis=1), (beside >= -near).all(axis=1)
    normal = np.concatenate([normal[outer[0]], -normal[outer[1]]])
    corners = np.abs(np.concatenate([beside[outer[0]], beside[outer[1]]])) <= 10 * near
    _, first = np.unique(corners, axis=0, return_index=True)
    normal = normal[np.sort(first)]
    return np.column_stack([normal, np.max(normal @ points.T, axis=1, initial=-np.inf)])


def box_vertices(size: FloatArray) -> FloatArray:
    """The eight corners ``[8, 3]`` of a box of half extents ``size``."""
    return np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3) * size


def prism_vertices(radius: float, half_length: float, sides: int = 16) -> FloatArray:
    """Corners ``[2 sides, 3]`` of a prism about the z axis whose sides touch a cylinder of that radius."""
    turn = 2 * np.pi * (np.arange(sides) + 0.5) / sides
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * (radius / np.cos(np.pi / sides))
    return np.concatenate([np.column_stack([ring, np.full(sides, z)]) for z in (-half_length, half_length)])


def ball_vertices(size: FloatArray) -> FloatArray:
    """Corners ``[32, 3]`` near an ellipsoid of semi-axes ``size``: those of an icosahedron and of its dual."""
    g = (1 + 5**0.5) / 2
    ico = [v for a in (-1, 1) for b in (-g, g) for v in ((0, a, b), (a, b, 0), (b, 0, a))]
    dodeca = [v for a in (-1 / g, 1 / g) for b in (-g, g) for v in ((0, a, b), (a, b, 0), (b, 0, a))]
    unit = [np.array(v, dtype=np.float64) for v in (*ico, *dodeca)] + list(box_vertices(np.ones(3)))
    points = np.stack([v / np.linalg.norm(v) for v in unit])
    # as far outside of the ellipsoid with the corners as inside of it with the faces
    return points * (2 / (1 + float(_faces(points, 1e-9)[:, 3].min()))) * size
