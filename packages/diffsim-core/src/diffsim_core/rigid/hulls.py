"""``Hull``: the convex hull of a mesh, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]

_FLAT = 1e-6
"""Faces whose normals differ by less are one face."""


@dataclass(frozen=True, kw_only=True)
class Hull:
    """A convex polyhedron in its shape's own frame."""

    vertices: FloatArray
    """``[n, 3]`` [m]."""
    planes: FloatArray
    """``[f, 4]`` outward unit normal of each flat face, and its distance [m] from the frame's origin: ``n . x <= d``
    inside. None for a flat mesh."""
    edges: IntArray
    """``[e, 2]`` vertices of each edge between two faces that are not parallel."""

    @classmethod
    def of_triangles(cls, vertices: FloatArray, triangles: IntArray) -> Hull:
        """Of a hull's ``vertices`` ``[n, 3]`` and all its ``triangles`` ``[t, 3]``; those of one face become one."""
        corners = vertices[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area = np.linalg.norm(normals, axis=1)
        solid = area > 1e-12 * max(float(area.max(initial=0.0)), 1e-300)
        normals = normals / np.maximum(area, 1e-300)[:, None]
        inside = vertices.mean(axis=0)
        outward = np.where(np.einsum("ti,ti->t", normals, corners[:, 0] - inside) < 0, -1.0, 1.0)
        normals = normals * outward[:, None]
        faces, face = np.zeros((0, 3)), np.full(len(triangles), -1)
        for t in np.argsort(-area, kind="stable"):
            if not solid[t]:
                continue
            same = np.flatnonzero(faces @ normals[t] > 1 - _FLAT)
            face[t] = same[0] if len(same) else len(faces)
            if not len(same):
                faces = np.concatenate([faces, normals[t : t + 1]])
        distance = np.max(vertices @ faces.T, axis=0)
        return cls(
            vertices=np.array(vertices, dtype=np.float64),
            planes=np.column_stack([faces, distance]),
            edges=_edges(triangles[solid], face[solid]),
        )

    def support(self, directions: FloatArray) -> FloatArray:
        """The vertices ``[d, 3]`` that are furthest along each direction ``[d, 3]``."""
        return self.vertices[np.argmax(directions @ self.vertices.T, axis=1)]


def _edges(triangles: IntArray, face: IntArray) -> IntArray:
    """Sides that triangles of two different faces share."""
    first: dict[tuple[int, int], int] = {}
    found: list[tuple[int, int]] = []
    for corners, f in zip(triangles.tolist(), face.tolist(), strict=True):
        for a, b in ((0, 1), (1, 2), (2, 0)):
            side = (min(corners[a], corners[b]), max(corners[a], corners[b]))
            if first.setdefault(side, f) != f:
                found.append(side)
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def spread_directions(count: int) -> FloatArray:
    """``count`` unit vectors ``[count, 3]`` spread evenly, on a spiral whose turns have the golden ratio."""
    k = np.arange(count) + 0.5
    z, turn = 1 - 2 * k / count, np.pi * (1 + 5**0.5) * k
    across = np.sqrt(1 - z * z)
    return np.stack([across * np.cos(turn), across * np.sin(turn), z], axis=1)
