"""Contact points at which friction brakes turning, as flat arrays (columns: ``_source/spin_tables.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid._pack_contact import plain_points, surface_points
from diffsim_core.rigid.model import RigidModel


def has_spins(model: RigidModel) -> bool:
    """Whether the kernels need these tables at all."""
    return bool(np.any(model.contact_spin) or np.any(model.contact_roll))


def pack_spins(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals."""
    rows: list[tuple[int, int]] = []
    reals: list[tuple[float, float, float]] = []
    for surface, order in enumerate((plain_points(model), surface_points(model))):
        for place, c in enumerate(order.tolist()):
            spin, roll, lever = (float(x[c]) for x in (model.contact_spin, model.contact_roll, model.contact_lever))
            if spin or roll:
                rows.append((surface, place))
                reals.append((spin * lever, roll * lever, lever**2))
    integers = np.concatenate([[len(rows)], np.array(rows, dtype=np.int64).ravel()]).astype(np.int64)
    return integers, np.array(reals, dtype=np.float64).ravel()
