"""Convex hulls of a compiled model's meshes, as MuJoCo's compiler made them."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid.hulls import Hull

MESH = int(mujoco.mjtGeom.mjGEOM_MESH)


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
