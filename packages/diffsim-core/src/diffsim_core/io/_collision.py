"""Which shapes of a compiled model may touch the ground, by MuJoCo's own filters."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._attributes import Attributes, attributes, find_pair
from diffsim_core.io._grounds import Ground, choose_ground
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_label
from diffsim_core.io._terrain import HFIELD
from diffsim_core.rigid.contacts import HeightField
from diffsim_core.rigid.model import Body, FloatArray

PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
_POINT_SHAPES = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_BOX),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID),
    int(mujoco.mjtGeom.mjGEOM_MESH),
}


def find_ground(
    m: Any,
    bodies: list[Body],
    planes: dict[int, FloatArray],
    fields: dict[int, HeightField | None],
    override: float | HeightField | None,
    body_contact: bool,
) -> tuple[Ground | None, list[str], list[str]]:
    """``(ground, problems, notes)`` of a compiled model.

    ``planes`` has normal and distance ``[4]`` of every static plane, ``fields`` every static height field.
    ``override`` is a ground that replaces the model's; every shape with a collision mask then touches it. Shapes that
    are no ground are left to the pairs.
    """
    if m.opt.disableflags & (mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT):
        return None, [], ["contact is disabled in the file: no contact points"]
    link = np.array([bodies[b].link for b in m.geom_bodyid], dtype=np.int64)
    moving: list[int] = np.flatnonzero(link >= 0).tolist()
    static: list[int] = np.flatnonzero(link < 0).tolist()
    problems: list[str] = []
    notes: list[str] = []
    base_touched = False
    bases = robot_bases(m, bodies)
    touches: dict[tuple[int, int], Attributes] = {}
    found_planes: dict[int, FloatArray] = {}
    terrains: dict[int, HeightField] = {}
    for s in static:
        is_plane, is_field = int(m.geom_type[s]) == PLANE, int(m.geom_type[s]) == HFIELD
        if (is_plane or is_field) and override is not None:
            continue
        touching = [g for g in moving if _may_touch(m, g, s)]
        if not touching:
            continue
        if not is_plane and not is_field:
            base_touched |= not body_contact and int(m.geom_bodyid[s]) in bases
            continue
        touches |= {(g, s): attributes(m, g, s) for g in touching}
        if is_field and any(touches[g, s].ratio != 1 for g in touching):
            touches |= {(g, s): touches[g, s]._replace(ratio=1.0) for g in touching}
            notes.append(f"{geom_label(m, s)}: friction is the same along both tangents, the first coefficient's")
        if is_plane:
            found_planes[s] = planes[s]
        elif (field := fields[s]) is None:
            problems.append(f"{geom_label(m, s)} is turned or not finite: its axes must be the world's")
        else:
            terrains[s] = field
    if override is not None:
        own = [g for g in moving if m.geom_contype[g] or m.geom_conaffinity[g]]
        touches = {(g, -1): attributes(m, g, None) for g in own}
        terrains = {-1: override} if isinstance(override, HeightField) else {}
        found_planes = {} if isinstance(override, HeightField) else {-1: np.array([0, 0, 1.0, override])}
    if len(terrains) > 1:
        names = ", ".join(geom_label(m, s) for s in terrains)
        problems.append(f"several height fields ({names}): keep one")
    for g in sorted({g for g, _ in touches}):
        if int(m.geom_type[g]) not in _POINT_SHAPES:
            problems.append(
                f"{geom_label(m, g)} may touch the ground, but contact knows sphere, capsule, box, cylinder,"
                " ellipsoid and mesh only: replace it by one of these, or set its contype and conaffinity to 0 and add"
                " such a shape"
            )
    if not body_contact and _bodies_may_touch(m, link, moving):
        notes.append("contact between moving bodies is not simulated")
    if base_touched:
        notes.append("contact with the robot's own fixed base is not simulated")
    if problems:
        return None, problems, notes
    return choose_ground(found_planes, terrains, touches), problems, notes


def robot_bases(m: Any, bodies: list[Body]) -> set[int]:
    """Bodies fixed to the world in trees that have joints: the base of a robot arm, and what is fixed to it."""
    jointed = {int(m.body_rootid[b]) for b in range(1, m.nbody) if bodies[b].link >= 0}
    return {b for b in range(1, m.nbody) if bodies[b].link < 0 and int(m.body_rootid[b]) in jointed}


def _masks_match(m: Any, g: int, s: int) -> bool:
    return bool((m.geom_contype[g] & m.geom_conaffinity[s]) | (m.geom_contype[s] & m.geom_conaffinity[g]))


def excluded(m: Any, g: int, s: int) -> bool:
    a, b = sorted((int(m.geom_bodyid[g]), int(m.geom_bodyid[s])))
    return any(int(signature) in ((a << 16) + b, (b << 16) + a) for signature in m.exclude_signature)


def _may_touch(m: Any, g: int, s: int) -> bool:
    return find_pair(m, g, s) is not None or (_masks_match(m, g, s) and not excluded(m, g, s))


def _bodies_may_touch(m: Any, link: np.ndarray, moving: list[int]) -> bool:
    """Whether the masks let shapes of two links touch whose bodies are not each other's parent."""
    contype, conaffinity = m.geom_contype[moving], m.geom_conaffinity[moving]
    body = m.geom_bodyid[moving]
    parent = m.body_parentid[body]
    for i in range(len(moving)):
        match = (contype[i] & conaffinity) | (contype & conaffinity[i])
        related = (body == parent[i]) | (parent == body[i])
        if np.any((match != 0) & (link[moving] != link[moving[i]]) & ~related):
            return True
    return False
