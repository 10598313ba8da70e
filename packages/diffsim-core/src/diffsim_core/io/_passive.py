"""Gravity compensation and fluid of a compiled MuJoCo model."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.rigid._quat import quat_mul, rotation
from diffsim_core.rigid.fluid import Fluid, FluidShape
from diffsim_core.rigid.model import Body

_MINIMUM = 1e-15
"""MuJoCo's ``mjMINVAL``: what has less mass does not feel the fluid."""
_SPHERE, _CAPSULE, _CYLINDER = (
    int(getattr(mujoco.mjtGeom, f"mjGEOM_{name}")) for name in ("SPHERE", "CAPSULE", "CYLINDER")
)


def gravcomp_arrays(m: Any, bodies: list[Body], masses: Any, centres: Any) -> dict[str, Any]:
    """``link_gravcomp`` and ``link_gravcomp_offset``, given masses ``[nl]`` and centres of mass ``[nl, 3]``."""
    held, moment = np.zeros(len(masses)), np.zeros((len(masses), 3))
    if not _switched_off(m):
        for b, body in enumerate(bodies):
            if body.link >= 0 and m.body_gravcomp[b] != 0:
                part = float(m.body_gravcomp[b]) * body.mass
                held[body.link] += part
                moment[body.link] += part * (body.pos + rotation(body.quat) @ m.body_ipos[b])
    masses = np.where(masses > 0, masses, 1.0)
    part = held / masses
    offset = moment / masses[:, None] - part[:, None] * centres
    offset[np.abs(offset) < 1e-13] = 0.0  # of one body, or of several with one number: rounding
    return {"link_gravcomp": part, "link_gravcomp_offset": offset}


def read_fluid(m: Any, bodies: list[Body]) -> Fluid:
    """The fluid, with a box for every body that moves, or an ellipsoid for each of its geoms that ask for one."""
    if (m.opt.density == 0 and m.opt.viscosity == 0) or _switched_off(m):
        return Fluid.none()
    rows: list[tuple[Any, ...]] = []
    for b, body in enumerate(bodies):
        if body.link < 0 or m.body_mass[b] < _MINIMUM:
            continue
        own = range(m.body_geomadr[b], m.body_geomadr[b] + m.body_geomnum[b])
        geoms = [g for g in own if m.geom_fluid[g, 0] > 0]
        frames = [(m.geom_pos[g], m.geom_quat[g], _ellipsoid(m, g)) for g in geoms]
        for pos, quat, shape in frames or [(m.body_ipos[b], m.body_iquat[b], _box(m, b))]:
            at = body.pos + rotation(body.quat) @ pos
            rows.append((body.link, at, quat_mul(body.quat, quat), *shape))
    if not rows:
        return Fluid.none()
    link, pos, quat, kind, size, coefficients = (np.array(column) for column in zip(*rows, strict=True))
    return Fluid(
        density=float(m.opt.density),
        viscosity=float(m.opt.viscosity),
        wind=m.opt.wind.copy(),
        kind=kind.astype(np.int64),
        link=link.astype(np.int64),
        pos=pos,
        quat=quat,
        size=size,
        coefficients=coefficients,
    )


def _switched_off(m: Any) -> bool:
    """Whether flags leave no passive force at all."""
    bits = mujoco.mjtDisableBit.mjDSBL_SPRING, mujoco.mjtDisableBit.mjDSBL_DAMPER
    return all(m.opt.disableflags & bit for bit in bits)


def _box(m: Any, b: int) -> tuple[int, Any, Any]:
    """Sides of the box of a body's mass and inertia."""
    squares = m.body_inertia[b].sum() - 2 * m.body_inertia[b]
    return int(FluidShape.BOX), np.sqrt(np.maximum(squares, _MINIMUM) / m.body_mass[b] * 6), np.zeros(11)


def _ellipsoid(m: Any, g: int) -> tuple[int, Any, Any]:
    """Semi-axes, and coefficients in the order of :class:`FluidCoefficients`."""
    size, kind = m.geom_size[g].copy(), int(m.geom_type[g])
    if kind in (_SPHERE, _CAPSULE, _CYLINDER):
        half = {_SPHERE: size[0], _CAPSULE: size[1] + size[0], _CYLINDER: size[1]}[kind]
        size = np.array([size[0], size[0], half])
    return int(FluidShape.ELLIPSOID), size, m.geom_fluid[g, 1:].copy()
