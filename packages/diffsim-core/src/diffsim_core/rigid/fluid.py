"""``Fluid``: a medium that does not move with the robot, and the shapes that it slows and lifts."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from diffsim_core.rigid.contacts import FloatArray, IntArray


class FluidShape(IntEnum):
    """By which of MuJoCo's two models the fluid acts on a shape."""

    BOX = 0
    """Drag of a body's box of equal inertia."""
    ELLIPSOID = 1
    """Drag, lift and added mass of an ellipsoid."""


class FluidCoefficients(NamedTuple):
    """Of an ellipsoid, as MuJoCo's ``geom fluidcoef`` and its own added mass."""

    blunt: float
    slender: float
    angular: float
    kutta: float
    magnus: float
    virtual_mass: FloatArray
    """Volume of fluid that moves along with each axis [m^3], ``[3]``."""
    virtual_inertia: FloatArray
    """Its second moment for a turn about each axis [m^5], ``[3]``."""


@dataclass(frozen=True, kw_only=True)
class Fluid:
    """A fluid at rest or in steady motion, and ``n`` shapes in it."""

    density: float = 0.0
    """[kg/m^3]"""
    viscosity: float = 0.0
    """[kg/(m s)]"""
    wind: FloatArray
    """``[3]`` velocity of the fluid [m/s]."""
    kind: IntArray
    """``[n]``, see :class:`FluidShape`."""
    link: IntArray
    """``[n]`` link of each shape."""
    pos: FloatArray
    """``[n, 3]`` centre in the link's frame [m]."""
    quat: FloatArray
    """``[n, 4]`` attitude in the link's frame, wxyz."""
    size: FloatArray
    """``[n, 3]`` full sides of a box, semi-axes of an ellipsoid [m]."""
    coefficients: FloatArray
    """``[n, 11]`` :class:`FluidCoefficients` of an ellipsoid, its two vectors last; zeros of a box."""

    @classmethod
    def none(cls) -> Fluid:
        """Empty space."""
        empty = np.zeros(0, np.int64)
        return cls(
            wind=np.zeros(3),
            kind=empty,
            link=empty,
            pos=np.zeros((0, 3)),
            quat=np.zeros((0, 4)),
            size=np.zeros((0, 3)),
            coefficients=np.zeros((0, 11)),
        )

    @property
    def n(self) -> int:
        """Number of shapes."""
        return len(self.kind)

    def of_ellipsoid(self, shape: int) -> FluidCoefficients:
        """Coefficients of an ellipsoid."""
        row = self.coefficients[shape]
        return FluidCoefficients(*(float(x) for x in row[:5]), virtual_mass=row[5:8], virtual_inertia=row[8:11])

    def non_finite(self) -> list[str]:
        """Names of the fields that hold something infinite or not a number."""
        return [f.name for f in fields(self) if not np.isfinite(getattr(self, f.name)).all()]
