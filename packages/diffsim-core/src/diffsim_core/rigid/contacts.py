"""What contact needs beyond plain points on a plane, as plain arrays: pairs of shapes and height fields."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

import numpy as np

from diffsim_core.rigid.solids import Solid

FloatArray = np.ndarray[Any, np.dtype[np.float64]]
IntArray = np.ndarray[Any, np.dtype[np.int64]]


class PointKind(IntEnum):
    """How the point at which a shape touches the ground moves over the shape."""

    ROUND = 0
    """A sphere about ``contact_pos``; a corner if its radius is zero."""
    ELLIPSOID = 1
    """The lowest point of an ellipsoid about ``contact_pos``."""


@dataclass(frozen=True, kw_only=True)
class ContactPairs:
    """``np`` pairs of convex shapes on two links that may touch.

    Where they overlap, the law of Eq. 3 of the SHAC paper (Xu et al. 2022) acts at several points, which share the
    gains of the pair. ``docs/engine/contact.md`` has the rule.
    """

    solid: IntArray
    """``[np, 2]`` the two shapes, by their place in ``solids``. A shape with faces comes second."""
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
    solids: tuple[Solid, ...]
    """Shapes that occur in pairs."""

    @classmethod
    def none(cls) -> ContactPairs:
        """No pairs."""
        gains: dict[str, Any] = {name: np.zeros(0) for name in ("kn", "kd", "kt", "mu")}
        return cls(solid=np.zeros((0, 2), dtype=np.int64), **gains, geom=(), solids=())

    def __len__(self) -> int:
        return len(self.solid)

    @property
    def link(self) -> IntArray:
        """``[np, 2]`` links of the two shapes; one of the two may be -1, the world."""
        links = np.array([s.link for s in self.solids], dtype=np.int64)
        return links[self.solid] if len(self) else np.zeros((0, 2), dtype=np.int64)

    @property
    def reach(self) -> FloatArray:
        """``[np]`` distance of the centres [m] beyond which the two cannot overlap."""
        bounds = np.array([s.bound for s in self.solids])
        return bounds[self.solid].sum(axis=1) if len(self) else np.zeros(0)

    @property
    def rounding(self) -> FloatArray:
        """``[np]`` radius [m] of the rounded edges of two shapes with faces; zero if one of them has none."""
        own = np.array([s.rounding for s in self.solids])
        faces = np.array([len(s.planes) > 0 for s in self.solids])
        both = own[self.solid].min(axis=1) if len(self) else np.zeros(0)
        return np.where(faces[self.solid].all(axis=1), both, 0.0) if len(self) else both


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


def tangents(normal: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The two tangents ``[3]`` of a plane with a unit ``normal``, in which MuJoCo's two coefficients of friction are.

    The first is the y axis, or the z axis for a normal near y, without its part along the normal; the second
    completes a right-handed frame.
    """
    first = np.array([0.0, 1, 0]) if abs(normal[1]) < 0.5 else np.array([0.0, 0, 1])
    first = first - (first @ normal) * normal
    first /= np.linalg.norm(first)
    return first, np.cross(normal, first)
