"""Tendons that wrap around shapes, taken as straight: what that changes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._muscles import WRAPPED, branches_of, path_of
from diffsim_core.io._names import geom_name, object_name
from diffsim_core.io._tendons import carries

WRAPPING = ("simulate", "straight")
"""What ``load_model`` can do about it."""


def straightened(m: Any) -> list[str]:
    """A sentence for each tendon that wraps around something: around what, and how much shorter it is without."""
    carrying = [t for t in range(m.ntendon) if carries(m, t)]
    around = {t: [geom_name(m, i) for wrap, i, _ in path_of(m, t) if wrap in WRAPPED] for t in carrying}
    if not any(around.values()):
        return []
    d = mujoco.MjData(m)
    mujoco.mj_kinematics(m, d)
    mujoco.mj_comPos(m, d)
    mujoco.mj_tendon(m, d)
    notes = []
    for t, geoms in around.items():
        if geoms:
            less = 100 * (1 - _straight_length(m, d, t) / max(float(d.ten_length[t]), 1e-12))
            shapes = ", ".join(f'"{name}"' for name in geoms)
            notes.append(
                f'tendon "{object_name(m, "tendon", t) or t}" is straight instead of wrapped around {shapes}:'
                f" {max(less, 0.0):.1f} % shorter in the initial pose"
            )
    return notes


def _straight_length(m: Any, d: Any, t: int) -> float:
    branches = branches_of(path_of(m, t))
    steps = (step for branch in branches for step in pairwise(branch))
    return sum(float(np.linalg.norm(d.site_xpos[b.site] - d.site_xpos[a.site])) / a.divisor for a, b in steps)
