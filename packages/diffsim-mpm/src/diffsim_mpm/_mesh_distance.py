"""Signed distances from a closed triangle mesh, sampled on a grid."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from diffsim_mpm.shapes import Numbers

_MARGIN = 3
"""Samples beyond the reach on each side; the outermost two count as rim."""
_MOST_SAMPLES = 2**24
_PAIRS = 2**21
"""Points times triangles that are looked at together, which bounds the memory."""


def sample_mesh(vertices: Any, triangles: Any, spacing: float, reach: float) -> tuple[Numbers, tuple[float, ...]]:
    """Signed distances ``[nx, ny, nz]`` [m], negative inside, and the place of the first one.

    The sign is that of the winding number, by the solid angles of the triangles (Van Oosterom and Strackee 1983).

    Args:
        vertices: ``[nv, 3]`` [m].
        triangles: ``[nt, 3]``, counter-clockwise seen from outside.
        spacing: of the samples [m].
        reach: how far around the mesh samples are needed [m].

    Raises:
        ValueError: for a mesh that is not closed or inside out, indices that do not exist, or too many samples.
    """
    v, t = np.asarray(vertices, np.float64), np.asarray(triangles, np.int64)
    check_closed(v, t)
    if not 0 < spacing < np.inf:
        raise ValueError(f"spacing={spacing!r} must be positive metres")
    v = v[t]
    margin = reach + _MARGIN * spacing
    low, high = v.min(axis=(0, 1)) - margin, v.max(axis=(0, 1)) + margin
    counts = np.ceil((high - low) / spacing).astype(int) + 1
    if (total := int(np.prod(counts.astype(np.float64)))) > _MOST_SAMPLES:
        raise ValueError(f"spacing={spacing:g} m makes {total:,} samples, more than {_MOST_SAMPLES:,}: make it larger")
    axes = [start + spacing * np.arange(count) for start, count in zip(low, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    step = max(_PAIRS // len(t), 1)
    parts = [_signed(points[k : k + step], v) for k in range(0, len(points), step)]
    return np.concatenate(parts).reshape(tuple(counts)), tuple(low.tolist())


def check_closed(vertices: Numbers, triangles: Numbers) -> None:
    """Raise ``ValueError`` unless triangles enclose a volume: each edge has one triangle on either side."""
    if vertices.ndim != 2 or vertices.shape[1:] != (3,) or not np.isfinite(vertices).all():
        raise ValueError(f"vertices have shape {vertices.shape}; give [nv, 3] finite numbers")
    if triangles.ndim != 2 or triangles.shape[1:] != (3,) or not len(triangles):
        raise ValueError(f"triangles have shape {triangles.shape}; give [nt, 3] with at least one")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise ValueError(f"triangles name vertices outside 0 to {len(vertices) - 1}")
    edges = Counter((int(a), int(b)) for each in triangles for a, b in zip(each, np.roll(each, -1), strict=True))
    open_ = [edge for edge, count in edges.items() if count != 1 or edges[edge[1], edge[0]] != 1]
    if open_:
        raise ValueError(
            f"the mesh is not closed: {len(open_)} edges do not have one triangle on either side, for instance that "
            f"between the vertices {open_[0][0]} and {open_[0][1]}; fill the holes and orient all triangles alike"
        )
    a, b, c = np.moveaxis(vertices[triangles], 1, 0)
    if not np.sum(a * np.cross(b, c)) > 0:
        raise ValueError("the mesh is inside out: order the vertices of each triangle counter-clockwise, from outside")


def _signed(points: Numbers, triangles: Numbers) -> Numbers:
    """Signed distances ``[k]`` of points ``[k, 3]`` from triangles ``[nt, 3, 3]``."""
    away = triangles[None] - points[:, None, None]  # [k, nt, 3 corners, 3]
    a, b, c = np.moveaxis(away, 2, 0)
    nearest = np.sqrt(_squared_distance(a, b, c).min(axis=1))
    la, lb, lc = (np.linalg.norm(e, axis=-1) for e in (a, b, c))
    volume = np.einsum("...i,...i", a, np.cross(b, c))
    products = [np.einsum("...i,...i", *pair) for pair in ((a, b), (b, c), (c, a))]
    around = la * lb * lc + products[0] * lc + products[1] * la + products[2] * lb
    winding = np.arctan2(volume, around).sum(axis=1) / (2 * np.pi)
    return np.where(winding > 0.5, -nearest, nearest)


def _squared_distance(a: Numbers, b: Numbers, c: Numbers) -> Numbers:
    """Squared distances of the origin from triangles with these corners ``[..., 3]``."""

    def dot(u: Numbers, w: Numbers) -> Numbers:
        return np.einsum("...i,...i", u, w)

    edges = []
    for p, q in ((a, b), (b, c), (c, a)):
        along = q - p
        share = np.clip(-dot(p, along) / np.maximum(dot(along, along), 1e-300), 0.0, 1.0)
        foot = p + share[..., None] * along
        edges.append(dot(foot, foot))
    n = np.cross(b - a, c - a)
    # the foot on the plane is inside where it is on the inner side of all edges
    inside = np.ones(a.shape[:-1], bool)
    for p, q in ((a, b), (b, c), (c, a)):
        inside &= dot(np.cross(q - p, -p), n) >= 0
    height = dot(a, n) ** 2 / np.maximum(dot(n, n), 1e-300)
    return np.where(inside, height, np.minimum(np.minimum(*edges[:2]), edges[2]))
