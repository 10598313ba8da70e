"""``TetModel``: soft bodies of tetrahedra, what they are made of, and what they touch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from diffsim_mpm.tet.mesh import Numbers, TetMesh


@dataclass(frozen=True, kw_only=True)
class Contact:
    """How nodes meet the ground and capsules, with the numbers of SoftJumper (Xing et al. 2024) as defaults.

    A node is a sphere. Where it is ``c < 0`` metres inside something, of outward normal n, and moves with velocity u
    relative to its surface, ``f_n = -ke c - kd min(u·n, 0)`` pushes it out, and friction
    ``-min(kf |u_t|, mu f_n) u_t / |u_t|`` opposes sliding.
    """

    ke: float = 2e3
    """Stiffness of the normal force [N/m]."""
    kd: float = 0.1
    """Damping of the approach [N s/m]."""
    kf: float = 10.0
    """Viscosity of friction below Coulomb's limit [N s/m]."""
    mu: float = 0.7
    """Coefficient of Coulomb friction."""
    radius: float = 0.05
    """Radius of a node [m]."""

    def __post_init__(self) -> None:
        for name in ("ke", "kd", "kf", "mu", "radius"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Contact.{name}={value!r} must be a finite number of at least 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class TetModel:
    """Soft bodies of stable Neo-Hookean tetrahedra (Smith et al. 2018), in world axes with z up.

    The energy density is ``k_mu/2 (Ic - 3) - k_mu/2 log(Ic + 1) + k_lambda/2 (J - alpha + act)^2`` with
    ``alpha = 1 + 3/4 k_mu/k_lambda``, which makes the mesh's shape the rest shape without activation. An activation of
    0.1 makes a tetrahedron want to lose about a tenth of its volume. For small strains Lame's parameters are
    ``3/4 k_mu`` and ``k_lambda - 5/8 k_mu``.

    Raises:
        ValueError: for a number that makes no sense; the message lists the first few tetrahedra.
    """

    mesh: TetMesh
    """The shape at rest."""
    density: float | Sequence[float] | Numbers = 1.0
    """Of every tetrahedron, or of each ``[m]`` [kg/m^3]."""
    k_mu: float | Sequence[float] | Numbers = 1000.0
    """Resistance to changes of shape, one or ``[m]`` [Pa]."""
    k_lambda: float | Sequence[float] | Numbers = 1000.0
    """Resistance to changes of volume, one or ``[m]`` [Pa]; more than ``k_mu / 8``."""
    k_damp: float | Sequence[float] | Numbers = 1.0
    """Viscosity, one or ``[m]`` [Pa s]: ``k_damp dF/dt`` is added to the first Piola-Kirchhoff stress, ``k_damp dJ/dt``
    to the volumetric stress."""
    actuators: Sequence[int] | Numbers | None = None
    """Number of the control that activates each tetrahedron ``[m]``, -1 for none; by default each has its own."""
    gravity: Sequence[float] = (0.0, 0.0, -9.81)
    """[m/s^2]"""
    ground: float | None = 0.0
    """Height of the ground [m]; None for no ground."""
    capsules: Sequence[float] = ()
    """Radius of each capsule that the bodies can touch [m]. Where its ends are, and how fast they move, comes with each
    control step; a capsule whose ends coincide is a sphere."""
    contact: Contact = field(default_factory=Contact)

    def __post_init__(self) -> None:
        for name in ("density", "k_mu", "k_lambda", "k_damp"):
            self._check_tets(name, positive=name != "k_damp")
        self._check_bulk()
        object.__setattr__(self, "actuators", self._checked_actuators())
        gravity = tuple(float(g) for g in self.gravity)
        if len(gravity) != 3 or not all(map(math.isfinite, gravity)):
            raise ValueError(f"gravity={self.gravity!r} must be 3 finite numbers [m/s^2]")
        if self.ground is not None and not math.isfinite(self.ground):
            raise ValueError(f"ground={self.ground!r} must be a finite height [m], or None for no ground")
        for i, radius in enumerate(self.capsules):
            if not (math.isfinite(radius) and radius > 0):
                raise ValueError(f"capsules[{i}]={radius!r} must be a positive radius [m]")
        object.__setattr__(self, "gravity", gravity)
        object.__setattr__(self, "capsules", tuple(float(r) for r in self.capsules))

    def of_tets(self, name: str) -> Numbers:
        """``density``, ``k_mu``, ``k_lambda`` or ``k_damp`` of each tetrahedron ``[m]``."""
        return np.broadcast_to(np.asarray(getattr(self, name), dtype=np.float64), (self.mesh.num_tets,))

    @property
    def num_nodes(self) -> int:
        return self.mesh.num_nodes

    @property
    def num_controls(self) -> int:
        """Number of activations."""
        return int(np.max(np.asarray(self.actuators))) + 1

    @property
    def surface(self) -> Numbers:
        """Triangles of the surface ``[k, 3]``, to draw the bodies with."""
        return self.mesh.surface

    @cached_property
    def masses(self) -> Numbers:
        """Mass of each node ``[n]`` [kg]: a quarter of every tetrahedron around it."""
        masses = np.zeros(self.num_nodes)
        np.add.at(masses, self.mesh.tets, (self.of_tets("density") * self.mesh.volumes / 4)[:, None])
        return masses

    @cached_property
    def stable_dt(self) -> float:
        """Longest stable sub-step at rest [s], see :func:`stable_step`."""
        return stable_step(self)

    def _check_tets(self, name: str, *, positive: bool) -> None:
        values = np.asarray(getattr(self, name), dtype=np.float64)
        m = self.mesh.num_tets
        if values.shape not in ((), (m,)):
            raise ValueError(
                f"{name} has shape {values.shape}; it must be one number, or {m}: one for each tetrahedron"
            )
        values = np.broadcast_to(values, (m,))
        wrong = ~(np.isfinite(values) & ((values > 0) if positive else (values >= 0)))
        if wrong.any():
            few = ", ".join(f"{name}[{i}]={values[i]:g}" for i in np.flatnonzero(wrong)[:5])
            must = "positive" if positive else "at least 0"
            raise ValueError(f"{name} of {wrong.sum()} of {m} tetrahedra is not {must} and finite: {few}")

    def _check_bulk(self) -> None:
        mu, lam = self.of_tets("k_mu"), self.of_tets("k_lambda")
        wrong = lam <= mu / 8
        if wrong.any():
            few = ", ".join(f"tetrahedron {i} has {lam[i]:g} and {mu[i]:g}" for i in np.flatnonzero(wrong)[:5])
            raise ValueError(
                f"k_lambda of {wrong.sum()} of {len(mu)} tetrahedra does not exceed k_mu / 8, so that the bulk modulus "
                f"k_lambda - k_mu / 8 is not positive and the rest shape unstable: {few}"
            )

    def _checked_actuators(self) -> tuple[int, ...]:
        m = self.mesh.num_tets
        if self.actuators is None:
            return tuple(range(m))
        given = np.asarray(self.actuators)
        if given.shape != (m,) or given.dtype.kind not in "iu":
            raise ValueError(f"actuators has shape {given.shape} of {given.dtype}; it must be {m} whole numbers")
        numbers = np.unique(given)
        if numbers[0] < -1:
            raise ValueError(f"actuators names the control {numbers[0]}; they are numbered from 0, and -1 means none")
        unused = np.setdiff1d(np.arange(numbers[-1] + 1), numbers)
        if len(unused):
            few = ", ".join(map(str, unused[:5]))
            raise ValueError(f"actuators leaves out {len(unused)} controls below {numbers[-1]}: {few}; number them on")
        return tuple(int(i) for i in given)


def stable_step(model: TetModel) -> float:
    """An estimate of the longest stable sub-step, from the size of the tetrahedra and their wave speeds [s].

    No mode of the mesh is faster than the fastest of a single tetrahedron with a quarter of its mass at each corner
    (Irons' bound). Stiffness and damping are those of the rest shape; contact adds the stiffest and the most damped
    node. Semi-implicit Euler with ``x'' = -w^2 x - c x'`` is stable up to ``(sqrt(c^2 + 4 w^2) - c) / w^2``. Large
    deformations are stiffer, so leave a margin.
    """
    mesh = model.mesh
    gradients = rest_shapes(mesh)  # rows: gradients of the shape functions of corners 1 to 3
    gradients = np.concatenate([-gradients.sum(axis=1, keepdims=True), gradients], axis=1)
    mu, lam = 0.75 * model.of_tets("k_mu"), model.of_tets("k_lambda") - 0.625 * model.of_tets("k_mu")
    one = np.eye(3)
    inner = np.einsum("mai,mbi->mab", gradients, gradients)
    shape = np.einsum("mab,ij->maibj", inner, one)
    volume = np.einsum("mai,mbj->maibj", gradients, gradients)
    turned = np.einsum("maj,mbi->maibj", gradients, gradients)
    per_mass = 4 / model.of_tets("density")

    def largest(blocks: Numbers) -> float:
        return float((np.linalg.eigvalsh(blocks.reshape(-1, 12, 12))[:, -1] * per_mass).max())

    def each(values: Numbers) -> Numbers:
        return values[:, None, None, None, None]

    w2 = largest(each(mu) * (shape + turned) + each(lam) * volume)
    c = largest(each(model.of_tets("k_damp")) * (shape + volume))
    if model.ground is not None or model.capsules:
        lightest = float(model.masses.min())
        w2 += model.contact.ke / lightest
        c += (model.contact.kd + model.contact.kf) / lightest
    return (math.sqrt(c * c + 4 * w2) - c) / w2


def rest_shapes(mesh: TetMesh) -> Numbers:
    """``Dm [m, 3, 3]``: the inverse of each tetrahedron's edges at rest, ``F = [x1-x0, x2-x0, x3-x0] Dm``."""
    corner = mesh.x[mesh.tets]
    return np.linalg.inv(np.swapaxes(corner[:, 1:] - corner[:, :1], 1, 2))
