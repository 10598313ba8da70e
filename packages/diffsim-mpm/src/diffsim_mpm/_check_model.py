"""Whether an ``MpmModel`` can be simulated, and in which sub-steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from diffsim_mpm.materials import MATERIALS
from diffsim_mpm.model import MpmBody, MpmModel

_NAMED = 5
"""Offenders that a message lists."""


def check_model(model: MpmModel) -> None:
    """Raise unless the model can be simulated.

    Raises:
        ValueError: listing every problem, with the first particles concerned.
    """
    problems = list(_grid(model)) or list(_bodies(model)) or list(_box(model))
    if problems:
        lines = problems[0] if len(problems) == 1 else "".join(f"\n  - {problem}" for problem in problems)
        raise ValueError(f"model {model.name!r}: {lines}")


def check_sub_dt(model: MpmModel, sub_dt: float) -> None:
    """Raise unless sub-steps are short enough.

    No oscillation of the grid may grow (after Courant, Friedrichs and Lewy 1928), see ``Material.stable_dt``.

    Raises:
        ValueError: naming the longest stable sub-step.
    """
    stable, name = stable_sub_dt(model)
    if not sub_dt <= stable:
        raise ValueError(
            f"a sub-step of {sub_dt:g} s is too long for body {name!r}: stable are at most {stable:g} s; take more"
            " substeps, larger cells, or a softer or denser material"
        )


def stable_sub_dt(model: MpmModel) -> tuple[float, str]:
    """The longest sub-step that is accepted [s], and the body that demands it."""
    each = [
        (float(MATERIALS[body.material].stable_dt(_row(body), body.density, model.dx)), body.name)
        for body in model.bodies
    ]
    return min(each)


def check_positions(model: MpmModel, x: object) -> None:
    """Raise unless particles are inside the grid.

    Args:
        model: with the grid.
        x: positions ``[..., n, 3]`` [m].

    Raises:
        ValueError: naming the first particles outside.
    """
    x = np.asarray(x, dtype=np.float64)
    low, high = bounds(model)
    outside = ~((x >= low) & (x < high)).all(axis=-1)
    if outside.any():
        raise ValueError(
            f"model {model.name!r}: {int(outside.sum())} particles are outside of the grid, where x, y, z must be from"
            f" {low:g} to below {tuple(high.tolist())} m: {_first(np.asarray(outside), x)}"
        )


def bounds(model: MpmModel) -> tuple[float, np.ndarray]:
    """Lowest coordinate of a particle, and the three that it must stay below [m]: half a cell from the sides."""
    return 0.5 * model.dx, (np.asarray(model.cells) - 0.5) * model.dx


def _row(body: MpmBody) -> np.ndarray:
    return MATERIALS[body.material].row(**body.parameters)


def _grid(model: MpmModel) -> Iterator[str]:
    if not (math.isfinite(model.dx) and model.dx > 0):
        yield f"dx={model.dx!r} must be positive metres"
    if model.wall < 1:
        yield f"wall={model.wall!r} must be at least 1 cell: without, particles fall out of the grid"
    if len(model.cells) != 3 or min(model.cells) < 2 * model.wall + 1:
        yield f"cells={model.cells!r} must be three numbers of at least {2 * model.wall + 1}, room between the walls"
    if not (len(model.gravity) == 3 and np.isfinite(model.gravity).all()):
        yield f"gravity={model.gravity!r} must be three finite numbers"
    if not model.ground_friction >= 0:
        yield f"ground_friction={model.ground_friction!r} must be at least 0; infinite is a sticky ground"
    if model.max_box is not None and model.max_box < 4**3:
        yield f"max_box={model.max_box!r} must be at least {4**3} nodes, those around one particle"
    if not model.bodies:
        yield "there are no bodies; give at least one"
    elif model.max_nodes > 2**22:
        yield (
            f"the box around the particles may have {model.max_nodes:,} nodes, more than {2**22:,}; set max_box to what"
            " the bodies need, or take larger cells"
        )


def _box(model: MpmModel) -> Iterator[str]:
    base = np.floor(model.particles / model.dx - 0.5)
    x, y, z = (base.max(axis=0) - base.min(axis=0)).astype(int) + 3
    if x * y * (z + 1) > model.max_nodes:
        yield (
            f"max_box={model.max_box!r} is too small for the bodies at rest, whose box has {x * y * (z + 1):,} nodes;"
            " leave room for their motion as well"
        )


def _bodies(model: MpmModel) -> Iterator[str]:
    names = [body.name for body in model.bodies]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"two bodies are called {name!r}; give each a name of its own"
    low, high = bounds(model)
    for body in model.bodies:
        label, x = f"body {body.name!r}", body.particles
        if x.ndim != 2 or x.shape[1:] != (3,) or not len(x):
            yield f"{label}: particles have shape {x.shape}; give at least one, as [n, 3]"
            continue
        outside = ~((x >= low) & (x < high)).all(axis=1)
        if outside.any():
            yield (
                f"{label}: {int(outside.sum())} particles are outside of the grid, where x, y, z must be from {low:g}"
                f" to below {tuple(high.tolist())} m: {_first(outside, x)}"
            )
        if np.ndim(body.volume) and np.shape(body.volume) != (body.n,):
            yield f"{label}: volume has shape {np.shape(body.volume)}; give one number, or {body.n}"
            continue
        wrong = ~(np.isfinite(body.volumes) & (body.volumes > 0))
        if wrong.any():
            yield f"{label}: volume must be positive and finite [m^3]: {_first(wrong, body.volumes)}"
        if not (math.isfinite(body.density) and body.density > 0):
            yield f"{label}: density={body.density!r} must be positive [kg/m^3]"
        try:
            _row(body)
        except ValueError as error:
            yield f"{label}: {error}"


def _first(wrong: np.ndarray, values: np.ndarray) -> str:
    """The first few that are wrong, with their values."""
    at = [tuple(int(i) for i in index) for index in np.argwhere(wrong)]
    shown = [f"{index[0] if len(index) == 1 else index} at {values[index].tolist()}" for index in at[:_NAMED]]
    return ", ".join(shown) + (" ..." if len(at) > _NAMED else "")
