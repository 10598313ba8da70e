"""Meshes of simple shapes, from a grid of cells that are cut into tetrahedra: box, table, cylinder, ellipsoid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from diffsim_mpm.tet.mesh import Numbers, TetMesh, oriented

# Corner k of a cell lies at the bits (x, y, z) of k. Kuhn's six tetrahedra walk from corner 0 to corner 7, one axis at
# a time; neighbours in this list share a face, so that a pair of them can act as one muscle.
_WALKS = ((0, 1, 2), (0, 2, 1), (2, 0, 1), (2, 1, 0), (1, 2, 0), (1, 0, 2))
_SIX = tuple((0, 1 << i, 1 << i | 1 << j, 7) for i, j, _ in _WALKS)
_FIVE = ((0, 1, 2, 4), (3, 2, 1, 7), (5, 4, 7, 1), (6, 7, 4, 2), (1, 2, 4, 7))


def cell_mesh(filled: Any, size: Sequence[float], *, split: int = 6, centred: bool = False) -> TetMesh:
    """Cells of a regular grid, each cut into tetrahedra.

    Neighbouring cells are mirror images, so that their faces fit, and no direction is preferred.

    Args:
        filled: which cells belong to the body, ``[nx, ny, nz]`` booleans.
        size: edges of the whole grid along x, y and z [m]; its lowest corner is the origin.
        split: 6 equal tetrahedra in a cell, or 5, of which the middle one is larger.
        centred: mirror cells at the middle planes only, so that the six tetrahedra of a cell turn around its diagonal
            away from the middle. It takes an even number of cells.

    Raises:
        ValueError: no cell, or a number out of range.
    """
    filled = np.asarray(filled, dtype=bool)
    if filled.ndim != 3 or not filled.any():
        raise ValueError(f"filled has shape {filled.shape} and {filled.sum()} cells; it must be [nx, ny, nz] with some")
    if split not in (5, 6):
        raise ValueError(f"split={split!r} must be 5 or 6 tetrahedra for each cell")
    if centred and (split != 6 or any(n % 2 for n in filled.shape)):
        raise ValueError(f"centred needs split=6 and even numbers of cells, got split={split}, cells {filled.shape}")
    lengths = _lengths("size", size)
    cells = np.argwhere(filled)
    counts = np.array(filled.shape)
    mirrored = cells < counts // 2 if centred else cells % 2 == 1
    corners = np.array([[k >> a & 1 for a in range(3)] for k in range(8)])
    pattern = corners[np.array(_SIX if split == 6 else _FIVE)]
    if split == 5:
        mirrored = np.stack([cells.sum(axis=1) % 2 == 1, *np.zeros((2, len(cells)), dtype=bool)], axis=1)
    local = pattern[None] ^ mirrored[:, None, None, :]
    points = (cells[:, None, None, :] + local).reshape(-1, 3)
    nodes, numbers = np.unique(points[:, ::-1], axis=0, return_inverse=True)  # layer by layer from below
    x = nodes[:, ::-1] / counts * lengths
    return TetMesh(x, oriented(x, numbers.reshape(-1, 4)))


def box(size: Sequence[float], cells: Sequence[int], *, split: int = 6) -> TetMesh:
    """A box with its lowest corner at the origin.

    Args:
        size: edges along x, y and z [m].
        cells: cells along x, y and z.
        split: see :func:`cell_mesh`.

    Raises:
        ValueError: a number out of range.
    """
    return cell_mesh(np.ones(_counts("cells", cells), dtype=bool), size, split=split)


def table(
    size: Sequence[float] = (2.48, 2.48, 1.773), *, cells: int = 5, top: int = 2, legs: int = 6, split: int = 6
) -> TetMesh:
    """A square table top on four legs, one at each corner, with its lowest corner at the origin.

    The defaults give 204 nodes and 444 tetrahedra, as many as the mesh of SoftJumper (Xing et al. 2024), and its size.

    Args:
        size: edges along x, y and z [m].
        cells: cells along each side of the top; a leg is one cell thick.
        top: layers of cells of the top.
        legs: layers of cells of the legs.
        split: see :func:`cell_mesh`.

    Raises:
        ValueError: a number out of range.
    """
    _counts("(cells, top, legs)", (cells, top, legs))
    if cells < 3:
        raise ValueError(f"cells={cells!r} must be at least 3, so that the legs are apart")
    filled = np.zeros((cells, cells, legs + top), dtype=bool)
    filled[:, :, legs:] = True
    filled[:: cells - 1, :: cells - 1, :] = True
    return cell_mesh(filled, size, split=split)


def cylinder(radius: float, height: float, *, cells: int = 6, layers: int = 4) -> TetMesh:
    """An upright cylinder, centred on the z axis with its bottom at z = 0.

    Args:
        radius: [m].
        height: [m].
        cells: cells along a diameter, an even number.
        layers: layers of cells, an even number.

    Raises:
        ValueError: a number out of range.
    """
    radius, height = _lengths("(radius, height)", (radius, height))
    mesh = _middle((cells, cells, layers))
    square, z = mesh.x[:, :2], mesh.x[:, 2:]
    return mesh.moved(np.concatenate([radius * _round(square), (z + 1) * (height / 2)], axis=1))


def ellipsoid(semi_axes: Sequence[float], *, cells: int = 6) -> TetMesh:
    """An ellipsoid around the origin.

    Args:
        semi_axes: along x, y and z [m].
        cells: cells along each axis, an even number.

    Raises:
        ValueError: a number out of range.
    """
    lengths = _lengths("semi_axes", semi_axes)
    mesh = _middle((cells, cells, cells))
    return mesh.moved(lengths * _round(mesh.x))


def _middle(cells: tuple[int, int, int]) -> TetMesh:
    """The cube from -1 to 1, whose tetrahedra keep one face at most on any surface that it is bent to."""
    if any(n < 2 or n % 2 for n in cells):
        raise ValueError(f"cells={cells} must be even numbers of at least 2")
    mesh = cell_mesh(np.ones(cells, dtype=bool), (2, 2, 2), centred=True)
    return mesh.moved(mesh.x - 1)


def _round(x: Numbers) -> Numbers:
    """The square or cube from -1 to 1 made round: each point moves along its ray, ``|x|_max`` becomes ``|x|``."""
    longest, length = abs(x).max(axis=1, keepdims=True), np.linalg.norm(x, axis=1, keepdims=True)
    return x * longest / np.where(length > 0, length, 1)


def _lengths(name: str, values: Sequence[float]) -> Numbers:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not all(math.isfinite(value) and value > 0 for value in array):
        raise ValueError(f"{name}={values!r} must be positive metres")
    return array


def _counts(name: str, values: Sequence[int]) -> tuple[int, ...]:
    if len(values) != 3 or not all(isinstance(n, int | np.integer) and n >= 1 for n in values):
        raise ValueError(f"{name}={values!r} must be 3 whole numbers of at least 1")
    return tuple(int(n) for n in values)
