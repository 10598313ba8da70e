"""``Loops`` as flat arrays (columns: ``_source/loop_tables.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid._elimination import own_dofs
from diffsim_core.rigid._pack_muscles import reference_points
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.model import RigidModel


def loop_places(model: RigidModel) -> Any:
    """The end in the world ``[n, 3]`` of closures that have one, else zeros."""
    in_world = model.loops.link < 0
    return np.where(in_world[:, :1], model.loops.pos[:, 0], np.where(in_world[:, 1:], model.loops.pos[:, 1], 0.0))


def pack_loops(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals."""
    loops, reference = model.loops, reference_points(model)
    table, dofs, reals = [], [], []
    for i in range(loops.n):
        a, b = (int(link) for link in loops.link[i])
        ends = own_dofs(model, a, b)
        own = sorted((d, end) for end in (0, 1) for d in ends[end])
        table.append((a, b, reference[a] != reference[b], loops.welded[i], len(dofs), len(own)))
        dofs += own
        axes = [rotation(quat / np.linalg.norm(quat)).T.ravel() for quat in loops.quat[i]]
        gains = (loops.stiffness[i], loops.damping[i], loops.torsion[i], loops.torsion_damping[i])
        pos = np.where(loops.link[i][:, None] < 0, 0.0, loops.pos[i])  # an end in the world is among loop_places
        reals.append(np.concatenate([pos.ravel(), *axes, gains]))
    apart = any(row[2] for row in table)
    integers = [np.array(part, dtype=np.int64).ravel() for part in ([loops.n, apart], table, dofs)]
    return np.concatenate(integers), np.array(reals, dtype=np.float64).ravel()
