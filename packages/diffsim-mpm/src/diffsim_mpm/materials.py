"""Materials by name: stress and plastic flow. One header in C++ and one entry here, with the same in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_core.entries import Registry, cases, digest, include, unknown
from diffsim_mpm import twin_materials as twin
from diffsim_mpm.twin_materials import Numbers, State

SOURCE = Path(__file__).with_name("_source")

MARGIN = 0.9
"""Part of the longest stable sub-step at rest that is accepted. What is left is for stress that rises faster far from
rest, and for impacts."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A number of a material, strictly between its bounds."""

    name: str
    unit: str
    """Empty for a pure number."""
    default: float
    low: float = 0.0
    high: float = math.inf
    low_allowed: bool = False
    """Whether ``low`` itself is a value."""
    high_allowed: bool = False
    """Whether ``high`` itself is a value."""

    def good(self, values: Numbers) -> Any:
        """Which values are within the bounds."""
        above = values >= self.low if self.low_allowed else values > self.low
        return above & (values <= self.high if self.high_allowed else values < self.high)

    @property
    def range(self) -> str:
        """The bounds in words: ``above -1 and below 0.5``."""
        above = f"{'at least' if self.low_allowed else 'above'} {self.low:g}"
        if self.high_allowed:
            return above if math.isinf(self.high) else f"{above} and at most {self.high:g}"
        return f"{above} and {'finite' if math.isinf(self.high) else f'below {self.high:g}'}"


@dataclass(frozen=True, kw_only=True)
class Material:
    """Stress and plastic flow of a material.

    To add one: a header that defines its struct as ``_source/material.h`` says, an entry with the same for NumPy, and
    :func:`register_material`.
    """

    name: str
    """The struct has the name in CamelCase: ``neo_hookean`` is ``ds::NeoHookean``."""
    header: Path
    """The C++ of the material, anywhere."""
    parameters: tuple[Parameter, ...]
    """In the order in which the header has them."""
    stress: Callable[[Numbers, Numbers, Numbers, Numbers], State]
    """The twin: ``(p [..., np], C [..., 3, 3], F [..., 3, 3], h [...]) -> (F, h, tau)``, as
    :mod:`diffsim_mpm.twin_materials` says."""
    stiffness: Callable[[Numbers], Numbers]
    """``p [..., np] ->`` modulus of the fastest wave [Pa], undeformed: its speed is ``sqrt(stiffness / density)``."""
    viscosity: Callable[[Numbers], Numbers] | None = None
    """``p [..., np] ->`` dynamic viscosity [Pa s], of materials that use C."""
    energy: Callable[[Numbers, Numbers], Numbers] | None = None
    """``(p [..., np], F [..., 3, 3]) -> [...]``: elastic energy [J/m^3 undeformed], where there is one."""
    has_h: bool = False
    """Whether a particle has a number of its own beside F; it is zero at first."""

    @property
    def num_parameters(self) -> int:
        """Length of a row of parameters."""
        return len(self.parameters)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the parameters, in their order."""
        return tuple(p.name for p in self.parameters)

    def row(self, **values: float) -> Numbers:
        """Parameters by name as ``[np]`` float64, with defaults for those that are not given.

        Raises:
            ValueError: for an unknown name, with the nearest known ones, or a value out of range.
        """
        for name in values:
            if name not in self.parameter_names:
                raise ValueError(unknown(f"parameter of material {self.name!r}", name, self.parameter_names))
        row = np.array([values.get(p.name, p.default) for p in self.parameters], dtype=np.float64)
        self.check(row)
        return row

    def check(self, values: Numbers) -> None:
        """Check that parameters ``[..., np]`` are in range.

        Raises:
            ValueError: one is not; the message names it, its value and its range.
        """
        values = np.asarray(values)
        if values.shape[-1:] != (self.num_parameters,):
            wanted = ", ".join(self.parameter_names)
            raise ValueError(
                f"material {self.name!r}: parameters of shape {values.shape} need a last axis for {wanted}"
            )
        for k, p in enumerate(self.parameters):
            wrong = values[..., k][~p.good(values[..., k])]
            if wrong.size:
                value = f"{wrong.flat[0]:g} {p.unit}".rstrip()
                raise ValueError(f"material {self.name!r}: {p.name} = {value} is out of range; it must be {p.range}")

    def sound_speed(self, values: Numbers, density: Any) -> Numbers:
        """Speed of the fastest wave in the undeformed material [m/s].

        Args:
            values: parameters ``[..., np]``.
            density: undeformed [kg/m^3], broadcasts with ``[...]``.
        """
        return np.sqrt(self.stiffness(np.asarray(values)) / density)

    def stable_dt(self, values: Numbers, density: Any, dx: float) -> Numbers:
        """The longest sub-step that is accepted [s]: :data:`MARGIN` times the longest stable one.

        With ``K`` the largest eigenvalue of the derivative of the stress by the strain, at rest and for all nine parts
        of a velocity gradient, no motion of the grid oscillates faster than ``w``, ``w^2 = 4 K / (density dx^2)``, and
        a lone particle does so. This holds wherever particles are between the nodes, because the weights' second moment
        is ``dx^2 / 4`` everywhere. Viscosity damps it by ``c = 8 viscosity / (density dx^2)``. Semi-implicit Euler is
        stable up to ``(sqrt(c^2 + 4 w^2) - c) / w^2``.

        Args:
            values: parameters ``[..., np]``.
            density: undeformed [kg/m^3], broadcasts with ``[...]``.
            dx: width of a grid cell [m].
        """
        values = np.asarray(values)
        w2 = 4 * self.tangent(values) / (density * dx**2)
        c = np.zeros(()) if self.viscosity is None else 8 * self.viscosity(values) / (density * dx**2)
        return MARGIN * 4 / (np.sqrt(c * c + 4 * w2) + c)

    def tangent(self, values: Numbers) -> Numbers:
        """Largest eigenvalue of the derivative of the stress by the deformation gradient, hardly compressed [Pa].

        For elastic materials that is the larger one of ``3 lam + 2 mu``, to change the volume, and ``2 mu``.

        Args:
            values: parameters ``[..., np]``.
        """
        values = np.asarray(values, dtype=np.float64)
        p = np.broadcast_to(values[..., None, :], (*values.shape[:-1], 9, values.shape[-1]))
        h, basis = 1e-7, np.eye(9).reshape(9, 3, 3)
        rest = (1 - 1e-5) * np.eye(3)  # under pressure sand is elastic

        def tau(by: float) -> Numbers:
            return self.stress(p, np.zeros((9, 3, 3)), rest + by * basis, np.zeros(9))[2]

        slope = ((tau(h) - tau(-h)) / (2 * h)).reshape(*values.shape[:-1], 9, 9)
        return np.linalg.eigvalsh((slope + np.swapaxes(slope, -1, -2)) / 2)[..., -1]


def _p_wave(p: Numbers) -> Numbers:
    mu, lam = twin.lame(p[..., 0], p[..., 1])
    return lam + 2 * mu


def _elastic(E: float, nu: float) -> tuple[Parameter, Parameter]:
    return Parameter(name="E", unit="Pa", default=E), Parameter(name="nu", unit="", default=nu, low=-1, high=0.5)


_HEADERS = SOURCE / "materials"

FIXED_COROTATED = Material(
    name="fixed_corotated",
    header=_HEADERS / "fixed_corotated.h",
    parameters=_elastic(5e3, 0.3),
    stress=twin.fixed_corotated,
    energy=twin.fixed_corotated_energy,
    stiffness=_p_wave,
)
"""Rubber-like, for large rotations and moderate strains; recovers from inversion (Stomakhin et al., SCA 2012)."""

NEO_HOOKEAN = Material(
    name="neo_hookean",
    header=_HEADERS / "neo_hookean.h",
    parameters=_elastic(5e3, 0.3),
    stress=twin.neo_hookean,
    energy=twin.neo_hookean_energy,
    stiffness=_p_wave,
)
"""Rubber-like, for large strains; resists compression to nothing without limit, and cannot be inverted."""

VON_MISES = Material(
    name="von_mises",
    header=_HEADERS / "von_mises.h",
    parameters=(*_elastic(4e3, 0.2), Parameter(name="yield_stress", unit="Pa", default=130.0, high_allowed=True)),
    stress=twin.von_mises,
    energy=twin.hencky_energy,
    stiffness=_p_wave,
)
"""Plasticine: Hencky's elasticity, flows where the deviator of tau would be longer than ``yield_stress``."""

DRUCKER_PRAGER = Material(
    name="drucker_prager",
    header=_HEADERS / "drucker_prager.h",
    parameters=(
        *_elastic(1e5, 0.3),
        Parameter(name="friction_angle", unit="rad", default=math.radians(35), high=math.pi / 2),
    ),
    stress=twin.drucker_prager,
    energy=twin.hencky_energy,
    stiffness=_p_wave,
    has_h=True,
)
"""Dry sand: Hencky's elasticity, shear resists in proportion to pressure (Klar et al. 2016)."""

FLUID = Material(
    name="fluid",
    header=_HEADERS / "fluid.h",
    parameters=(
        Parameter(name="bulk_modulus", unit="Pa", default=5e4),
        Parameter(name="gamma", unit="", default=7.0),
        Parameter(name="viscosity", unit="Pa s", default=0.0, low_allowed=True),
    ),
    stress=twin.fluid,
    energy=twin.fluid_energy,
    stiffness=lambda p: p[..., 0],
    viscosity=lambda p: p[..., 2],
)
"""Weakly compressible, by Tait's equation. With ``bulk_modulus`` = density times the square of ten times the fastest
speed, the volume changes by about a hundredth."""

MATERIALS: Registry[Material] = Registry("material", (FIXED_COROTATED, NEO_HOOKEAN, VON_MISES, DRUCKER_PRAGER, FLUID))
"""By name, as bodies of a model have it."""


def register_material(material: Material) -> None:
    """Make a material known in this process, by the name that bodies of a model give.

    Raises:
        ValueError: if the name is taken, or the header does not exist.
    """
    MATERIALS.register(material)


@dataclass(frozen=True)
class CompiledMaterials:
    """What the engine's C++ needs in order to have these materials; their numbers there are their places here."""

    materials: tuple[Material, ...]

    @property
    def defines(self) -> dict[str, Any]:
        """Macros for ``_source/materials.h``: the list of materials, and the most parameters that one has."""
        most = max(material.num_parameters for material in self.materials)
        return {"DS_MATERIALS(X, ...)": cases(self.materials, "num_parameters"), "DS_MOST_PARAMS": most}

    @property
    def includes(self) -> list[str]:
        """Headers to include first."""
        return [include(material, SOURCE) for material in self.materials]

    @property
    def folders(self) -> list[Path]:
        """Folders of headers that are not the package's."""
        others = (m.header.resolve().parent for m in self.materials if not m.header.is_relative_to(SOURCE))
        return list(dict.fromkeys(others))

    @property
    def name(self) -> str:
        """Tells apart what is compiled for different materials."""
        if self.materials == MATERIALS.built_in:
            return "all"
        return "_".join(m.name if m in MATERIALS.built_in else digest(m) for m in self.materials)


def compiled_materials(names: Sequence[str]) -> CompiledMaterials:
    """The materials of these names, each once.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.
    """
    return CompiledMaterials(tuple(MATERIALS[name] for name in dict.fromkeys(names)))
