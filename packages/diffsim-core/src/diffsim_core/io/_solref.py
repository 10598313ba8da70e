"""MuJoCo's own softness of contact and limits, as stiffness and damping: ``contact="mujoco"``.

MuJoCo's constraint with impedance ``d`` and reference ``aref = -b v - k r`` rests at a depth ``r`` where
``k r = g (1 - d) / d`` (documentation, Computation, Constraint model): to first order it is a spring and a damper on
the inertia ``m`` that the point feels, ``m k d / (1 - d)`` and ``m b d / (1 - d)``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from diffsim_core.io._initial_pose import factored, mobility
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io.params import ContactParams, LimitParams
from diffsim_core.rigid.model import FloatArray, Geom, IntArray

_GROUND = (int(mujoco.mjtGeom.mjGEOM_PLANE), int(mujoco.mjtGeom.mjGEOM_HFIELD))

Gains = tuple[float, float, float]
"""kn, kd and kt."""


def softness(m: Any, solref: FloatArray, solimp: FloatArray) -> tuple[float, float]:
    """Spring [1/s^2] and damper [1/s] per unit of inertia of ``solref`` and ``solimp``, near the surface."""
    low, high = np.clip(solimp[:2], 1e-4, 1 - 1e-4)
    if solref[0] > 0:
        # MuJoCo keeps the time constant above two of its steps
        time = max(solref[0], 2 * m.opt.timestep)
        k, b = 1 / (high * time * solref[1]) ** 2, 2 / (high * time)
    else:
        k, b = -solref[0] / high**2, -solref[1] / high
    return float(k * low / (1 - low)), float(b * low / (1 - low))


def solref_contact_gains(m: Any, geoms: Mapping[int, Geom], contact: ContactParams) -> Callable[[Geom], Gains]:
    """kn, kd and kt of a shape with the file's ``solref`` and ``solimp``; what ``contact`` gives has precedence."""
    inertias = _point_inertias(m)
    ground = [s for s in range(m.ngeom) if int(m.geom_type[s]) in _GROUND]
    index = {id(shape): g for g, shape in geoms.items()}

    def gains(shape: Geom) -> Gains:
        g = index[id(shape)]
        spring, damper = softness(m, *_mixed(m, g, ground[0] if ground else g))
        inertia = inertias[int(m.geom_bodyid[g])]
        kn = contact.kn if contact.kn is not None else inertia * spring
        # kd multiplies depth: as strong as MuJoCo's damper where gravity leaves the point
        kd = contact.kd if contact.kd is not None else kn * damper / (np.linalg.norm(m.opt.gravity) or 9.81)
        kt = contact.kt if contact.kt is not None else inertia * damper
        return float(kn), float(kd), float(kt)

    return gains


def solref_limits(m: Any, joints: IntArray, inertia: FloatArray, limits: LimitParams) -> dict[str, FloatArray]:
    """``limit_stiffness`` and ``limit_damping`` ``[nl]`` of the joints' own ``solreflimit`` and ``solimplimit``."""
    pairs = [softness(m, m.jnt_solref[j], m.jnt_solimp[j]) for j in joints]
    stiffness, damping = (inertia * np.array([pair[k] for pair in pairs]) for k in (0, 1))
    given = {"limit_stiffness": limits.stiffness, "limit_damping": limits.damping}
    found = {"limit_stiffness": stiffness, "limit_damping": damping}
    return {key: found[key] if value is None else np.full(len(joints), value) for key, value in given.items()}


def _mixed(m: Any, g: int, s: int) -> tuple[FloatArray, FloatArray]:
    """``solref`` and ``solimp`` of a shape on the ground, by MuJoCo's rule: priority, then ``solmix``."""
    if m.geom_priority[g] != m.geom_priority[s]:
        first = g if m.geom_priority[g] > m.geom_priority[s] else s
        return m.geom_solref[first], m.geom_solimp[first]
    weights = np.array([m.geom_solmix[g], m.geom_solmix[s]], dtype=np.float64)
    weights = weights / weights.sum() if weights.sum() > 1e-15 else np.full(2, 0.5)
    solref, solimp = (np.stack([field[g], field[s]]) for field in (m.geom_solref, m.geom_solimp))
    mixed = weights @ solref if (solref[:, 0] > 0).all() else solref.min(axis=0)
    return mixed, weights @ solimp


def _point_inertias(m: Any) -> dict[int, float]:
    """Inertia [kg] of each moving body's centre of mass along the vertical in the initial pose, all joints free."""
    d = factored(m)
    found = {}
    for b in range(1, m.nbody):
        inverse = float(mobility(m, d, b)[2, 2])
        found[b] = 1 / inverse if inverse > 1e-12 else float(m.body_subtreemass[b])
    return found
