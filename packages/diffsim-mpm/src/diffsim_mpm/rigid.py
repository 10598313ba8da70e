"""``RigidBody``: a free rigid body among deformable ones. It pushes them, and they push it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from diffsim_core.rigid._quat import rotation
from diffsim_mpm._solids import directions, points_of, skew, volume_of
from diffsim_mpm.chain import Tables, pack_shapes, place, unit
from diffsim_mpm.shapes import Numbers, Plane, Shape

MASSES = ("mass", "inertia_xx", "inertia_yy", "inertia_zz", "inertia_xy", "inertia_xz", "inertia_yz")
"""Numbers of a body that a simulator may have as inputs, in their order."""
_NOWHERE = -1e6
"""Radius of points that fill up a register: they touch nothing."""


@dataclass(frozen=True, kw_only=True)
class RigidBody:
    """A body with six degrees of freedom. It meets particles with its shapes, and what is rigid with points of these.

    Its state is where its centre of mass is and how its axes are turned, ``pose [7]`` ([m], wxyz), and ``twist [6]``:
    velocity of the centre of mass [m/s] and angular velocity [rad/s], both in the world's axes. Of several shapes the
    one that is closest to a node acts.

    Raises:
        ValueError: for a mass that is not positive, an inertia that no body has, no shapes, a plane as a shape, or a
            shape on a joint.
    """

    name: str
    mass: float
    """[kg]"""
    inertia: Any
    """About the centre of mass in the body's axes ``[3, 3]``, or its diagonal ``[3]`` [kg m^2]."""
    shapes: Sequence[Shape]
    """In the body's frame."""
    centre: Sequence[float] = (0.0, 0.0, 0.0)
    """Centre of mass in the body's frame ``[3]`` [m]."""
    pos: Sequence[float] = (0.0, 0.0, 0.0)
    """Where the body's frame is at rest ``[3]`` [m]; a state may put it elsewhere."""
    quat: Sequence[float] = (1.0, 0.0, 0.0, 0.0)
    """How the frame is turned at rest, wxyz."""
    stiffness: float | None = None
    """Of each of its points on what is rigid [N/m]; by default half of them carry its weight 2 % of a cell deep."""
    damping: float | None = None
    """Of each of its points while it comes closer [N s/m^2]; by default 3 s/m times the stiffness."""
    grip: float | None = None
    """Friction of each of its points that sticks to the ground [N s/m]; by default half of them brake at 100 1/s."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shapes", tuple(self.shapes))
        label = self.label
        for name, size in (("centre", 3), ("pos", 3), ("quat", 4)):
            given = np.asarray(getattr(self, name), dtype=np.float64)
            if given.shape != (size,) or not np.isfinite(given).all():
                raise ValueError(f"{label}: {name}={getattr(self, name)!r} must be {size} finite numbers")
        if not np.linalg.norm(np.asarray(self.quat, np.float64)) > 0:
            raise ValueError(f"{label}: quat={self.quat!r} must not be zero")
        if not 0 < self.mass < np.inf:
            raise ValueError(f"{label}: mass={self.mass!r} must be positive [kg]")
        for name in ("stiffness", "damping", "grip"):
            value = getattr(self, name)
            if value is not None and not (value >= 0 and np.isfinite(value)):
                raise ValueError(f"{label}: {name}={value!r} must be at least 0 and finite")
        self._check_inertia()
        if not self.shapes:
            raise ValueError(f"{label} has no shapes: it would meet nothing; give it at least one")
        for shape in self.shapes:
            if isinstance(shape, Plane):
                raise ValueError(f"{label}: {shape.label} has no end; give a box")
            if shape.joint is not None:
                raise ValueError(f"{label}: {shape.label} is on joint {shape.joint!r}; shapes of a free body have none")

    def _check_inertia(self) -> None:
        given = np.asarray(self.inertia, dtype=np.float64)
        if given.shape not in ((3,), (3, 3)) or not np.isfinite(given).all():
            raise ValueError(f"{self.label}: inertia has shape {given.shape}; give 3 or 3 x 3 finite numbers [kg m^2]")
        matrix = np.diag(given) if given.ndim == 1 else given
        if not np.allclose(matrix, matrix.T, rtol=0, atol=1e-9 * np.abs(matrix).max()):
            raise ValueError(f"{self.label}: inertia={matrix.tolist()} is not symmetric")
        low, middle, high = np.linalg.eigvalsh(matrix)
        if not low > 0:
            raise ValueError(f"{self.label}: inertia has the principal moment {low:.4g}, all must be positive [kg m^2]")
        if high > (low + middle) * (1 + 1e-9):
            raise ValueError(
                f"{self.label}: no body has the principal moments {low:.4g}, {middle:.4g}, {high:.4g} kg m^2: the"
                " largest is more than the sum of the others"
            )
        object.__setattr__(self, "inertia", 0.5 * (matrix + matrix.T))

    @property
    def label(self) -> str:
        """What an error calls it."""
        return f"rigid body {self.name!r}"

    @cached_property
    def numbers(self) -> Numbers:
        """Mass and inertia ``[7]``, in the order of ``MASSES``."""
        i = self.inertia
        return np.array([self.mass, i[0, 0], i[1, 1], i[2, 2], i[0, 1], i[0, 2], i[1, 2]])

    @cached_property
    def pose(self) -> Numbers:
        """Centre of mass and attitude at rest ``[7]`` [m]."""
        q = unit(self.quat)
        return np.concatenate([np.asarray(self.pos) + rotation(q) @ np.asarray(self.centre), q])

    @cached_property
    def placed(self) -> tuple[Shape, ...]:
        """Its shapes with positions from the centre of mass."""
        return tuple(replace(s, pos=tuple(np.asarray(s.pos, np.float64) - self.centre)) for s in self.shapes)

    @cached_property
    def points(self) -> Numbers:
        """What touches the sides of the grid ``[k, 4]``: points from the centre of mass, in its axes, and radii [m]."""
        found = []
        for shape in self.placed:
            points, pose = points_of(shape), place(shape)
            found.append(np.column_stack([points[:, :3] @ pose[:9].reshape(3, 3) + pose[9:], points[:, 3]]))
        return np.concatenate(found)

    @property
    def ball(self) -> float:
        """Radius of a ball about the centre of mass that holds all that its shapes reach [m]."""
        return max(float(np.linalg.norm(np.asarray(s.pos))) + s.ball + s.reach for s in self.placed)

    def gains(self, dx: float) -> tuple[float, float, float]:
        """Stiffness, damping and grip of each point on the sides, in cells of ``dx`` [m]."""
        carrying = max(len(self.points) / 2, 1)
        stiffness = 9.81 * self.mass / (0.02 * dx * carrying) if self.stiffness is None else self.stiffness
        damping = 3 * stiffness if self.damping is None else self.damping
        return stiffness, damping, 100 * self.mass / carrying if self.grip is None else self.grip

    def stable_dt(self, dx: float) -> float:
        """Longest sub-step [s] in which its points on the sides neither swing up nor brake too much.

        The points of one side touch at a time, up to a quarter of a cell deep.
        """
        stiffness, damping, grip = self.gains(dx)
        # largest eigenvalue of M^-1 sum J^T J over the points that face one way: acceleration where each feels 1 N
        root = np.linalg.inv(np.linalg.cholesky(self.inertia))
        worst = 0.0
        for way in directions():
            facing = self.points[self.points[:, :3] @ way <= 1e-9]
            arms = facing[:, :3] - np.maximum(facing[:, 3:], 0) * way
            J = np.concatenate([np.tile(np.eye(3) / np.sqrt(self.mass), (len(arms), 1, 1)), root @ skew(arms)], axis=1)
            worst = max(worst, float(np.linalg.eigvalsh(np.einsum("kai,kbi->ab", J, J))[-1]))
        rates = [2 / np.sqrt(stiffness * worst)] if stiffness else []
        rates += [2 / (each * worst) for each in (0.25 * dx * damping, grip) if each]
        return float(min(rates, default=np.inf))

    @classmethod
    def solid(cls, *, name: str, shapes: Sequence[Shape], density: float, **options: Any) -> RigidBody:
        """A body that fills its shapes evenly; mass, centre of mass and inertia follow. Overlaps count twice.

        Args:
            name: of the body.
            shapes: in its frame. Rounded boxes and sampled distances are counted in small cells, all others are exact.
            density: [kg/m^3].
            options: other fields, such as ``pos``.

        Raises:
            ValueError: as for the body itself, and for a density that is not positive.
        """
        if not 0 < density < np.inf:
            raise ValueError(f"rigid body {name!r}: density={density!r} must be positive [kg/m^3]")
        if any(isinstance(shape, Plane) for shape in shapes) or not shapes:
            return cls(name=name, mass=1.0, inertia=np.eye(3), shapes=shapes, **options)  # which says what is wrong
        parts = [volume_of(shape) for shape in shapes]
        masses = np.array([density * volume for volume, _, _ in parts])
        turns = [rotation(unit(shape.quat)) for shape in shapes]
        middles = np.array([shape.pos + turn @ c for shape, turn, (_, c, _) in zip(shapes, turns, parts, strict=True)])
        centre = masses @ middles / masses.sum()
        inertia = np.zeros((3, 3))
        for m, at, turn, (_, _, per_mass) in zip(masses, middles - centre, turns, parts, strict=True):
            inertia += m * (turn @ per_mass @ turn.T + (at @ at) * np.eye(3) - np.outer(at, at))
        given = {"mass": float(masses.sum()), "inertia": inertia, "centre": tuple(centre.tolist())}
        return cls(name=name, shapes=shapes, **{**given, **options})


def pack_rigid(bodies: Sequence[RigidBody], *, dx: float, lanes: int, param: int) -> Tables:
    """Tables of ``_source/rigid.h``, with points in registers of ``lanes``; masses begin at parameter ``param``."""
    rows: list[int] = []
    gains: list[float] = []
    points: list[Numbers] = []
    shape = point = 0
    for body in bodies:
        blocks = -(-len(body.points) // lanes)
        filled = np.tile([0.0, 0.0, 0.0, _NOWHERE], (blocks * lanes, 1))
        filled[: len(body.points)] = body.points
        rows += [shape, len(body.shapes), point, blocks]
        gains += [body.ball, *body.gains(dx)]
        points.append(filled.ravel())
        shape, point = shape + len(body.shapes), point + blocks
    owners = [j for j, body in enumerate(bodies) for _ in body.shapes]
    packed = pack_shapes([s for body in bodies for s in body.placed], owners)
    integers = [len(bodies), shape, point * lanes, param, *rows, *packed.integers]
    reals = [np.array(gains), packed.reals, *points, packed.samples]
    return Tables(np.array(integers, np.int32), np.concatenate(reals))
