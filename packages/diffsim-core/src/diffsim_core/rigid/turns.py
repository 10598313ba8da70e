"""Which joints turn no faster than a sub-step resolves: those that are not wheels (``_source/turns.h``)."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid._twin_algebra import axis_rotation
from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import FloatArray, RigidModel

TURN = 0.25
"""The angle [rad] of a sub-step beyond which the implicit integrator bends a rate; twice that is never reached."""
_ROUND = 0.02
"""Share of its inertia by which a wheel or a rotor may be out of round."""


def bent_links(model: RigidModel) -> list[bool]:
    """Whether the turning of each link's joint is limited.

    Wheels and rotors, round about the axis of their hinge and with nothing jointed to them, are not: no force
    depends on how far they turned, so they may turn as fast as they like.
    """
    carriers = set(map(int, model.link_parent))
    joints = [JOINTS.at(int(kind)) for kind in model.joint_type]
    wheels = [joint.scalar and i not in carriers and _round(model, i) for i, joint in enumerate(joints)]
    return [not joint.translates and not wheel for joint, wheel in zip(joints, wheels, strict=True)]


def new_rates(model: RigidModel, qd: FloatArray, qdd: FloatArray, dt: float, integrator: str) -> FloatArray:
    """Rates ``[nv]`` after a sub-step of ``dt`` seconds; the implicit integrator bends them."""
    return bend(model, qd + dt * qdd, dt) if integrator == "implicit" else qd + dt * qdd


def bend(model: RigidModel, qd: FloatArray, dt: float) -> FloatArray:
    """Rates ``[nv]`` after a sub-step of ``dt`` seconds: ``v a/x (2 - a/x)`` where ``x = |v| dt`` exceeds a."""
    qd, limit = qd.copy(), TURN / dt
    if np.abs(qd).max(initial=0.0) <= limit:
        return qd
    for i, bent in enumerate(bent_links(model)):
        joint = JOINTS.at(int(model.joint_type[i]))
        if not bent or i in model.couplings.link:
            continue
        for d in range(int(model.joint_dof[i]) + joint.world, int(model.joint_dof[i]) + joint.nv):
            if abs(qd[d]) > limit:
                share = limit / abs(qd[d])
                qd[d] *= share * (2 - share)
    return qd


def _round(model: RigidModel, i: int) -> bool:
    turn = axis_rotation(model.joint_axis[i], 1.0)
    com, inertia = model.link_com[i], model.link_inertia[i] + model.link_mass[i] * _squares(model.link_com[i])
    size = np.trace(inertia)
    apart = np.abs(turn @ inertia @ turn.T - inertia).max()
    lever = np.linalg.norm(np.cross(model.joint_axis[i], com))
    return bool(apart <= _ROUND * size and model.link_mass[i] * lever**2 <= _ROUND * size)


def _squares(x: FloatArray) -> FloatArray:
    return np.array(x @ x * np.eye(3) - np.outer(x, x))
