"""Which shapes of a compiled model may touch the ground, by MuJoCo's own filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_label
from diffsim_core.io._terrain import HFIELD
from diffsim_core.rigid.contacts import HeightField
from diffsim_core.rigid.model import Body

PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
_POINT_SHAPES = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_BOX),
    int(mujoco.mjtGeom.mjGEOM_CYLINDER),
    int(mujoco.mjtGeom.mjGEOM_ELLIPSOID),
    int(mujoco.mjtGeom.mjGEOM_MESH),
}


@dataclass(frozen=True)
class Ground:
    """A horizontal plane or a height field, and the moving shapes that touch it."""

    height: float
    """z of the plane [m]."""
    field: HeightField | None
    """In place of the plane."""
    touching: tuple[tuple[int, float], ...]
    """MuJoCo's index of each shape, and the friction coefficient MuJoCo would use."""


def find_ground(
    m: Any,
    bodies: list[Body],
    planes_z: dict[int, tuple[float, float]],
    fields: dict[int, HeightField | None],
    override: float | HeightField | None,
    body_contact: bool,
) -> tuple[Ground | None, list[str], list[str]]:
    """``(ground, problems, notes)`` of a compiled model.

    ``planes_z`` has height and cosine of the tilt of every static plane, ``fields`` every static height field.
    ``override`` is a ground that replaces the model's; every shape with a collision mask then touches it. Shapes that
    are no ground are left to the pairs.
    """
    if m.opt.disableflags & (mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT):
        return None, [], ["contact is disabled in the file: no contact points"]
    link = np.array([bodies[b].link for b in m.geom_bodyid], dtype=np.int64)
    moving: list[int] = np.flatnonzero(link >= 0).tolist()
    static: list[int] = np.flatnonzero(link < 0).tolist()
    problems: list[str] = []
    base_touched = False
    bases = robot_bases(m, bodies)
    friction: dict[int, float] = {}
    heights: dict[int, float] = {}
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
        if is_field:
            if (field := fields[int(s)]) is None:
                problems.append(f"{geom_label(m, s)} is turned or not finite: its axes must be the world's")
            else:
                terrains[int(s)] = field
            for g in touching:
                friction[int(g)] = max(friction.get(int(g), 0.0), friction_of(m, g, s))
            continue
        height, cosine = planes_z[int(s)]
        if cosine < 1.0 - 1e-9:
            problems.append(
                f"{geom_label(m, s)} is tilted: the ground's normal must be +z; turn gravity instead of the plane"
            )
        heights[int(s)] = height
        for g in touching:
            friction[int(g)] = max(friction.get(int(g), 0.0), friction_of(m, g, s))
    if override is not None:
        heights = {-1: override} if not isinstance(override, HeightField) else {}
        terrains = {-1: override} if isinstance(override, HeightField) else {}
        friction = {int(g): _own_friction(m, g) for g in moving if m.geom_contype[g] or m.geom_conaffinity[g]}
    if heights and max(heights.values()) - min(heights.values()) > 1e-9:
        names = ", ".join(geom_label(m, s) for s in heights)
        problems.append(f"several ground planes of different height ({names}): keep one")
    if len(terrains) + bool(heights) > 1:
        names = ", ".join(geom_label(m, s) for s in (*heights, *terrains))
        problems.append(f"several grounds ({names}): keep one plane or one height field")
    for g in friction:
        if int(m.geom_type[g]) not in _POINT_SHAPES:
            problems.append(
                f"{geom_label(m, g)} may touch the ground, but contact knows sphere, capsule, box, cylinder,"
                " ellipsoid and mesh only: replace it by one of these, or set its contype and conaffinity to 0 and add"
                " such a shape"
            )
    notes = []
    if not body_contact and _bodies_may_touch(m, link, moving):
        notes = ["contact between moving bodies is not simulated"]
    if base_touched:
        notes.append("contact with the robot's own fixed base is not simulated")
    if not heights and not terrains:
        return None, problems, notes
    touching_all = tuple(sorted(friction.items()))
    return (
        Ground(min(heights.values(), default=0.0), next(iter(terrains.values()), None), touching_all),
        problems,
        notes,
    )


def robot_bases(m: Any, bodies: list[Body]) -> set[int]:
    """Bodies fixed to the world in trees that have joints: the base of a robot arm, and what is fixed to it."""
    jointed = {int(m.body_rootid[b]) for b in range(1, m.nbody) if bodies[b].link >= 0}
    return {b for b in range(1, m.nbody) if bodies[b].link < 0 and int(m.body_rootid[b]) in jointed}


def _masks_match(m: Any, g: int, s: int) -> bool:
    return bool((m.geom_contype[g] & m.geom_conaffinity[s]) | (m.geom_contype[s] & m.geom_conaffinity[g]))


def _pair(m: Any, g: int, s: int) -> int | None:
    for p in range(m.npair):
        if {int(m.pair_geom1[p]), int(m.pair_geom2[p])} == {int(g), int(s)}:
            return p
    return None


def excluded(m: Any, g: int, s: int) -> bool:
    a, b = sorted((int(m.geom_bodyid[g]), int(m.geom_bodyid[s])))
    return any(int(signature) in ((a << 16) + b, (b << 16) + a) for signature in m.exclude_signature)


def _may_touch(m: Any, g: int, s: int) -> bool:
    return _pair(m, g, s) is not None or (_masks_match(m, g, s) and not excluded(m, g, s))


def friction_of(m: Any, g: int, s: int) -> float:
    """Sliding friction that MuJoCo would use between two shapes."""
    if (p := _pair(m, g, s)) is not None:
        return float(m.pair_friction[p, 0]) if m.pair_dim[p] > 1 else 0.0
    if m.geom_priority[g] != m.geom_priority[s]:
        return _own_friction(m, g if m.geom_priority[g] > m.geom_priority[s] else s)
    if max(m.geom_condim[g], m.geom_condim[s]) == 1:
        return 0.0
    return float(max(m.geom_friction[g, 0], m.geom_friction[s, 0]))


def _own_friction(m: Any, g: int) -> float:
    return float(m.geom_friction[g, 0]) if m.geom_condim[g] > 1 else 0.0


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
