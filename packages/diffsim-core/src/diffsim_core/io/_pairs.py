"""Which shapes of a compiled model may touch each other, by MuJoCo's filters, and their pairs of contact."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from diffsim_core.io._collision import excluded, friction_of
from diffsim_core.io._gains import Gains
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_label, geom_name
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.contacts import ContactPairs, PairKind
from diffsim_core.rigid.model import Body, FloatArray, Geom

CORNER_ROUNDING = 0.1
"""Radius of a box's corners against another box, as a part of its least half extent."""

MAX_PAIRS = 20_000
"""Most pairs of contact that are built."""

_KINDS = {
    int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
    int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
    int(mujoco.mjtGeom.mjGEOM_BOX): "box",
}
_GROUND = {int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD)}


def touching_pairs(m: Any, bodies: list[Body]) -> list[tuple[int, int]]:
    """Indices of all pairs of shapes that MuJoCo would test, the ground's apart.

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
    keep_parents = bool(m.opt.disableflags & mujoco.mjtDisableBit.mjDSBL_FILTERPARENT)
    candidates = np.flatnonzero(((contype != 0) | (conaffinity != 0)) & ~ground)
    found: set[tuple[int, int]] = set()
    for k, g in enumerate(candidates):
        s = candidates[k + 1 :]
        match = ((contype[g] & conaffinity[s]) | (contype[s] & conaffinity[g])) != 0
        match &= link[s] != link[g]
        if not keep_parents and weld[g] != 0:
            match &= (weld[s] == 0) | ((weld_parent[s] != weld[g]) & (weld[s] != weld_parent[g]))
        found |= {(int(g), int(x)) for x in s[match] if not excluded(m, int(g), int(x))}
        if len(found) > MAX_PAIRS:
            break
    for a, b in zip(m.pair_geom1, m.pair_geom2, strict=True):
        if link[a] != link[b] and not (ground[a] or ground[b]):
            found.add((min(int(a), int(b)), max(int(a), int(b))))
    return sorted(found)


def pair_problems(m: Any, found: list[tuple[int, int]]) -> list[str]:
    """A sentence for each shape that may touch another one but is of a kind that pairs do not know."""
    wrong = sorted({g for pair in found for g in pair if int(m.geom_type[g]) not in _KINDS})
    problems = [
        f"{geom_label(m, g)} may touch other shapes, but contact between bodies knows sphere, capsule and box only:"
        " exclude it by its contype and conaffinity, or load without body_contact"
        for g in wrong
    ]
    boxes = int(mujoco.mjtGeom.mjGEOM_BOX)
    count = sum(16 if int(m.geom_type[g]) == boxes == int(m.geom_type[s]) else 1 for g, s in found)
    if count > MAX_PAIRS:
        problems.append(
            f"{count} or more pairs of shapes may touch, at most {MAX_PAIRS} are built: narrow contype and conaffinity"
        )
    return problems


def contact_pairs(
    m: Any, found: list[tuple[int, int]], shape: Callable[[int], Geom], gains: Callable[[Geom], Gains], mu: float | None
) -> ContactPairs:
    """The arrays of the pairs ``found``; two shapes are springs (and dampers) in series, the world is rigid.

    ``shape`` places a shape on its link, ``gains`` its kn, kd, kt.
    """
    rows: list[tuple[Any, ...]] = []
    for g, s in found:
        a, b = shape(g), shape(s)
        own = [np.array(gains(x)) for x in (a, b) if x.link >= 0]
        both = own[0] if len(own) == 1 else _in_series(*own)
        names = (geom_name(m, g), geom_name(m, s))
        friction = friction_of(m, g, s) if mu is None else mu
        for first, second, swapped in _elements(a, b):
            kind = PairKind.SEGMENT_BOX if second.type == "box" else PairKind.SEGMENTS
            ra, rb = (0.0 if x.type == "box" else float(x.size[0]) for x in (first, second))
            rows.append(
                (
                    kind,
                    (first.link, second.link),
                    (first.pos, second.pos),
                    (ra, rb),
                    (_half(first), second.size if second.type == "box" else _half(second)),
                    second.quat / np.linalg.norm(second.quat),
                    *both,
                    friction,
                    names[::-1] if swapped else names,
                )
            )
    if not rows:
        return ContactPairs.none()
    kind, link, pos, radius, half, quat, kn, kd, kt, mus, geom = zip(*rows, strict=True)
    return ContactPairs(
        kind=np.array(kind, dtype=np.int64),
        link=np.array(link, dtype=np.int64),
        pos=np.array(pos, dtype=np.float64),
        radius=np.array(radius),
        half=np.array(half, dtype=np.float64),
        quat=np.array(quat, dtype=np.float64),
        kn=np.array(kn),
        kd=np.array(kd),
        kt=np.array(kt),
        mu=np.array(mus, dtype=np.float64),
        geom=tuple(geom),
    )


def _in_series(a: FloatArray, b: FloatArray) -> FloatArray:
    total = a + b
    return np.divide(a * b, total, out=np.zeros(3), where=total > 0)


def _half(shape: Geom) -> FloatArray:
    """From the centre of a sphere or capsule to its end."""
    return rotation(shape.quat)[:, 2] * shape.size[1] if shape.type == "capsule" else np.zeros(3)


def _elements(a: Geom, b: Geom) -> Iterator[tuple[Geom, Geom, bool]]:
    """Pairs of a segment with a segment or box, and whether they are in the other order."""
    if a.type != "box":
        yield a, b, False
    elif b.type != "box":
        yield b, a, True
    else:
        yield from ((corner, b, False) for corner in _corners(a))
        yield from ((corner, a, True) for corner in _corners(b))


def _corners(box: Geom) -> Iterator[Geom]:
    """The eight corners of a box as small spheres inside of it."""
    radius = CORNER_ROUNDING * float(box.size.min())
    axes = rotation(box.quat / np.linalg.norm(box.quat))
    for signs in np.stack(np.meshgrid(*[(1, -1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3):
        pos = box.pos + axes @ (signs * (box.size - radius))
        size = np.array([radius, 0.0, 0.0])
        yield Geom(name=box.name, type="sphere", link=box.link, pos=pos, quat=box.quat, size=size, rgba=box.rgba)
