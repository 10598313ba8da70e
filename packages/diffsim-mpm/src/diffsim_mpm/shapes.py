"""Rigid shapes that push deformable bodies: sphere, capsule, box, cylinder, plane, and sampled distances for meshes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

Numbers = np.ndarray[Any, np.dtype[Any]]

STICKY = 99.0
"""Friction from which a shape holds on to what it touches, in any direction."""
LEAST_INFLUENCE = 0.1
"""A shape acts where its influence ``exp(-softness * distance)`` is above this, and inside."""
ENDLESS = 1e30
"""Radius of a ball about a plane: larger than any, in float32 too."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What all shapes have. Its axes are those of its joint's frame, turned by ``quat``; an axis of symmetry is z.

    Raises:
        ValueError: for a size, friction or softness that makes no sense, or numbers that are not finite.
    """

    joint: str | None = None
    """The joint that it moves with; ``None`` is the world."""
    pos: Sequence[float] = (0.0, 0.0, 0.0)
    """Centre in the joint's frame [m]."""
    quat: Sequence[float] = (1.0, 0.0, 0.0, 0.0)
    """Orientation in the joint's frame, wxyz."""
    friction: float = 0.5
    """Coulomb's coefficient; 0 slips, from 99 on it sticks."""
    softness: float = 666.0
    """Decay of its influence with distance [1/m]: it reaches ln(10) / softness beyond its surface; 0 for not at all."""
    name: str = ""
    visible: bool = True
    """Whether viewers draw it in full; otherwise one can see through it."""

    kind: ClassVar[int]

    def __post_init__(self) -> None:
        for name, size in (("pos", 3), ("quat", 4)):
            given = np.asarray(getattr(self, name), dtype=np.float64)
            if given.shape != (size,) or not np.isfinite(given).all():
                raise ValueError(f"{self.label}: {name}={getattr(self, name)!r} must be {size} finite numbers")
        if not np.linalg.norm(np.asarray(self.quat, np.float64)) > 0:
            raise ValueError(f"{self.label}: quat={self.quat!r} must not be zero")
        for name in ("friction", "softness"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{self.label}: {name}={getattr(self, name)!r} must be at least 0 and finite")

    @property
    def label(self) -> str:
        """What an error calls it."""
        return f"{type(self).__name__} {self.name!r}" if self.name else type(self).__name__

    @property
    def reach(self) -> float:
        """Distance from the surface within which it acts [m]."""
        return -np.log(LEAST_INFLUENCE) / self.softness if self.softness else 0.0

    @property
    def size(self) -> Sequence[float]:
        """Half sizes of what is rounded ``[3]`` [m], see ``_source/shapes.h``."""
        return (0.0, 0.0, 0.0)

    @property
    def rounding(self) -> float:
        """Radius of its rounding [m]."""
        return 0.0

    @property
    def ball(self) -> float:
        """Radius of a ball about its centre that holds it [m]."""
        return float(np.linalg.norm(self.size)) + self.rounding

    def _positive(self, *names: str) -> None:
        for name in names:
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{self.label}: {name}={getattr(self, name)!r} must be positive metres")


@dataclass(frozen=True, kw_only=True)
class Sphere(Shape):
    """A ball."""

    radius: float
    """[m]"""

    kind: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("radius")

    @property
    def rounding(self) -> float:
        return self.radius


@dataclass(frozen=True, kw_only=True)
class Capsule(Shape):
    """A cylinder along z between two half balls."""

    radius: float
    """[m]"""
    half_length: float
    """From the centre to the middle of either half ball [m]."""

    kind: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("radius", "half_length")

    @property
    def size(self) -> Sequence[float]:
        return (0.0, 0.0, self.half_length)

    @property
    def rounding(self) -> float:
        return self.radius


@dataclass(frozen=True, kw_only=True)
class Box(Shape):
    """A box, whose edges may be rounded."""

    half_sizes: Sequence[float]
    """Half extents along x, y, z, rounding not counted ``[3]`` [m]."""
    radius: float = 0.0
    """By which it is larger in all directions, with round edges [m]."""

    kind: ClassVar[int] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        half = np.asarray(self.half_sizes, dtype=np.float64)
        if half.shape != (3,) or not (half > 0).all() or not np.isfinite(half).all():
            raise ValueError(f"{self.label}: half_sizes={self.half_sizes!r} must be 3 positive lengths in metres")
        if not 0 <= self.radius < np.inf:
            raise ValueError(f"{self.label}: radius={self.radius!r} must be at least 0 metres")

    @property
    def size(self) -> Sequence[float]:
        return self.half_sizes

    @property
    def rounding(self) -> float:
        return self.radius


@dataclass(frozen=True, kw_only=True)
class Cylinder(Shape):
    """A cylinder along z with flat ends."""

    radius: float
    """[m]"""
    half_length: float
    """[m]"""

    kind: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("radius", "half_length")

    @property
    def size(self) -> Sequence[float]:
        return (self.radius, 0.0, self.half_length)


@dataclass(frozen=True, kw_only=True)
class Plane(Shape):
    """Everything below z = 0 of its frame."""

    kind: ClassVar[int] = 2

    @property
    def ball(self) -> float:
        return ENDLESS


@dataclass(frozen=True, kw_only=True)
class SignedDistanceGrid(Shape):
    """Any closed shape, as signed distances on a regular grid, between which a quadratic spline goes.

    The spline smooths: where the surface has a curvature k the distance is off by about ``spacing ** 2 * k / 8``.
    """

    samples: Numbers = field(repr=False)
    """Distances ``[nx, ny, nz]`` [m], negative inside."""
    origin: Sequence[float]
    """Place of ``samples[0, 0, 0]`` in the shape's frame ``[3]`` [m]."""
    spacing: float
    """Distance of neighbouring samples [m]."""

    kind: ClassVar[int] = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        self._positive("spacing")
        samples = np.asarray(self.samples, dtype=np.float64)
        if samples.ndim != 3 or min(samples.shape) < 4:
            raise ValueError(f"{self.label}: samples have shape {samples.shape}, need at least 4 along each of 3 axes")
        if not np.isfinite(samples).all():
            raise ValueError(f"{self.label}: some samples are not finite numbers")
        if not (samples < 0).any():
            raise ValueError(f"{self.label}: no sample is negative, so nothing is inside; is the spacing too large?")
        rim = samples.copy()
        rim[2:-2, 2:-2, 2:-2] = np.inf  # the spline ends half a spacing from the last sample
        if rim.min() < self.reach:
            raise ValueError(
                f"{self.label}: near the rim of the grid the distance is {rim.min():.4g} m, which must be at least the "
                f"reach of {self.reach:.4g} m of softness {self.softness:g}; add samples around the shape"
            )

    @property
    def size(self) -> Sequence[float]:
        return self.origin

    @property
    def rounding(self) -> float:
        return self.spacing

    @property
    def ball(self) -> float:
        ends = np.stack([self.origin, np.asarray(self.origin) + self.spacing * (np.array(self.samples.shape) - 1)])
        return float(np.linalg.norm(np.abs(ends).max(axis=0)))

    @classmethod
    def from_mesh(cls, vertices: Any, triangles: Any, *, spacing: float, **shape: Any) -> SignedDistanceGrid:
        """Sample the distance from a closed triangle mesh.

        Args:
            vertices: ``[nv, 3]`` [m].
            triangles: ``[nt, 3]`` indices of vertices, counter-clockwise seen from outside.
            spacing: of the samples [m].
            shape: what all shapes have, such as ``joint`` or ``friction``.

        Raises:
            ValueError: for a mesh that is not closed, or triangles that name vertices that are not there.
        """
        from diffsim_mpm._mesh_distance import sample_mesh  # which only meshes need

        reach = Plane(softness=shape.get("softness", 666.0)).reach
        samples, origin = sample_mesh(vertices, triangles, spacing, reach)
        return cls(samples=samples, origin=origin, spacing=spacing, **shape)
