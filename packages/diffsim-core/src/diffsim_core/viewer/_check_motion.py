"""Whether the fields of a motion fit each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from diffsim_core.viewer._deformable import check_deformable
from diffsim_core.viewer._shapes import PARTS

if TYPE_CHECKING:  # which checks itself by this module
    from diffsim_core.viewer._motion import Motion, Shape


def check_motion(motion: Motion) -> None:
    """Raise ``ValueError`` for the first invalid field."""
    if not (np.isfinite(motion.dt) and motion.dt > 0):
        raise ValueError(f"dt is {motion.dt!r}: give the positive seconds between frames")
    if motion.position.ndim != 4 or 0 in motion.position.shape[:2]:
        raise ValueError(f"position has shape {motion.position.shape}: give [T, N, nb, 3] with a frame and a world")
    T, N = motion.position.shape[:2]
    nb, n, segments = len(motion.bodies), len(motion.muscles.names), len(motion.muscles.muscle)
    rows = len(motion.contacts.frame)
    shapes: dict[str, tuple[Any, tuple[int, ...]]] = {
        "position": (motion.position, (T, N, nb, 3)),
        "quaternion": (motion.quaternion, (T, N, nb, 4)),
        "begins": (motion.begins, (T, N)),
        "activation": (motion.activation, (T, N, n)),
        **{f"curves[{name!r}]": (curve, (T, N)) for name, curve in motion.curves.items()},
        "muscles.width": (motion.muscles.width, (n,)),
        "muscles.body": (motion.muscles.body, (segments, 2)),
        "muscles.pos": (motion.muscles.pos, (segments, 2, 3)),
        "contacts.world": (motion.contacts.world, (rows,)),
        "contacts.point": (motion.contacts.point, (rows, 3)),
        "contacts.force": (motion.contacts.force, (rows, 3)),
    }
    for name, (array, shape) in shapes.items():
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
        if not name.startswith("curves") and not np.isfinite(array).all():
            raise ValueError(f"{name} has numbers that are not finite; exclude such worlds or frames")
    indices = {
        "muscles.muscle": (motion.muscles.muscle, 0, n),
        "muscles.body": (motion.muscles.body, -1, nb),
        "contacts.frame": (motion.contacts.frame, 0, T),
        "contacts.world": (motion.contacts.world, 0, N),
    }
    for name, (array, low, high) in indices.items():
        if len(array) and not (low <= array.min() and array.max() < high):
            raise ValueError(f"{name} has indices outside {low} to {high - 1}")
    order = motion.contacts.frame * N + motion.contacts.world
    if (np.diff(order) < 0).any():
        raise ValueError("contacts are not ordered by frame, then world: sort their rows")
    for shape in motion.shapes:
        _check_shape(shape, nb)
    for body in motion.deformables:
        check_deformable(body, T, N)


def _check_shape(shape: Shape, num_bodies: int) -> None:
    if shape.type not in PARTS:
        raise ValueError(f"shape {shape.name!r} is of type {shape.type!r}: use one of {', '.join(PARTS)}")
    if type(shape.body) is not int or not -1 <= shape.body < num_bodies:
        raise ValueError(
            f"shape {shape.name!r} is on body {shape.body!r}; give an index from 0 to {num_bodies - 1}, "
            "or -1 for the world"
        )
    for name, count in (("pos", 3), ("quat", 4), ("size", 3), ("rgba", 4)):
        value = getattr(shape, name)
        if len(value) != count or not np.isfinite(np.array(value, dtype=float)).all():
            raise ValueError(f"{name} of shape {shape.name!r} is {value!r}: give {count} finite numbers")
