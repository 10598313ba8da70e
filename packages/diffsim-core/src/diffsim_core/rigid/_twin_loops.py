"""The closed loops of the twin: plain NumPy, one world, written to be read."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from diffsim_core.rigid._twin_algebra import cross_matrix, rotation_matrix
from diffsim_core.rigid.coupled import uncoupled
from diffsim_core.rigid.model import FloatArray, RigidModel


class LoopRows(NamedTuple):
    """What closures hold together, row by row: three for places, and three for axes of a closure with torsion."""

    gap: FloatArray
    """``[rows]`` gaps [m], and sines of angles."""
    jacobian: FloatArray
    """``[rows, nv]`` velocities of the second link against the first by those of the joints."""
    stiffness: FloatArray
    """``[rows]`` [N/m] or [N m/rad]."""
    damping: FloatArray
    """``[rows]`` [N s/m] or [N m s/rad]."""


def loop_rows(model: RigidModel, rotation: FloatArray, position: FloatArray, S: FloatArray) -> LoopRows:
    """All rows, by the motion of all joints; arguments as of ``lengths_and_moments`` of the muscles."""
    model = uncoupled(model)
    loops = model.loops
    gaps, rows, gains = [], [np.zeros((0, model.nv))], []
    for i in range(loops.n):
        points, axes, columns = [], [], []
        for link, pos, quat in zip(loops.link[i], loops.pos[i], loops.quat[i], strict=True):
            E, x = (rotation[link], position[link]) if link >= 0 else (np.eye(3), np.zeros(3))
            points.append(x + E @ pos)
            axes.append(E @ rotation_matrix(quat))
            columns.append(S * moved_by(model, int(link)))
        middle, against = (points[0] + points[1]) / 2, columns[1] - columns[0]
        gaps.append(points[1] - points[0])
        rows.append(against[3:] - cross_matrix(middle) @ against[:3])
        gains += [(loops.stiffness[i], loops.damping[i])] * 3
        if loops.welded[i]:
            gaps.append(np.cross(axes[0].T, axes[1].T).sum(axis=0) / 2)
            rows.append(against[:3])
            gains += [(loops.torsion[i], loops.torsion_damping[i])] * 3
    stiffness, damping = np.array(gains, dtype=np.float64).reshape(-1, 2).T
    return LoopRows(np.concatenate([np.zeros(0), *gaps]), np.concatenate(rows), stiffness, damping)


def moved_by(model: RigidModel, link: int) -> FloatArray:
    """``[nv]`` one for each degree of freedom that moves a link, else zero."""
    found = np.zeros(model.nv)
    while link >= 0:
        end = model.joint_dof[link + 1] if link + 1 < model.nl else model.nv
        found[model.joint_dof[link] : end] = 1.0
        link = int(model.link_parent[link])
    return found


def loop_forces(rows: LoopRows, qd: FloatArray, dt: float) -> tuple[FloatArray, FloatArray]:
    """The closures' part of the equations of motion ``(M + dt C) qdd = tau``: ``tau [nv]`` and ``C [nv, nv]``.

    The force belongs to the velocity after ``dt`` seconds and to the gap that it leaves:
    ``-(stiffness (gap + dt J qd') + damping J qd')`` with ``qd' = qd + dt qdd``. ``dt = 0`` gives the force now.
    """
    firmness = rows.damping + dt * rows.stiffness
    force = rows.stiffness * rows.gap + firmness * (rows.jacobian @ qd)
    return -rows.jacobian.T @ force, rows.jacobian.T @ (firmness[:, None] * rows.jacobian)


def loop_energy(rows: LoopRows) -> float:
    """Energy that the springs hold [J], near to their rest where they hold axes."""
    return float(0.5 * rows.stiffness @ rows.gap**2)
