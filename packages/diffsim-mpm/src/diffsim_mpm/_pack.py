"""A model as the tables that ``_source/model.h`` reads, and those of its numbers that a simulator has as inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._nearest import unknown
from diffsim_mpm.materials import MATERIALS, CompiledMaterials, compiled_materials
from diffsim_mpm.model import FloatArray, MpmModel
from diffsim_mpm.rigid import MASSES

_EMPTY = 1e-12
"""Part of the lightest particle's mass below which a node has no velocity: what it would pass on is rounding."""


class Packed(NamedTuple):
    """Tables of a model."""

    integers: np.ndarray[Any, np.dtype[np.int32]]
    reals: FloatArray
    blocks: int
    """Blocks of particles."""


class MaterialParameters:
    """Parameters of the materials of all bodies and masses of rigid ones, some of which are inputs of the simulator.

    Args:
        model: whose bodies they are of.
        names: of the inputs: ``"E:dough"`` for the modulus of the body ``dough``, or ``"E"`` for that of every body
            that has one; ``"mass:ball"`` and ``"inertia_xx:ball"`` of a rigid body.

    Raises:
        ValueError: for a name that is none, with the nearest known ones, or that is given twice.
    """

    def __init__(self, model: MpmModel, names: Sequence[str] = ()) -> None:
        materials = [MATERIALS[body.material] for body in model.bodies]
        labels: list[str] = []
        for body, material in zip(model.bodies, materials, strict=True):
            labels += [f"{parameter.name}:{body.name}" for parameter in material.parameters]
        labels += [f"{name}:{body.name}" for body in model.rigid_bodies for name in MASSES]
        rows = [material.row(**body.parameters) for body, material in zip(model.bodies, materials, strict=True)]
        self.all: FloatArray = np.concatenate([*rows, *(body.numbers for body in model.rigid_bodies)])
        """Every parameter, body by body, rigid ones last."""
        self.of_materials = sum(len(row) for row in rows)
        """How many are of materials."""
        self.first = np.cumsum([0, *(len(row) for row in rows)])[:-1]
        """The first one of each body."""
        chosen: list[int] = []
        for name in names:
            found = [k for k, label in enumerate(labels) if name in (label, label.split(":")[0])]
            if not found:
                raise ValueError(unknown("parameter", name, labels))
            if twice := sorted(set(found) & set(chosen)):
                raise ValueError(f"parameter {labels[twice[0]]!r} is given twice, in {list(names)}")
            chosen += found
        self.chosen = chosen
        self.names = tuple(labels[k] for k in chosen)
        """Of the inputs, in their order."""

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def nominal(self) -> FloatArray:
        """The model's own values of the inputs ``[np]``."""
        return self.all[self.chosen]


def materials_of(model: MpmModel) -> CompiledMaterials:
    """The materials that a model's module is compiled with, in the order of their numbers there."""
    return compiled_materials([body.material for body in model.bodies])


def pack(
    model: MpmModel,
    parameters: MaterialParameters,
    *,
    dt: float,
    substeps: int,
    limit: float,
    lanes: int,
    kept: int,
) -> Packed:
    """Tables of a model with sub-steps of ``dt`` [s], blocks of ``lanes`` particles and ``kept`` numbers of grids."""
    numbers = {material.name: k for k, material in enumerate(materials_of(model).materials)}
    bodies, masses, volumes, first, block = [], [], [], 0, 0
    for k, body in enumerate(model.bodies):
        blocks = -(-body.n // lanes)
        bodies += [numbers[body.material], first, body.n, block, blocks, parameters.first[k]]
        fill = np.zeros(blocks * lanes - body.n)
        masses += [body.volumes * body.density, fill]
        volumes += [body.volumes, fill]
        first, block = first + body.n, block + blocks
    head = [len(model.bodies), model.n, block, *model.cells, model.wall, model.max_nodes, substeps, kept]
    head += [len(parameters.all), len(parameters)]
    constants = [dt, model.dx, *model.gravity, min(model.ground_friction, 1e30), limit, _EMPTY * model.masses.min()]
    integers = np.array([*head, *bodies, *parameters.chosen], dtype=np.int32)
    return Packed(integers, np.concatenate([constants, parameters.all, *masses, *volumes]), block)
