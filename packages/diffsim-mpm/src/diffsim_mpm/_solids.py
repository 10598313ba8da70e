"""Shapes as solids: their volumes, and points that stand for them on a plane."""

from __future__ import annotations

import numpy as np

from diffsim_mpm.shapes import Box, Capsule, Cylinder, Numbers, Shape, SignedDistanceGrid, Sphere
from diffsim_mpm.twin_coupling import signed_distance

_RIM = 12
"""Points on each rim of a cylinder."""
_CELLS = 64
"""Along each side of a shape whose volume is counted in cells."""


def directions() -> Numbers:
    """Unit vectors to the faces, edges and corners of a cube ``[26, 3]``."""
    steps = np.stack(np.meshgrid(*[(-1.0, 0.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    ways = steps[np.any(steps != 0, axis=1)]
    return ways / np.linalg.norm(ways, axis=1, keepdims=True)


def skew(a: Numbers) -> Numbers:
    """Matrices ``[k, 3, 3]`` of cross products with vectors ``[k, 3]``."""
    return np.cross(a[:, None], np.eye(3)).swapaxes(1, 2)


def points_of(shape: Shape) -> Numbers:
    """Points of a shape in its own frame, and their radii ``[k, 4]``: whatever lies on a plane lies on one of them."""
    signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    match shape:
        case Sphere():
            at = np.zeros((1, 3))
        case Capsule():
            at = np.array([[0.0, 0.0, -shape.half_length], [0.0, 0.0, shape.half_length]])
        case Box():
            at = signs * np.asarray(shape.half_sizes)
        case Cylinder():
            turn = 2 * np.pi * np.arange(_RIM) / _RIM
            rim = shape.radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
            at = np.concatenate([np.insert(rim, 2, end * shape.half_length, axis=1) for end in (-1, 1)])
        case SignedDistanceGrid():
            inside = np.asarray(shape.origin) + shape.spacing * np.argwhere(np.asarray(shape.samples) < 0)
            at = np.unique(inside[(inside @ directions().T).argmax(axis=0)], axis=0)
        case _:
            raise TypeError(f"{shape.label} has no points")
    radius = 0.0 if isinstance(shape, Cylinder | SignedDistanceGrid) else shape.rounding
    return np.column_stack([at, np.full(len(at), radius)])


def volume_of(shape: Shape) -> tuple[float, Numbers, Numbers]:
    """Volume, centre ``[3]`` and inertia per mass about it ``[3, 3]`` of a solid shape, in its own frame."""
    zero = np.zeros(3)
    match shape:
        case Sphere():
            r = shape.radius
            return 4 / 3 * np.pi * r**3, zero, 0.4 * r**2 * np.eye(3)
        case Capsule():
            r, h = shape.radius, shape.half_length
            ball, rod = 4 / 3 * np.pi * r**3, 2 * np.pi * r**2 * h
            across = ball * (0.4 * r**2 + h**2 + 0.75 * h * r) + rod * (r**2 / 4 + h**2 / 3)
            along = ball * 0.4 * r**2 + rod * r**2 / 2
            return ball + rod, zero, np.diag([across, across, along]) / (ball + rod)
        case Cylinder():
            r, h = shape.radius, shape.half_length
            across = r**2 / 4 + h**2 / 3
            return 2 * np.pi * r**2 * h, zero, np.diag([across, across, r**2 / 2])
        case Box() if shape.radius == 0:
            squares = np.asarray(shape.half_sizes, np.float64) ** 2
            return 8 * float(np.prod(shape.half_sizes)), zero, np.diag(squares.sum() - squares) / 3
        case _:
            return _counted(shape)


def _counted(shape: Shape) -> tuple[float, Numbers, Numbers]:
    """In small cells of the box around it."""
    match shape:
        case Box():
            high = np.asarray(shape.half_sizes, np.float64) + shape.radius
            low = -high
        case SignedDistanceGrid():
            low = np.asarray(shape.origin, np.float64)
            high = low + shape.spacing * (np.array(shape.samples.shape) - 1)
        case _:
            raise TypeError(f"{shape.label} has no volume")
    sides = (high - low) / _CELLS
    axes = [a + side * (np.arange(_CELLS) + 0.5) for a, side in zip(low, sides, strict=True)]
    x = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = x[signed_distance(shape, x)[0] < 0]
    centre = inside.mean(axis=0)
    arm = inside - centre
    second = arm.T @ arm / len(arm) + np.diag(sides**2) / 12
    return len(inside) * float(np.prod(sides)), centre, np.trace(second) * np.eye(3) - second
