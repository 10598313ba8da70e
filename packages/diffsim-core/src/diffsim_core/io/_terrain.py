"""Height fields of a compiled model."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid.contacts import HeightField
from diffsim_core.rigid.model import Body

HFIELD = int(mujoco.mjtGeom.mjGEOM_HFIELD)


def height_fields(m: Any, bodies: list[Body]) -> dict[int, HeightField | None]:
    """The height field of every static ``hfield`` geom, by MuJoCo's index; ``None`` where it is turned.

    MuJoCo stores heights from 0 to 1, rows along y; ``size`` is half the extent along x and y and the height of 1.
    """
    found: dict[int, HeightField | None] = {}
    for g in range(m.ngeom):
        body = bodies[m.geom_bodyid[g]]
        if int(m.geom_type[g]) != HFIELD or body.link >= 0:
            continue
        axes = rotation(quat_mul(body.quat, m.geom_quat[g]))
        pos = body.pos + rotation(body.quat) @ m.geom_pos[g]
        i = int(m.geom_dataid[g])
        ny, nx = int(m.hfield_nrow[i]), int(m.hfield_ncol[i])
        data = np.array(m.hfield_data[m.hfield_adr[i] : m.hfield_adr[i] + nx * ny], dtype=np.float64)
        half, height = m.hfield_size[i, :2], float(m.hfield_size[i, 2])
        spacing = 2 * half / np.array([nx - 1, ny - 1])
        good = bool(np.isfinite(data).all() and np.isfinite(pos).all() and np.isfinite(spacing).all())
        straight = good and np.allclose(axes, np.eye(3), atol=1e-9) and bool(np.all(spacing > 0))
        found[g] = (
            HeightField(heights=pos[2] + height * data.reshape(ny, nx), origin=pos[:2] - half, spacing=spacing)
            if straight
            else None
        )
    return found
