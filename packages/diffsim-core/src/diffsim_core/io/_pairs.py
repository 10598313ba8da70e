"""Which shapes of a compiled model may touch each other, by MuJoCo's filters, and their pairs of contact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from diffsim_core.io._attributes import friction_of
from diffsim_core.io._collision import excluded, robot_bases
from diffsim_core.io._gains import Gains
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_label, geom_name
from diffsim_core.io._solids import solid_of
from diffsim_core.rigid.contacts import ContactPairs
from diffsim_core.rigid.model import Body, Geom
from diffsim_core.rigid.solids import Solid

MAX_PAIRS = 20_000
"""Most pairs of contact that are built."""

_KINDS = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_BOX),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID),
    int(mujoco.mjtGeom.mjGEOM_MESH),
}
_GROUND = {int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD)}


def touching_pairs(m: Any, bodies: list[Body], moving: bool = True) -> list[tuple[int, int]]:
    """Indices of all pairs of shapes that MuJoCo would test, the ground's apart.

    Without ``moving`` only those with a fixed obstacle, which is not part of a robot's own base.

    An explicit ``pair`` always counts. Otherwise the masks must match, the bodies not be excluded, not be welded
    together, and not be parent and child (unless the parent is fixed to the world or the filter is switched off).
    """
    if m.opt.disableflags & (mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT):
        return []
    link = np.array([bodies[b].link for b in m.geom_bodyid], dtype=np.int64)
    weld = m.body_weldid[m.geom_bodyid].astype(np.int64)
    weld_parent = m.body_weldid[m.body_parentid[weld]].astype(np.int64)
    contype, conaffinity = np.asarray(m.geom_contype), np.asarray(m.geom_conaffinity)
    ground = np.isin(m.geom_type, list(_GROUND))
    bases = robot_bases(m, bodies)
    obstacle = (link < 0) & ~np.isin(m.geom_bodyid, list(bases))
    keep_parents = bool(m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_FILTERPARENT)
    candidates = np.flatnonzero(((contype != 0) | (conaffinity != 0)) & ~ground)
    found: set[tuple[int, int]] = set()
    for k, g in enumerate(candidates):
        s = candidates[k + 1 :]
        match = ((contype[g] & conaffinity[s]) | (contype[s] & conaffinity[g])) != 0
        match &= link[s] != link[g]
        if not moving:
            match &= obstacle[g] | obstacle[s]
        if not keep_parents and weld[g] != 0:
            match &= (weld[s] == 0) | ((weld_parent[s] != weld[g]) & (weld[s] != weld_parent[g]))
        found |= {(int(g), int(x)) for x in s[match] if not excluded(m, int(g), int(x))}
        if len(found) > MAX_PAIRS:
            break
    for a, b in zip(m.pair_geom1, m.pair_geom2, strict=True):
        if link[a] != link[b] and not (ground[a] or ground[b]) and (moving or obstacle[a] or obstacle[b]):
            found.add((min(int(a), int(b)), max(int(a), int(b))))
    return sorted(found)


def pair_problems(m: Any, found: list[tuple[int, int]]) -> list[str]:
    """A sentence for each shape that may touch another one but is of a kind that pairs do not know."""
    wrong = sorted({g for pair in found for g in pair if int(m.geom_type[g]) not in _KINDS})
    problems = [
        f"{geom_label(m, g)} may touch other shapes, but contact between bodies knows sphere, capsule, box, cylinder,"
        " ellipsoid and mesh only: exclude it by its contype and conaffinity"
        for g in wrong
    ]
    if len(found) > MAX_PAIRS:
        problems.append(
            f"{len(found)} or more pairs of shapes may touch, at most {MAX_PAIRS} are built: narrow contype and"
            " conaffinity"
        )
    return problems


def contact_pairs(
    m: Any,
    found: list[tuple[int, int]],
    shape: Callable[[int], Geom],
    gains: Callable[[Geom, Geom], Gains],
    mu: float | None,
) -> ContactPairs:
    """The arrays of the pairs ``found``; ``shape`` places a shape on its link, ``gains`` are kn, kd, kt of two."""
    places: dict[int, int] = {}
    solids: list[Solid] = []
    for g in sorted({g for pair in found for g in pair}):
        places[g] = len(solids)
        solids.append(solid_of(shape(g)))
    rows: list[tuple[Any, ...]] = []
    for pair in found:
        first, second = sorted(pair, key=lambda g: len(solids[places[g]].planes))
        friction = friction_of(m, first, second) if mu is None else mu
        names = geom_name(m, first), geom_name(m, second)
        rows.append(((places[first], places[second]), *gains(shape(first), shape(second)), friction, names))
    if not rows:
        return ContactPairs.none()
    solid, kn, kd, kt, mus, geom = zip(*rows, strict=True)
    return ContactPairs(
        solid=np.array(solid, dtype=np.int64),
        kn=np.array(kn),
        kd=np.array(kd),
        kt=np.array(kt),
        mu=np.array(mus, dtype=np.float64),
        geom=tuple(geom),
        solids=tuple(solids),
    )
