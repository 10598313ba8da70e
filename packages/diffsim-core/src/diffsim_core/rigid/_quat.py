"""Quaternions (w, x, y, z) for preparing models; the twin, which is to be read alone, has its own."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid.model import FloatArray


def rotation(quat: FloatArray) -> FloatArray:
    """Rotation matrix ``[3, 3]`` of a unit quaternion wxyz."""
    w, x, y, z = quat
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def quat_mul(a: FloatArray, b: FloatArray) -> FloatArray:
    """Hamilton product of quaternions wxyz."""
    return np.array(
        [
            a[0] * b[0] - a[1:] @ b[1:],
            *(a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])),
        ]
    )
