"""The points at which shapes touch the ground."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.io._gains import Gains, half_width
from diffsim_core.io._grounds import Ground
from diffsim_core.io._hulls import hull_points
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.contacts import PointKind
from diffsim_core.rigid.model import FloatArray, Geom

RIM_ROUNDING = 0.05
"""Half thickness of the flat ellipsoids that a cylinder ends in, as a part of its radius."""


class _Points(NamedTuple):
    """Of one shape."""

    offsets: FloatArray
    """``[n, 3]`` in the shape's own frame [m]."""
    share: FloatArray
    """``[n]`` stiffness and damping of each, as parts of the shape's."""
    radius: float = 0.0
    size: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Semi-axes of ellipsoids about them [m]."""


def _points(geom: Geom) -> _Points:
    if geom.hull is not None:
        return _Points(*hull_points(geom.hull))
    if geom.type == "sphere":
        return _Points(np.zeros((1, 3)), np.ones(1), radius=float(geom.size[0]))
    if geom.type == "capsule":
        radius, half = geom.size[:2].tolist()
        return _Points(np.array([[0, 0, half], [0, 0, -half]]), np.ones(2), radius=radius)
    if geom.type == "ellipsoid":
        return _Points(np.zeros((1, 3)), np.ones(1), size=tuple(geom.size))
    if geom.type == "cylinder":
        radius, half = geom.size[:2].tolist()
        thin = min(RIM_ROUNDING * radius, half)
        ends = np.array([[0, 0, half - thin], [0, 0, thin - half]])[: 2 if half > thin else 1]
        return _Points(ends, np.ones(len(ends)), size=(radius, radius, thin))
    signs = np.array([[x, y, z] for x in (1, -1) for y in (1, -1) for z in (1, -1)], dtype=np.float64)
    return _Points(signs * geom.size, np.ones(8))


def contact_arrays(
    geoms: Mapping[int, Geom], ground: Ground | None, gains: Callable[[Geom], Gains], mu: float | None
) -> dict[str, Any]:
    """The ``contact_*`` and ``ground_*`` fields of ``RigidModel``.

    ``gains`` are kn, kd, kt of the shapes of a link, ``mu`` the friction of all, MuJoCo's if ``None``.
    """
    rows: list[tuple[Any, ...]] = []
    for g, plane, found in () if ground is None else ground.touching:
        geom = geoms[g]
        quat = geom.quat / np.linalg.norm(geom.quat)
        points = _points(geom)
        kind = PointKind.ELLIPSOID if any(points.size) else PointKind.ROUND
        shape = (geom.name, kind, points.size, quat)
        friction = (found.mu if mu is None else mu, plane, found.ratio, found.spin, found.roll, half_width(geom))
        own = gains(geom)
        for offset, share in zip(points.offsets, points.share, strict=True):
            place = geom.pos + rotation(geom.quat) @ offset
            shared = (share * gain for gain in own)
            rows.append((geom.link, place, points.radius + found.margin, *shared, *shape, *friction))
    columns = list(zip(*rows, strict=True)) if rows else [()] * 16
    return {
        "contact_link": np.array(columns[0], dtype=np.int64),
        "contact_pos": np.array(columns[1], dtype=np.float64).reshape(-1, 3),
        "contact_radius": np.array(columns[2], dtype=np.float64),
        "contact_kn": np.array(columns[3], dtype=np.float64),
        "contact_kd": np.array(columns[4], dtype=np.float64),
        "contact_kt": np.array(columns[5], dtype=np.float64),
        "contact_geom": tuple(columns[6]),
        "contact_kind": np.array(columns[7], dtype=np.int64),
        "contact_size": np.array(columns[8], dtype=np.float64).reshape(-1, 3),
        "contact_quat": np.array(columns[9], dtype=np.float64).reshape(-1, 4),
        "contact_mu": np.array(columns[10], dtype=np.float64),
        "contact_plane": np.array(columns[11], dtype=np.int64),
        "contact_ratio": np.array(columns[12], dtype=np.float64),
        "contact_spin": np.array(columns[13], dtype=np.float64),
        "contact_roll": np.array(columns[14], dtype=np.float64),
        "contact_lever": np.array(columns[15], dtype=np.float64),
        "ground_planes": np.zeros((0, 4)) if ground is None else ground.planes,
        "ground_field": None if ground is None else ground.field,
        "ground_height": 0.0 if ground is None else ground.height,
    }
