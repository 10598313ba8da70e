"""Laws of joint limits: the formulas that C++, twin and loader share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffsim_core.rigid.contacts import FloatArray
from diffsim_core.rigid.joints import JOINTS

if TYPE_CHECKING:
    from diffsim_core.rigid.model import RigidModel

LIMIT_LAWS = ("paper", "released", "damped")
"""Whose formula for joint limits a model follows, see ``RigidModel.limit_law``."""


def limit_onset(bounds: FloatArray) -> float:
    """Depth beyond a range at which half of the ``damped`` law's damper acts [m] or [rad].

    A five hundredth of the range, at most 0.002: the force sets in without a jump, so gradients see it coming.
    """
    return 0.002 * min(float(bounds[1] - bounds[0]), 1.0) or 1e-6


def has_limit_damper(model: RigidModel, i: int) -> bool:
    """Whether the limits of a joint have a damper of the ``damped`` law."""
    scalar = JOINTS.at(int(model.joint_type[i])).scalar
    return model.limit_law == "damped" and scalar and bool(model.joint_limited[i])


def free_damping(model: RigidModel) -> FloatArray:
    """Damping of each degree of freedom within its range ``[nv]``, to which the ``released`` law of limits adds."""
    damping = np.array(model.dof_damping, dtype=np.float64)
    if model.limit_law == "released":
        for i, kind in enumerate(model.joint_type):
            if JOINTS.at(int(kind)).scalar:
                damping[model.joint_dof[i]] += model.limit_damping[i]
    return damping


def has_losses(model: RigidModel) -> bool:
    """Whether dry friction or dampers of limits act anywhere."""
    return bool(np.any(model.dof_friction)) or any(has_limit_damper(model, i) for i in range(model.nl))


def limit_damper(model: RigidModel, i: int, q: float) -> float:
    """Coefficient of the damper that a limit is at coordinate ``q`` [N s/m] or [N m s/rad]: ``c x / (x + x0)``.

    ``x`` is the depth beyond the range and ``x0`` that of :func:`limit_onset`.
    """
    lower, upper = model.joint_range[i]
    x = max(lower - q, 0.0) + max(q - upper, 0.0)
    return float(model.limit_damping[i] * x / (x + limit_onset(model.joint_range[i])))
