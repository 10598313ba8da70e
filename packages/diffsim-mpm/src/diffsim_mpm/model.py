"""``MpmModel``: deformable bodies made of particles, and the grid that they move in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from diffsim_mpm.chain import KinematicChain
from diffsim_mpm.rigid import RigidBody

FloatArray = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True)
class MpmBody:
    """One body: particles of one material."""

    name: str
    particles: Any
    """Where its particles are at rest ``[n, 3]`` [m]; a state may put them elsewhere."""
    volume: float | Sequence[float] | FloatArray
    """Volume of each particle, or of each of them ``[n]`` [m^3]."""
    density: float
    """[kg/m^3]"""
    material: str = "fixed_corotated"
    """A name of ``MATERIALS``."""
    parameters: Mapping[str, float] = field(default_factory=dict)
    """Of the material, by name; the material's own defaults where they are not given."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "particles", np.asarray(self.particles, dtype=np.float64))
        object.__setattr__(self, "parameters", dict(self.parameters))

    @property
    def n(self) -> int:
        """Number of particles."""
        return len(self.particles)

    @property
    def volumes(self) -> FloatArray:
        """Volume of each particle ``[n]`` [m^3]."""
        return np.broadcast_to(np.asarray(self.volume, dtype=np.float64), (self.n,))


@dataclass(frozen=True, kw_only=True)
class MpmModel:
    """Bodies, and the grid that they move in: ``cells`` cubes of side ``dx``, from the origin on; z is up.

    Nodes within ``wall`` cells of a side let nothing through: the velocity towards the side is taken away there. At the
    lowest ones there is friction too. So bodies lie on a ground at about ``(wall - 1) dx``.
    """

    name: str = "mpm"
    bodies: Sequence[MpmBody]
    cells: tuple[int, int, int]
    """Cells of the grid along x, y and z."""
    dx: float
    """Side of a cell [m]."""
    gravity: tuple[float, float, float] = (0.0, 0.0, -9.81)
    """[m/s^2]"""
    wall: int = 3
    """Thickness of the walls and the ground [cells]."""
    ground_friction: float = 0.0
    """Coulomb's coefficient; infinite for a ground that holds on to what touches it."""
    shapes: KinematicChain | None = None
    """Rigid shapes that push the bodies, and the joints that move them."""
    rigid_bodies: Sequence[RigidBody] = ()
    """Rigid bodies that push the others and are pushed by them."""
    max_box: int | None = None
    """Most nodes in the box around a world's particles; by default those of the whole grid. A world whose particles
    spread further diverges. It bounds the memory of a worker: about ``48 max_box`` bytes in float32."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bodies", tuple(self.bodies))
        object.__setattr__(self, "cells", tuple(self.cells))
        object.__setattr__(self, "rigid_bodies", tuple(self.rigid_bodies))

    @property
    def nr(self) -> int:
        """Number of rigid bodies."""
        return len(self.rigid_bodies)

    @property
    def sides(self) -> FloatArray:
        """Lowest and highest x, y and z at which bodies come to rest on the ground and at walls ``[3, 2]`` [m]."""
        held = self.wall - 0.25
        return self.dx * np.array([(held, cells - held) for cells in self.cells])

    @property
    def nq(self) -> int:
        """Number of joints."""
        return self.shapes.nq if self.shapes else 0

    @property
    def n(self) -> int:
        """Number of particles."""
        return sum(body.n for body in self.bodies)

    @cached_property
    def particles(self) -> FloatArray:
        """Where all particles are at rest, body by body ``[n, 3]`` [m]."""
        return np.concatenate([body.particles for body in self.bodies])

    @cached_property
    def masses(self) -> FloatArray:
        """Mass of each particle ``[n]`` [kg]."""
        return np.concatenate([body.volumes * body.density for body in self.bodies])

    @property
    def max_nodes(self) -> int:
        """Most nodes in the box around a world's particles."""
        x, y, z = self.cells
        whole = (x + 1) * (y + 1) * (z + 2)
        return whole if self.max_box is None else min(self.max_box, whole)

    def slice_of(self, body: str) -> slice:
        """The particles of the body of this name.

        Raises:
            ValueError: there is none.
        """
        first = 0
        for each in self.bodies:
            if each.name == body:
                return slice(first, first + each.n)
            first += each.n
        raise ValueError(f"there is no body {body!r}; the model has {', '.join(each.name for each in self.bodies)}")
