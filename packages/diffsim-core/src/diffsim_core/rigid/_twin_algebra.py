"""Quaternions (w, x, y, z) and spatial algebra of the twin: twists and wrenches about the world origin."""

from __future__ import annotations

from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def quat_mul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Hamilton product: ``rotation(a b) = rotation(a) rotation(b)``."""
    return np.concatenate([[a[0] * b[0] - a[1:] @ b[1:]], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def rotation_matrix(quat: FloatArray) -> FloatArray:
    """Rotation ``[3, 3]`` of a quaternion of any length, ``R = 1 + 2 w [n] + 2 [n]^2`` once normalised."""
    w, *n = quat / np.linalg.norm(quat)
    K = cross_matrix(np.array(n))
    return np.eye(3) + 2 * w * K + 2 * K @ K


def axis_rotation(axis: FloatArray, angle: float) -> FloatArray:
    """Rotation ``[3, 3]`` by ``angle`` [rad] about a unit axis."""
    return rotation_matrix(np.concatenate([[np.cos(0.5 * angle)], np.sin(0.5 * angle) * axis]))


def rotation_vector(quat: FloatArray) -> FloatArray:
    """Axis times angle [rad] of a unit quaternion, the short way round."""
    w, n = (quat[0], quat[1:]) if quat[0] >= 0 else (-quat[0], -quat[1:])
    length = np.linalg.norm(n)
    return 2 * n if length < 1e-12 else 2 * np.arctan2(length, w) * n / length


def cross_matrix(a: FloatArray) -> FloatArray:
    """``[a]`` with ``[a] b = a x b``."""
    return np.array([[0, -a[2], a[1]], [a[2], 0, -a[0]], [-a[1], a[0], 0]])


def turning(axes: FloatArray, x: FloatArray) -> FloatArray:
    """Twists of turning about ``axes`` ``[3]`` or columns of ``[3, n]``, through the point ``x``."""
    return np.concatenate([axes, cross_matrix(x) @ axes])


def motion_cross(V: FloatArray, W: FloatArray) -> FloatArray:
    """``V x W``: rate of change of a twist ``W`` that is carried along with ``V``."""
    return np.concatenate([np.cross(V[:3], W[:3]), np.cross(V[:3], W[3:]) + np.cross(V[3:], W[:3])])


def force_cross(V: FloatArray, F: FloatArray) -> FloatArray:
    """``V x* F``: rate of change of a wrench or momentum ``F`` that is carried along with ``V``."""
    return np.concatenate([np.cross(V[:3], F[:3]) + np.cross(V[3:], F[3:]), np.cross(V[:3], F[3:])])


def spatial_inertia(mass: float, com: FloatArray, inertia: FloatArray) -> FloatArray:
    """``[6, 6]`` map from twist to momentum; ``com`` and the ``inertia`` about it in world axes."""
    C = cross_matrix(com)
    return np.block([[inertia - mass * C @ C, mass * C], [-mass * C, mass * np.eye(3)]])
