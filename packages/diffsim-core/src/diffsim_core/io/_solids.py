"""Shapes of a model file as the convex solids of contact between bodies."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.hulls import Hull, spread_directions
from diffsim_core.rigid.model import FloatArray, Geom
from diffsim_core.rigid.solids import Solid, ball_vertices, box_vertices, polyhedron, prism_vertices, round_solid

MAX_VERTICES = 32
"""Most corners of a mesh's hull that contact between bodies keeps."""


def solid_of(shape: Geom) -> Solid:
    """A shape of one of the kinds that may touch others, on its link."""
    axes = rotation(shape.quat / np.linalg.norm(shape.quat))
    if shape.type in ("sphere", "capsule"):
        half = axes[:, 2] * shape.size[1] if shape.type == "capsule" else np.zeros(3)
        return round_solid(shape.link, shape.pos, half, float(shape.size[0]))
    vertices = shape.pos + _vertices(shape) @ axes.T
    if (solid := polyhedron(shape.link, vertices)) is not None:
        return solid
    # a mesh without volume: its extent along its longest direction, as a rod
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    far = vertices[int(np.argmax(np.linalg.norm(vertices - middle, axis=1)))] - middle
    return round_solid(shape.link, middle, far, 0.0)


def _vertices(shape: Geom) -> FloatArray:
    """In the shape's own frame."""
    if shape.type == "box":
        return box_vertices(shape.size)
    if shape.type == "cylinder":
        return prism_vertices(float(shape.size[0]), float(shape.size[1]))
    if shape.type == "ellipsoid":
        return ball_vertices(shape.size)
    assert shape.hull is not None
    return few_vertices(shape.hull)


def few_vertices(hull: Hull) -> FloatArray:
    """Up to ``MAX_VERTICES`` vertices ``[n, 3]`` of a hull: those that reach furthest in evenly spread directions."""
    vertices = hull.vertices
    middle = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    scale = np.maximum(np.ptp(vertices, axis=0), 1e-12)  # directions as even as on a ball of the hull's proportions
    for count in range(4 * MAX_VERTICES, 0, -MAX_VERTICES // 4):
        if len(vertices) <= MAX_VERTICES:
            break
        reach = (hull.vertices - middle) @ (spread_directions(count) / scale).T
        vertices = hull.vertices[np.unique(np.argmax(reach, axis=0))]
    return vertices
