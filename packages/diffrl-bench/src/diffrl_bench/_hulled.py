"""Our humanoid with convex hulls in place of its capsules and spheres, for comparing engines on meshes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._mujoco import bundled_mjcf, mujoco

HULLED_HUMANOID = "hulled-humanoid"
"""Its name in ``diffrl bench sim --model``."""
_AROUND, _RINGS = 6, 2
"""Vertices of a ring, and rings of each rounded end; each end has a pole too."""


def hulled_humanoid() -> str:
    """MJCF with 20 hulls of 26 vertices: the humanoid's 19 shapes, and a neck."""
    text = bundled_mjcf("humanoid")
    assert text is not None
    spec = mujoco.MjSpec.from_string(text)
    neck = spec.body("torso").add_geom(name="neck", type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[0.04, 0, 0])
    neck.pos = [0, 0, 0.08]
    compiled = spec.compile()
    for geom in spec.geoms:
        if geom.type == mujoco.mjtGeom.mjGEOM_PLANE:
            continue
        g = compiled.geom(geom.name)
        vertices = _capsule(float(g.size[0]), float(g.size[1]) if int(g.type[0]) == _CAPSULE else 0.0)
        spec.add_mesh(name=geom.name, uservert=vertices.ravel())
        geom.type, geom.meshname = mujoco.mjtGeom.mjGEOM_MESH, geom.name
        geom.fromto, geom.size = np.full(6, np.nan), np.zeros(3)
        geom.pos, geom.quat = np.array(g.pos), np.array(g.quat)
    return str(spec.to_xml())


_CAPSULE = int(mujoco.mjtGeom.mjGEOM_CAPSULE)


def _capsule(radius: float, half: float) -> Any:
    """Vertices ``[26, 3]`` on a capsule along z; a sphere if ``half`` is zero."""
    points = []
    for end in (-1.0, 1.0):
        points.append((0.0, 0.0, end * (half + radius)))
        for ring in range(_RINGS):
            up = 0.5 * np.pi * (ring + 0.25) / _RINGS
            for k in range(_AROUND):
                turn = 2 * np.pi * (k + 0.5 * ring) / _AROUND
                across = radius * np.cos(up)
                points.append((across * np.cos(turn), across * np.sin(turn), end * (half + radius * np.sin(up))))
    return np.array(points)
