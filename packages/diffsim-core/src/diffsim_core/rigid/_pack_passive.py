"""Gravity compensation and ``Fluid`` as flat arrays (columns: ``_source/passive_tables.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.fluid import Fluid, FluidShape
from diffsim_core.rigid.model import FloatArray, RigidModel

_COLUMNS = 30


def held_links(model: RigidModel) -> Any:
    """Links whose weight is held, wholly or in part."""
    return np.flatnonzero((model.link_gravcomp != 0) | model.link_gravcomp_offset.any(axis=1))


def has_passive(model: RigidModel) -> bool:
    """Whether the kernels need these tables at all."""
    return model.fluid.n > 0 or len(held_links(model)) > 0


def pack_passive(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals."""
    held, fluid = held_links(model), model.fluid
    shapes = np.stack([fluid.link, fluid.kind], axis=1)
    integers = np.concatenate([[len(held), fluid.n], held, shapes.ravel()]).astype(np.int64)
    weights = np.column_stack([model.link_gravcomp[held], model.link_gravcomp_offset[held].reshape(-1, 3)])
    rows = [_row(fluid, j) for j in range(fluid.n)]
    return integers, np.concatenate([fluid.wind, weights.ravel(), *rows])


def _row(fluid: Fluid, j: int) -> FloatArray:
    axes = rotation(fluid.quat[j] / np.linalg.norm(fluid.quat[j])).T.ravel()
    box = fluid.kind[j] == FluidShape.BOX
    diameter = float(fluid.size[j].mean()) if box else 2 * float(fluid.size[j].mean())
    viscous = fluid.viscosity * np.pi * np.array([3 * diameter, diameter**3])
    row = np.zeros(_COLUMNS)
    own = _box(fluid, j) if box else _ellipsoid(fluid, j)
    row[:14] = [*fluid.pos[j], *axes, *viscous]
    row[14 : 14 + len(own)] = own
    return row


def _box(fluid: Fluid, j: int) -> list[float]:
    drag, turn = [], []
    for i in range(3):
        a, b, c = np.roll(fluid.size[j], -i)
        drag.append(0.5 * fluid.density * b * c)
        turn.append(fluid.density * a * (b**4 + c**4) / 64)
    return [*drag, *turn]


def _ellipsoid(fluid: Fluid, j: int) -> list[float]:
    """Areas of sections are given in units of the largest, so that small shapes keep their digits in float32."""
    size, c, density = fluid.size[j], fluid.of_ellipsoid(j), fluid.density
    low, middle, high = np.sort(size)
    squares = np.array([np.roll(size, -i)[1] * np.roll(size, -i)[2] for i in range(3)]) ** 2
    section = np.pi * np.sqrt(squares.max())
    moments = np.array([size[i] * np.delete(size, i).max() ** 4 for i in range(3)]) * 8 / 15 * np.pi
    largest = 8 / 15 * np.pi * middle * high**4
    turn = density * (c.angular * moments + c.slender * (largest - moments))
    volume = 4 / 3 * np.pi * low * middle * high
    return [
        *(density * c.virtual_mass),
        *(density * c.virtual_inertia),
        *(squares / squares.max()),
        *turn,
        density * (c.blunt - c.slender) * section,
        density * c.slender * np.pi * middle * high,
        density * c.kutta * section,
        density * c.magnus * volume,
    ]
