"""A material that the package does not have: one header and one entry, as a user adds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffsim_mpm import Material, Parameter, register_material


def _stress(p: Any, C: Any, F: Any, h: Any) -> Any:
    Ft = np.swapaxes(F, -1, -2)
    S = p[..., 0, None, None] / 2 * (Ft @ F - np.eye(3))
    return F, h, F @ S @ Ft + p[..., 1, None, None] * (C + np.swapaxes(C, -1, -2))


KELVIN_VOIGT = Material(
    name="kelvin_voigt",
    header=Path(__file__).with_name("headers") / "kelvin_voigt.h",
    parameters=(Parameter(name="E", unit="Pa", default=2e3), Parameter(name="viscosity", unit="Pa s", default=3.0)),
    stress=_stress,
    energy=lambda p, F: p[..., 0] / 8 * ((np.swapaxes(F, -1, -2) @ F - np.eye(3)) ** 2).sum((-1, -2)),
    stiffness=lambda p: p[..., 0],
    viscosity=lambda p: p[..., 1],
)
register_material(KELVIN_VOIGT)
