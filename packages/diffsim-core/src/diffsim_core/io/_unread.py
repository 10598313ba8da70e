"""Sentences about attributes that are read by MuJoCo, not by us, and that change little enough to load without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from diffsim_core.io._flags import switched_off
from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._names import geom_name, joint_name, object_name

_SHOWN = 3


def unread(m: Any) -> list[str]:
    """One sentence for each attribute, with the names of the elements that have it."""
    notes = []
    if not switched_off(m, "limit"):
        joints = [joint_name(m, j) for j in range(m.njnt) if m.jnt_limited[j] and m.jnt_margin[j] != 0]
        limited = np.flatnonzero((m.tendon_limited != 0) & (m.tendon_margin != 0)).tolist()
        tendons = [object_name(m, "tendon", t) or str(t) for t in limited]
        for kind, names in (("joint", joints), ("tendon", tendons)):
            notes += _note("margin", kind, names, "limits push from the ends of the range on")
    if not switched_off(m, "contact"):
        touching = (m.geom_contype != 0) | (m.geom_conaffinity != 0)
        geoms = [geom_name(m, g) for g in np.flatnonzero(touching & (m.geom_gap != 0)).tolist()]
        pairs = [object_name(m, "pair", p) or str(p) for p in np.flatnonzero(m.pair_gap != 0).tolist()]
        notes += _note("gap", "geom", geoms, "contact has none") + _note("gap", "pair", pairs, "contact has none")
        if m.opt.enableflags & mujoco.mjtEnableBit.mjENBL_OVERRIDE:
            notes.append('flag override="enable": contacts keep their own gap, solref and solimp')
    return notes


def _note(what: str, kind: str, names: Sequence[str], why: str) -> list[str]:
    shown = ", ".join(f'"{name}"' for name in names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{what} of {kind} {shown}{more}: {why}"] if names else []
