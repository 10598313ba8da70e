"""Paths around spheres and cylinders in the twin: where they touch, and how they pull (as MuJoCo documents it)."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid.model import FloatArray
from diffsim_core.rigid.paths import WrapKind


def around(
    kind: WrapKind, radius: float, axis: FloatArray, d0: FloatArray, d1: FloatArray, side: FloatArray | None
) -> tuple[float, FloatArray, FloatArray]:
    """Length of the way from ``d0`` to ``d1`` [m], and the points towards which it leaves them.

    Args:
        kind: The shape.
        radius: Its radius [m].
        axis: Unit axis of a cylinder.
        d0: One end, from the shape's centre.
        d1: The other.
        side: A side site from the centre: the side on which the path passes, or, within the radius, through the shape.
    """
    straight = float(np.linalg.norm(d1 - d0)), d1, d0
    u, v = _plane(kind, axis, d0, d1)
    p0, p1 = np.array([d0 @ u, d0 @ v]), np.array([d1 @ u, d1 @ v])
    if min(np.linalg.norm(p0), np.linalg.norm(p1)) < radius or p0 @ p0 == 0 or np.allclose(p0, p1, atol=1e-8):
        return straight
    if side is not None and np.linalg.norm(side) < radius:
        touch = _through(radius, p0, p1)
    else:
        touch = _over(radius, p0, p1, None if side is None else np.array([side @ u, side @ v]))
    if touch is None:
        return straight
    w0, w1, arc = touch
    # along a cylinder the height grows with the length in the plane
    rise = float(axis @ (d1 - d0)) if kind == WrapKind.CYLINDER else 0.0
    base = float(axis @ d0) if kind == WrapKind.CYLINDER else 0.0
    first, last = np.linalg.norm(p0 - w0), np.linalg.norm(p1 - w1)
    flat = float(first + arc + last)
    points = [
        w[0] * u + w[1] * v + (base + rise * part / flat) * axis * (kind == WrapKind.CYLINDER)
        for w, part in ((w0, first), (w1, first + arc))
    ]
    return float(np.hypot(flat, rise)), points[0], points[1]


def _plane(kind: WrapKind, axis: FloatArray, d0: FloatArray, d1: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Two unit vectors: across a cylinder's axis, or of the plane of a sphere's centre and both ends."""
    if kind == WrapKind.CYLINDER:
        across = np.asarray(np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))]), dtype=np.float64)
        across = across / np.linalg.norm(across)
        return across, np.asarray(np.cross(axis, across), dtype=np.float64)
    u = d0 / max(np.linalg.norm(d0), 1e-12)
    v = d1 - (d1 @ u) * u
    return u, v / max(np.linalg.norm(v), 1e-12)


def _over(
    r: float, p0: FloatArray, p1: FloatArray, side: FloatArray | None
) -> tuple[FloatArray, FloatArray, float] | None:
    """Where a way around a circle touches it, and its arc [m]; None where nothing is in the way."""
    nearest = p0 + np.clip(-(p1 - p0) @ p0 / ((p1 - p0) @ (p1 - p0)), 0, 1) * (p1 - p0)
    turn = 1.0 if _cross(p0, p1) >= 0 else -1.0  # of the short way: to the left or to the right
    # the straight line passes opposite to the side site, seen from the centre
    wrong = side is not None and turn * _cross(p0, side) <= 0 and turn * _cross(side, p1) <= 0
    if nearest @ nearest > r * r and not wrong:
        return None
    turn = -turn if wrong else turn
    w0, w1 = _tangent(r, p0, turn), _tangent(r, p1, -turn)
    angle = turn * (np.arctan2(w1[1], w1[0]) - np.arctan2(w0[1], w0[0])) % (2 * np.pi)
    return w0, w1, r * float(angle)


def _cross(a: FloatArray, b: FloatArray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def _tangent(r: float, p: FloatArray, turn: float) -> FloatArray:
    """Where the line from ``p`` touches the circle that it goes on around to the left (1) or to the right (-1)."""
    square = p @ p
    across = np.array([-p[1], p[0]])
    return (r * r * p + turn * r * np.sqrt(square - r * r) * across) / square


def _through(r: float, p0: FloatArray, p1: FloatArray) -> tuple[FloatArray, FloatArray, float] | None:
    """The point of a circle over which the way is shortest; None where the straight line passes through the circle."""
    at = -(p1 - p0) @ p0 / ((p1 - p0) @ (p1 - p0))
    if 0 < at < 1 and np.linalg.norm(p0 + at * (p1 - p0)) <= r:
        return None
    start = np.arctan2(p0[1], p0[0])
    span = (np.arctan2(p1[1], p1[0]) - start + np.pi) % (2 * np.pi) - np.pi

    def point(x: float) -> FloatArray:
        return r * np.array([np.cos(start + x * span), np.sin(start + x * span)])

    def slope(x: float) -> float:
        w = point(x)
        along = np.array([-w[1], w[0]]) * span
        return sum(along @ (w - p) / np.linalg.norm(w - p) for p in (p0, p1))

    low, high = 0.0, 1.0
    for _ in range(60):
        x = 0.5 * (low + high)
        low, high = (x, high) if slope(x) < 0 else (low, x)
    return point(low), point(low), 0.0
