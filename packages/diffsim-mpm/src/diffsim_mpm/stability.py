"""How long a sub-step may be, by measurement: ``python -m diffsim_mpm.stability`` prints the table of ``docs``.

A block hits the ground, and then moves while sound could cross it some times. The command finds the
longest sub-step with which its speed stays bounded.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from diffsim_core import Buffer
from diffsim_mpm._check_model import stable_sub_dt
from diffsim_mpm.dynamics import MpmDynamics
from diffsim_mpm.materials import MARGIN, MATERIALS
from diffsim_mpm.model import MpmBody, MpmModel

CELLS, WALL, DENSITY = 16, 2, 1000.0
"""Cells of the grid along an axis, those of its walls, and the density of the block [kg/m^3]."""
SHARES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.7, 2.0)
"""Sub-steps that are tried, in units of the longest stable one at rest."""
MACHS = (0.0, 0.05, 0.2, 0.5, 1.0)
"""Speeds of impacts, in units of the speed of sound."""
_YOUNG = 1e5
CASES: dict[str, list[tuple[str, dict[str, float]]]] = {
    "fixed corotated": [("fixed_corotated", {"E": _YOUNG, "nu": nu}) for nu in (0.0, 0.2, 0.3, 0.45)],
    "Neo-Hookean": [("neo_hookean", {"E": _YOUNG, "nu": nu}) for nu in (0.3, 0.45)],
    "Hencky with von Mises": [
        ("von_mises", {"E": _YOUNG, "nu": 0.2, "yield_stress": 1e3}),
        ("von_mises", {"E": _YOUNG, "nu": 0.3, "yield_stress": math.inf}),
    ],
    "Drucker-Prager": [("drucker_prager", {"E": _YOUNG, "nu": 0.3})],
    "fluid, `gamma` 1": [("fluid", {"bulk_modulus": _YOUNG, "gamma": 1.0})],
    "fluid, `gamma` 7": [("fluid", {"bulk_modulus": _YOUNG, "gamma": 7.0})],
}
"""Materials of each row of the table."""


class _Unchecked(MpmDynamics):
    """Takes any sub-step."""

    def _check_sub_dt(self, model: MpmModel, sub_dt: float) -> None: ...


def speed_after_impact(
    material: str,
    parameters: Mapping[str, float],
    *,
    share: float,
    per_cell: int,
    mach: float,
    wide: int = 4,
    crossings: int = 12,
    seed: int = 0,
) -> float:
    """Largest speed of a block after it hit the ground, over that of the impact; infinity if the world is lost.

    Args:
        material: its name.
        parameters: of the material.
        share: the sub-step in units of the longest stable one at rest.
        per_cell: particles a cell along each axis.
        mach: speed of the impact in units of the speed of sound; particles move by a thousandth of that at random.
        wide: cells along each side of the block.
        crossings: times that sound could cross the block.
        seed: of the block's place between the nodes, and of its particles' motion.
    """
    random, dx = np.random.default_rng(seed), 1 / CELLS
    axis = (np.arange(wide * per_cell) + 0.5) * (dx / per_cell)
    low = np.array([3 + random.uniform(), 3 + random.uniform(), WALL + 0.3]) * dx
    particles = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3) + low
    volume = (dx / per_cell) ** 3
    body = MpmBody(
        name="block", particles=particles, volume=volume, density=DENSITY, material=material, parameters=parameters
    )
    model = MpmModel(bodies=[body], cells=(CELLS,) * 3, dx=dx, wall=WALL, gravity=(0.0, 0.0, 0.0))
    entry = MATERIALS[material]
    sound = float(entry.sound_speed(entry.row(**parameters), DENSITY))
    sub_dt = share / MARGIN * stable_sub_dt(model)[0]
    substeps = math.ceil(crossings * wide * dx / sound / sub_dt)
    dynamics = _Unchecked(model, dt=sub_dt * substeps, substeps=substeps, dtype="float64", threads=1)
    state = dynamics.rest(1)
    state.v[...] += 1e-3 * sound * random.standard_normal(state.v.shape)
    state.v[..., 2] -= mach * sound
    out, ok = [np.empty_like(a) for a in state], np.zeros(1, np.int32)
    dynamics.step(_buffers(state), [], _buffers(out), *_buffers([ok]), None)
    return float(np.abs(out[1]).max() / (max(mach, 0.02) * sound)) if ok.all() else math.inf


def longest_stable(material: str, parameters: Mapping[str, float], *, per_cell: int, mach: float) -> float:
    """The longest of :data:`SHARES` up to which the speed stays below three times that of the impact; 0 if none."""
    longest = 0.0
    for share in SHARES:
        if not speed_after_impact(material, parameters, share=share, per_cell=per_cell, mach=mach) < 3:
            break
        longest = share
    return longest


def table() -> str:
    """The least over Poisson's ratios and one to three particles a cell, as Markdown."""
    lines = ["| speed of the impact / speed of sound | " + " | ".join(f"{mach:g}" for mach in MACHS) + " |"]
    lines.append("|---" * (len(MACHS) + 1) + "|")
    for name, variants in CASES.items():
        row = [
            min(longest_stable(*each, per_cell=per_cell, mach=mach) for each in variants for per_cell in (1, 2, 3))
            for mach in MACHS
        ]
        lines.append(f"| {name} | " + " | ".join(f"{share:.1f}" for share in row) + " |")
    return "\n".join(lines)


def _buffers(arrays: Any) -> list[Buffer]:
    return [Buffer(a.ctypes.data, a.shape, str(a.dtype), "cpu") for a in arrays]


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
