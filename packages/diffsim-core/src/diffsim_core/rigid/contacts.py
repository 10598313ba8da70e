"""What contact needs beyond plain points on a plane, as plain arrays: pairs of shapes and height fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


class PointKind(IntEnum):
    """How the point at which a shape touches the ground moves over the shape."""

    ROUND = 0
    """A sphere about ``contact_pos``; a corner if its radius is zero."""
    ELLIPSOID = 1
    """The lowest point of an ellipsoid about ``contact_pos``."""


class PairKind(IntEnum):
    """Shapes of a pair; the first is always a segment with a radius (a sphere if its length is zero)."""

    SEGMENTS = 0
    SEGMENT_BOX = 1


@dataclass(frozen=True, kw_only=True)
class ContactPairs:
    """``np`` pairs of shapes on two links that may touch: spheres and capsules with each other and with boxes.

    Each pair has one contact at the closest points, with the law of Eq. 3 of the SHAC paper (Xu et al. 2022) along the
    line that joins them. Positions and directions are in the frames of the shapes' links.
    """

    kind: IntArray
    """``[np]``, see ``PairKind``."""
    link: IntArray
    """``[np, 2]``; one of the two may be -1, the world."""
    pos: FloatArray
    """``[np, 2, 3]`` centres [m]."""
    radius: FloatArray
    """``[np, 2]`` of the segments [m]; zero for a box."""
    half: FloatArray
    """``[np, 2, 3]`` from a segment's centre to its end, zero for a sphere; for a box its half extents [m]."""
    quat: FloatArray
    """``[np, 4]`` attitude of the box, wxyz."""
    kn: FloatArray
    """``[np]`` normal stiffness [N/m]."""
    kd: FloatArray
    """``[np]`` normal damping [N s/m^2]."""
    kt: FloatArray
    """``[np]`` tangential damping [N s/m]."""
    mu: FloatArray
    """``[np]`` friction coefficient."""
    geom: tuple[tuple[str, str], ...]
    """Names of the two shapes."""

    @classmethod
    def none(cls) -> ContactPairs:
        """No pairs."""
        ints = {"kind": (0,), "link": (0, 2)}
        reals = {"pos": (0, 2, 3), "radius": (0, 2), "half": (0, 2, 3), "quat": (0, 4)}
        reals |= dict.fromkeys(("kn", "kd", "kt", "mu"), (0,))
        arrays: dict[str, Any] = {name: np.zeros(shape) for name, shape in reals.items()}
        arrays |= {name: np.zeros(shape, dtype=np.int64) for name, shape in ints.items()}
        return cls(**arrays, geom=())

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True, kw_only=True)
class HeightField:
    """Ground that is not level: heights on a grid along the world's x and y.

    Between the samples the height is interpolated by Catmull-Rom cubics in both directions, which pass through the
    samples and have a continuous slope, so that forces have no jumps; beyond the border the nearest sample goes on.

    Raises:
        ValueError: a field is not finite, the grid is smaller than 2 x 2, or a spacing is not positive.
    """

    heights: FloatArray
    """``[ny, nx]`` z of the ground [m]."""
    origin: FloatArray
    """``[2]`` x and y of ``heights[0, 0]`` [m]."""
    spacing: FloatArray
    """``[2]`` distance of neighbouring samples along x and y [m]."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = np.array(getattr(self, f.name), dtype=np.float64)
            object.__setattr__(self, f.name, value)
            if not np.all(np.isfinite(value)):
                raise ValueError(f"HeightField.{f.name} has values that are not finite: correct it")
        if self.heights.ndim != 2 or min(self.heights.shape) < 2:
            raise ValueError(f"HeightField.heights has shape {self.heights.shape}: give at least 2 x 2 samples")
        for name in ("origin", "spacing"):
            if (value := getattr(self, name)).shape != (2,):
                raise ValueError(f"HeightField.{name} has shape {value.shape}: give two numbers, along x and y")
        if not np.all(self.spacing > 0):
            raise ValueError(f"HeightField.spacing is {self.spacing.tolist()}: give positive metres")
