"""Contact between bodies for the twin: at which points two convex solids touch, and what part of the gains each has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import ContactPairs
from diffsim_core.rigid.model import FloatArray
from diffsim_core.rigid.solids import Solid
from diffsim_core.rigid.twin_contact import Contact, inside_depth

Pose = tuple[FloatArray, FloatArray]
"""Axes ``[3, 3]`` and origin ``[3]`` of a link."""

GAUSS = (0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5)
"""Places of the two points on the part of an edge that is near."""


class Share(NamedTuple):
    """One of the points at which a pair touches."""

    part: float
    """Of the pair's gains; all parts add up to one."""
    contact: Contact
    """In world axes, with the normal towards the first solid."""


def pair_contacts(pairs: ContactPairs, i: int, poses: tuple[Pose, Pose], width: float = 0.0) -> list[Share]:
    """Points of pair ``i`` that touch, with the poses of its two links.

    A point counts as the length of the part of its edge that is near, times its depth.

    Args:
        pairs: of the model.
        i: which.
        poses: of the two links.
        width: of the smoothing of contact [m].
    """
    a, b = (pairs.solids[k] for k in pairs.solid[i])
    at_a, at_b = ((R, x + R @ s.centre) for s, (R, x) in zip((a, b), poses, strict=True))
    both = bool(len(a.planes) and len(b.planes))
    rounding = float(pairs.rounding[i])
    radius = rounding if both else a.radius
    found = _one_side(a, b, at_a, at_b, rounding, radius, width)
    if len(b.planes) and (both or a.segments[0, 1].any()):
        other = _one_side(b, a, at_b, at_a, rounding, rounding, width)
        found += [(weight, Contact(c.x, -c.n, c.d)) for weight, c in other]
    total = sum(weight for weight, _ in found)
    return [Share(weight / total, c) for weight, c in found if weight > 0]


def _one_side(
    edges: Solid, body: Solid, at: Pose, at_body: Pose, rounding: float, radius: float, width: float
) -> list[tuple[float, Contact]]:
    """Weights and contacts of the points of ``edges`` against ``body``."""
    (R, x), (Rb, xb) = at, at_body
    found: list[tuple[float, Contact]] = []
    for middle, half in edges.segments + rounding * edges.shrink:
        c, h = Rb.T @ (x + R @ middle - xb), Rb.T @ R @ half
        length = 1.0
        places: tuple[float, ...] = (0.0,)
        if half.any():
            t0, t1 = near_part(body, c, h, radius + width)
            if t0 >= t1:
                continue
            length = (t1 - t0) * float(np.linalg.norm(half))
            places = tuple(t0 + (t1 - t0) * g for g in GAUSS)
        for t in places:
            y = c + t * h
            distance, n = signed_distance(body, y, Rb.T @ (x - xb))
            point = xb + Rb @ (y - n * (distance + radius) / 2)
            contact = Contact(point, Rb @ n, distance - radius)
            found.append((-length * inside_depth(contact.d, width), contact))
    return found


def signed_distance(solid: Solid, y: FloatArray, centre: FloatArray) -> tuple[float, FloatArray]:
    """Of a point in the solid's axes from its centre, negative inside, and its gradient ``[3]``.

    Inside of a polyhedron it is that of the nearest face, where a face that the other solid's ``centre`` is behind
    counts as that much further away.
    """
    if not len(solid.planes):
        r = y - _nearest(np.zeros(3), solid.segments[0, 1], y)
        return float(np.linalg.norm(r)) - solid.radius, r / max(float(np.linalg.norm(r)), 1e-15)
    over = solid.planes[:, :3] @ y - solid.planes[:, 3]
    face = int(np.argmax(over))
    if over[face] <= 0:
        over += np.minimum(solid.planes[:, :3] @ centre - solid.planes[:, 3], 0)
        face = int(np.argmax(over))
    n = solid.planes[face, :3]
    foot = y - over[face] * n
    if over[face] <= 0 or np.max(solid.planes[:, :3] @ foot - solid.planes[:, 3]) <= 1e-9 * solid.bound:
        return float(over[face]), n
    to = [y - _nearest(c, h, y) for c, h in solid.segments]
    r = min(to, key=lambda v: float(v @ v))
    return float(np.linalg.norm(r)), r / max(float(np.linalg.norm(r)), 1e-15)


def near_part(solid: Solid, c: FloatArray, h: FloatArray, near: float) -> tuple[float, float]:
    """Ends in [-1, 1] of the part of ``c + t h`` that is near a solid; the first is not below the second if none is.

    Near a sphere or capsule is what is within ``near`` of its surface, near a polyhedron what is within ``near`` of the
    inner side of every face's plane.
    """
    t0, t1 = -1.0, 1.0
    if len(solid.planes):
        for *n, distance in solid.planes:
            rise, over = float(np.dot(n, h)), float(np.dot(n, c)) - distance - near
            if abs(rise) <= 1e-15:
                if over > 0:
                    return 0.0, 0.0
            elif rise < 0:
                t0 = max(t0, -over / rise)
            else:
                t1 = min(t1, -over / rise)
        return t0, t1
    roots: list[float] = []
    half, reach = solid.segments[0, 1], near + solid.radius
    for end in (half, -half):
        roots += _crossings(h, c - end, reach)
    if half.any():
        across = np.eye(3) - np.outer(half, half) / (half @ half)
        hp, cp = across @ h, across @ c
        if hp @ hp > 1e-12 * (h @ h):
            sides = _crossings(hp, cp, reach)
            roots += [t for t in sides if abs((c + t * h) @ half) <= half @ half]
    if not roots:
        return 0.0, 0.0
    return max(t0, min(roots)), min(t1, max(roots))


def _crossings(h: FloatArray, c: FloatArray, radius: float) -> list[float]:
    """Where ``c + t h`` enters and leaves a ball of that radius about the origin."""
    a, b = float(h @ h), float(h @ c)
    free = b * b - a * float(c @ c - radius**2)
    return [float(-b - np.sqrt(free)) / a, float(-b + np.sqrt(free)) / a] if free > 0 else []


def _nearest(c: FloatArray, h: FloatArray, y: FloatArray) -> FloatArray:
    """Point of the segment ``c + t h`` that is nearest to ``y``."""
    square = float(h @ h)
    return c + h * float(np.clip((y - c) @ h / square, -1, 1)) if square else c
