"""Coupling with rigid shapes in NumPy, to be read alone: ``_source/shapes.h``, ``coupling.h`` and ``chain.h``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffsim_mpm.chain import KinematicChain, place, unit
from diffsim_mpm.shapes import STICKY, Cylinder, Numbers, Plane, Shape, SignedDistanceGrid


def poses(chain: KinematicChain, q: Any) -> Numbers:
    """Poses of all shapes ``[ns, 12]`` (axes, one after the other, and origin) at joint positions ``q [nq]``."""
    frames: dict[str | None, Numbers] = {None: np.eye(4)}
    for joint, at in zip(chain.joints, np.asarray(q), strict=True):
        motion, axis = np.eye(4), unit(joint.axis)
        if joint.kind == "slide":
            motion[:3, 3] = axis * at
        else:
            skew = np.cross(np.eye(3), axis)
            motion[:3, :3] += np.sin(at) * skew + (1 - np.cos(at)) * skew @ skew
        frames[joint.name] = frames[joint.parent] @ _matrix(place(joint)) @ motion
    placed = [frames[shape.joint] @ _matrix(place(shape)) for shape in chain.shapes]
    return np.array([np.concatenate([m[:3, :3].T.ravel(), m[:3, 3]]) for m in placed])


def signed_distance(shape: Shape, x: Numbers) -> tuple[Numbers, Numbers]:
    """Signed distances ``[n]`` and directions away from the shape ``[n, 3]`` at points ``[n, 3]`` in its frame [m]."""
    if isinstance(shape, Plane):
        return x[:, 2], np.broadcast_to([0.0, 0.0, 1.0], x.shape)
    if isinstance(shape, SignedDistanceGrid):
        return _sampled(shape, x)
    sign = np.where(x < 0, -1.0, 1.0)
    size = np.asarray(shape.size, np.float64)
    away = np.abs(x) - size
    radius = np.hypot(x[:, 0], x[:, 1])
    if isinstance(shape, Cylinder):  # a box in the plane of the axis and the point
        away = np.stack([radius - size[0], np.full(len(x), -np.inf), away[:, 2]], axis=1)
    outside = np.maximum(away, 0.0)
    length = np.linalg.norm(outside, axis=1)
    inside = np.eye(3)[away.argmax(axis=1)]
    m = np.where(length[:, None] > 0, outside / np.maximum(length, 1e-300)[:, None], inside)
    d = np.where(length > 0, length, away.max(axis=1)) - shape.rounding
    if isinstance(shape, Cylinder):
        radial = x[:, :2] / np.maximum(radius, 1e-300)[:, None]
        return d, np.concatenate([radial * m[:, :1], sign[:, 2:] * m[:, 2:]], axis=1)
    return d, sign * m


def collide(
    chain: KinematicChain, pose: Numbers, pose_next: Numbers, dt: float, x: Numbers, mass: Numbers, v: Numbers
) -> tuple[Numbers, Numbers]:
    """Grid nodes against all shapes, one after the other.

    Args:
        chain: whose shapes push.
        pose: of each shape now ``[ns, 12]``.
        pose_next: of each shape at the end of the sub-step ``[ns, 12]``.
        dt: duration of the sub-step [s].
        x: nodes ``[n, 3]`` [m].
        mass: of each node ``[n]`` [kg]; empty ones keep their velocity.
        v: velocity of each node ``[n, 3]`` [m/s].

    Returns:
        Velocities ``[n, 3]`` and, of each shape, impulse and its moment about the shape's origin ``[ns, 6]``
        [N s, N m s].
    """
    v, impulses = np.array(v), np.zeros((len(chain.shapes), 6))
    for k, shape in enumerate(chain.shapes):
        E, p = pose[k, :9].reshape(3, 3).T, pose[k, 9:]
        E_next, p_next = pose_next[k, :9].reshape(3, 3).T, pose_next[k, 9:]
        local = (x - p) @ E
        d, n_local = signed_distance(shape, local)
        n = n_local @ E.T
        influence = np.exp(np.minimum(-shape.softness * d, 0.0))
        active = (mass > 0) & ((d <= 0) | (d < shape.reach))
        body = (local @ E_next.T + p_next - x) / dt
        rel = v - body
        vn = np.sum(rel * n, axis=1)
        t = rel - np.minimum(vn, 0.0)[:, None] * n
        speed = np.sqrt(np.sum(t * t, axis=1) + 1e-24)
        left = np.where(vn < 0, np.maximum(1 + shape.friction * vn / speed, 0.0), 1.0)
        left = 0.0 * left if shape.friction >= STICKY else left
        after = body + rel * (1 - influence)[:, None] + t * (left * influence)[:, None]
        after = np.where(active[:, None], after, v)
        lost = (v - after) * mass[:, None]
        impulses[k] = np.concatenate([lost.sum(axis=0), np.cross(x - p, lost).sum(axis=0)])
        v = after
    return v, impulses


def joints_at(chain: KinematicChain, q: Any, u: Any, fraction: float) -> Numbers:
    """Joint positions ``[..., nq]`` after a fraction of a control step that moves them by ``u``, within limits."""
    return np.clip(np.asarray(q) + fraction * np.asarray(u), *chain.limits.T)


def _matrix(pose: Sequence[float] | Numbers) -> Numbers:
    m = np.eye(4)
    m[:3, :3], m[:3, 3] = np.reshape(pose[:9], (3, 3)).T, pose[9:]
    return m


def _sampled(shape: SignedDistanceGrid, x: Numbers) -> tuple[Numbers, Numbers]:
    """Value and direction of the quadratic spline; far away outside of the samples."""
    n = np.array(shape.samples.shape)
    u = (x - np.asarray(shape.origin)) / shape.spacing
    within = np.all((u >= 0.5) & (u < n - 1.5), axis=1)
    middle = np.clip(np.floor(u + 0.5).astype(int), 1, n - 2)
    f = u - middle
    w = np.stack([0.5 * (0.5 - f) ** 2, 0.75 - f**2, 0.5 * (0.5 + f) ** 2], axis=2)
    slope = np.stack([f - 0.5, -2 * f, f + 0.5], axis=2)
    near = middle[:, :, None] + np.array([-1, 0, 1])
    values = shape.samples[near[:, 0, :, None, None], near[:, 1, None, :, None], near[:, 2, None, None, :]]
    d = np.einsum("pijk,pi,pj,pk->p", values, w[:, 0], w[:, 1], w[:, 2])
    terms = [[slope if a == b else w for b in range(3)] for a in range(3)]
    g = [np.einsum("pijk,pi,pj,pk->p", values, *(s[b][:, b] for b in range(3))) for s in terms]
    gradient = np.stack(g, axis=1) / shape.spacing
    direction = gradient / np.maximum(np.linalg.norm(gradient, axis=1), 1e-12)[:, None]
    return np.where(within, d, 1e30), np.where(within[:, None], direction, 0.0)
