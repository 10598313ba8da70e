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
        order = np.argsort(-area, kind="stable")
        order = order[solid[order]]
        first, face = _grouped(normals[order]), np.full(len(triangles), -1)
        firsts, face[order] = np.unique(first, return_inverse=True)
        faces = normals[order][firsts]
        # in parts: the hull of a scan has ten thousand faces and vertices
        distance = np.concatenate([np.max(vertices @ part.T, axis=0) for part in _parts(faces)])
        return cls(
            vertices=np.array(vertices, dtype=np.float64),
            planes=np.column_stack([faces, distance]),
            edges=_edges(triangles[solid], face[solid]),
        )

    def support(self, directions: FloatArray) -> FloatArray:
        """The vertices ``[d, 3]`` that are furthest along each direction ``[d, 3]``."""
        return self.vertices[np.argmax(directions @ self.vertices.T, axis=1)]


def _parts(rows: FloatArray, size: int = 256) -> list[FloatArray]:
    """``rows`` in parts of at most ``size``; at least one part."""
    return np.array_split(rows, max(-(-len(rows) // size), 1))


def _grouped(normals: FloatArray) -> IntArray:
    """For each unit normal ``[n, 3]`` the first before it, or itself, that differs by less than ``_FLAT``.

    Only those in neighbouring cells of a grid are compared, because scanned meshes have ten thousands of triangles.
    """
    reach = np.sqrt(2 * _FLAT)  # length of the difference of two unit vectors whose product is 1 - _FLAT
    corner = np.floor(normals / (2 * reach) - 0.5).astype(np.int64)  # of the eight cells that may hold others
    own = np.floor(normals / (2 * reach)).astype(np.int64)
    cells: dict[tuple[int, ...], list[int]] = {}
    found = np.arange(len(normals))
    for t, (x, y, z) in enumerate(corner.tolist()):
        near = [k for i in (0, 1) for j in (0, 1) for h in (0, 1) for k in cells.get((x + i, y + j, z + h), ())]
        same = [k for k in near if normals[k] @ normals[t] > 1 - _FLAT] if near else []
        if same:
            found[t] = min(same)
        else:
            cells.setdefault(tuple(own[t].tolist()), []).append(t)
    return found


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
