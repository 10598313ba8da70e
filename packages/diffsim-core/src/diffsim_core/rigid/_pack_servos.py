"""Bounds of the sums of servos as a flat array (``H_TOTALS_REALS_AT`` in ``_source/model.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid.model import UNBOUNDED, RigidModel


def has_totals(model: RigidModel) -> bool:
    """Whether any sum of servos has bounds."""
    return bool(np.any(np.abs(model.servo_total_range) < UNBOUNDED))


def total_ranges(model: RigidModel) -> Any:
    """``[nv, 2]`` bounds of the sum of the servos of each degree of freedom."""
    ranges = np.tile([-UNBOUNDED, UNBOUNDED], (model.nv, 1))
    if len(model.servo_total_range):
        ranges[model.servo_dof] = model.servo_total_range
    return ranges


def pack_totals(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals; none where no sum has bounds."""
    return np.zeros(0, dtype=np.int64), total_ranges(model).ravel() if has_totals(model) else np.zeros(0)
