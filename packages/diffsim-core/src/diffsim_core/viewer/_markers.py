"""Markers: places that belong to a task and to no body, such as a goal, drawn as translucent balls."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from diffsim_core._protocol import PyTree
from diffsim_core._tree import tree_map
from diffsim_core.viewer._motion import Motion, Shape


class Marker(NamedTuple):
    """A ball that a task draws."""

    position: Any
    """Its centre in world axes ``[N, 3]`` [m]."""
    radius: float = 0.04
    """[m]"""
    rgba: tuple[float, float, float, float] = (0.9, 0.3, 0.2, 0.6)
    """Red, green, blue and opacity, from 0 to 1."""


def marked(motion: Motion, env: Any, physics: PyTree, task: PyTree) -> Motion:
    """The motion with what the task's method ``markers(xp, physics, task)`` says, if it has one.

    Args:
        motion: ``T`` frames of ``N`` worlds.
        env: worlds of the task.
        physics: states of the simulator, NumPy arrays ``[T, N, ...]``.
        task: states of the task, likewise; None where they are not known, and then nothing is drawn.

    Raises:
        ValueError: a marker's position is not ``[N, 3]``, or not finite.
    """
    method = getattr(getattr(env, "task", None), "markers", None)
    if method is None or task is None:
        return motion
    T, N = motion.position.shape[:2]
    physics, task = (tree_map(lambda leaf: leaf.reshape(T * N, *leaf.shape[2:]), part) for part in (physics, task))
    given: Mapping[str, Any] = method(np, physics, task)
    shapes, positions = list(motion.shapes), [motion.position]
    for name, marker in given.items():
        ball = marker if isinstance(marker, Marker) else Marker(marker)
        position = np.asarray(ball.position, dtype=np.float32)
        if position.shape != (T * N, 3) or not np.isfinite(position).all():
            raise ValueError(
                f"marker {name!r} of task {env.spec.name!r} has positions of shape {position.shape}; they must be"
                f" finite, one place [m] for each of {T * N} states: {(T * N, 3)}"
            )
        place = len(motion.bodies) + len(positions) - 1
        positions.append(position.reshape(T, N, 1, 3))
        size = (float(ball.radius),) * 3
        kind = {"type": "sphere", "pos": (0.0, 0.0, 0.0), "quat": (1.0, 0.0, 0.0, 0.0), "size": size}
        shapes.append(Shape(name=name, body=place, rgba=tuple(map(float, ball.rgba)), **kind))
    upright = np.broadcast_to(np.array([1, 0, 0, 0], np.float32), (T, N, len(given), 4))
    return dataclasses.replace(
        motion,
        bodies=(*motion.bodies, *given),
        shapes=tuple(shapes),
        position=np.concatenate(positions, axis=2),
        quaternion=np.concatenate([motion.quaternion, upright], axis=2),
    )
