"""Which shapes of a compiled model may touch the ground, by MuJoCo's own filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_label
from diffsim_core.rigid.model import Body

PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)
_POINT_SHAPES = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE),
    int(mujoco.mjtGeom.mjGEOM_CAPSULE),
    int(mujoco.mjtGeom.mjGEOM_BOX),
}


@dataclass(frozen=True)
class Ground:
    """A horizontal plane, and the moving shapes that touch it."""

    height: float
    """z of the plane [m]."""
    touching: tuple[tuple[int, float], ...]
    """MuJoCo's index of each shape, and the friction coefficient MuJoCo would use."""


def find_ground(
    m: Any, bodies: list[Body], planes_z: dict[int, tuple[float, float]], override: float | None
) -> tuple[Ground | None, list[str], list[str]]:
    """``(ground, problems, notes)`` of a compiled model.

    ``planes_z`` has height and cosine of the tilt of every static plane. ``override`` is a ground height
    that replaces the model's planes; every shape with a collision mask then touches it.
    """
    if m.opt.disableflags & (mujoco.mjtDisableBit.mjDSBL_CONTACT | mujoco.mjtDisableBit.mjDSBL_CONSTRAINT):
        return None, [], ["contact is disabled in the file: no contact points"]
    link = np.array([bodies[b].link for b in m.geom_bodyid], dtype=np.int64)
    moving: list[int] = np.flatnonzero(link >= 0).tolist()
    static: list[int] = np.flatnonzero(link < 0).tolist()
    problems: list[str] = []
    base_touched = False
    bases = _robot_bases(m, bodies)
    friction: dict[int, float] = {}
    heights: dict[int, float] = {}
    for s in static:
        is_plane = int(m.geom_type[s]) == PLANE
        if is_plane and override is not None:
            continue
        touching = [g for g in moving if _may_touch(m, g, s)]
        if not touching:
            continue
        if not is_plane and int(m.geom_bodyid[s]) in bases:
            base_touched = True
            continue
        if not is_plane:
            problems.append(
                f"{geom_label(m, s)} is a fixed obstacle that moving shapes may touch: only a ground plane is"
                " simulated; remove it or set its contype and conaffinity to 0"
            )
            continue
        height, cosine = planes_z[int(s)]
        if cosine < 1.0 - 1e-9:
            problems.append(
                f"{geom_label(m, s)} is tilted: the ground's normal must be +z; turn gravity instead of the plane"
            )
        heights[int(s)] = height
        for g in touching:
            friction[int(g)] = max(friction.get(int(g), 0.0), _friction(m, g, s))
    if override is not None:
        heights = {-1: override}
        friction = {int(g): _own_friction(m, g) for g in moving if m.geom_contype[g] or m.geom_conaffinity[g]}
    if heights and max(heights.values()) - min(heights.values()) > 1e-9:
        names = ", ".join(geom_label(m, s) for s in heights)
        problems.append(f"several ground planes of different height ({names}): keep one")
    for g in friction:
        if int(m.geom_type[g]) not in _POINT_SHAPES:
            problems.append(
                f"{geom_label(m, g)} may touch the ground, but contact knows sphere, capsule and box only: replace it"
                " by one of these, or set its contype and conaffinity to 0 and add such a shape"
            )
    notes = ["contact between moving bodies is not simulated"] if _bodies_may_touch(m, link, moving) else []
    if base_touched:
        notes.append("contact with the robot's own fixed base is not simulated")
    if not heights:
        return None, problems, notes
    return Ground(min(heights.values()), tuple(sorted(friction.items()))), problems, notes


def _robot_bases(m: Any, bodies: list[Body]) -> set[int]:
    """Bodies fixed to the world that carry moving ones: the base of a robot arm."""
    bases = set()
    for b in range(m.nbody):
        if bodies[b].link >= 0:
            parent = int(m.body_parentid[b])
            while parent > 0:
                if bodies[parent].link < 0:
                    bases.add(parent)
                parent = int(m.body_parentid[parent])
    return bases


def _masks_match(m: Any, g: int, s: int) -> bool:
    return bool((m.geom_contype[g] & m.geom_conaffinity[s]) | (m.geom_contype[s] & m.geom_conaffinity[g]))


def _pair(m: Any, g: int, s: int) -> int | None:
    for p in range(m.npair):
        if {int(m.pair_geom1[p]), int(m.pair_geom2[p])} == {int(g), int(s)}:
            return p
    return None


def _excluded(m: Any, g: int, s: int) -> bool:
    a, b = sorted((int(m.geom_bodyid[g]), int(m.geom_bodyid[s])))
    return any(int(signature) in ((a << 16) + b, (b << 16) + a) for signature in m.exclude_signature)


def _may_touch(m: Any, g: int, s: int) -> bool:
    return _pair(m, g, s) is not None or (_masks_match(m, g, s) and not _excluded(m, g, s))


def _friction(m: Any, g: int, s: int) -> float:
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
