"""What meshes are in contact, as ``load_model(mesh=...)`` chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from diffsim_core.io._grounds import Ground
from diffsim_core.io._hulls import MESH
from diffsim_core.io._names import geom_name
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import Geom

MESHES = ("hull", "box", "ellipsoid", "off")


def without_meshes(
    m: Any, ground: Ground | None, touching: list[tuple[int, int]]
) -> tuple[Ground | None, list[tuple[int, int]], list[str]]:
    """Ground and pairs whose shapes are no meshes, and a note if there are any."""
    meshes = set(np.flatnonzero(np.asarray(m.geom_type) == MESH).tolist())
    on_ground = () if ground is None else ground.touching
    left_out = {row[0] for row in on_ground} | {g for pair in touching for g in pair}
    if not left_out & meshes:
        return ground, touching, []
    if ground is not None:
        ground = replace(ground, touching=tuple(row for row in on_ground if row[0] not in meshes))
    names = ", ".join(geom_name(m, g) for g in sorted(left_out & meshes))
    note = f'contact of the meshes {names} is not simulated: mesh="off"'
    return ground, [pair for pair in touching if not meshes & set(pair)], [note]


def contact_shapes(m: Any, geoms: Mapping[int, Geom], mesh: str) -> dict[int, Geom]:
    """The shapes that touch: for ``"box"`` and ``"ellipsoid"`` meshes become that, as large as the box around them.

    The box is along the mesh's axes of inertia, which MuJoCo's ``fitaabb`` takes too.
    """
    if mesh not in ("box", "ellipsoid"):
        return dict(geoms)
    return {g: _fitted(m, g, geom, mesh) if geom.hull is not None else geom for g, geom in geoms.items()}


def _fitted(m: Any, g: int, geom: Geom, kind: str) -> Geom:
    centre, half = m.geom_aabb[g, :3].astype(np.float64), m.geom_aabb[g, 3:].astype(np.float64)
    return replace(geom, type=kind, hull=None, size=half, pos=geom.pos + rotation(geom.quat) @ centre)
