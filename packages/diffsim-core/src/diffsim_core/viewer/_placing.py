"""Poses of a motion's shapes and muscles in a frame, for viewers that draw in Python."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core.viewer._encode import reach
from diffsim_core.viewer._motion import Motion, MusclePaths, Shape

Numbers = np.ndarray[Any, np.dtype[Any]]
_RELAXED, _TENSE = np.array([219, 184, 168]), np.array([199, 15, 15])


class Placed(NamedTuple):
    """Poses of one shape in all worlds."""

    position: Numbers
    """``[N, 3]`` position in each world [m]."""
    quaternion: Numbers
    """``[N, 4]`` attitude in each world, wxyz."""


def worlds_aside(motion: Motion) -> Numbers:
    """``[N, 3]`` offset of each world [m], as on the page; zero on uneven ground, which all worlds share."""
    aside = np.zeros((motion.num_worlds, 3))
    if motion.terrain is None:
        aside[:, 1] = (np.arange(motion.num_worlds) - (motion.num_worlds - 1) / 2) * (2 * reach(motion) + 0.5)
    return aside


def place(motion: Motion, frame: int, shape: Shape) -> Placed:
    """Poses of a shape in every world."""
    body_position, body_quaternion = _body(motion, frame, np.array([shape.body]))
    position = body_position[:, 0] + rotate(body_quaternion[:, 0], np.asarray(shape.pos, float))
    return Placed(position, multiply(body_quaternion[:, 0], np.asarray(shape.quat, float)))


def muscle_lines(motion: Motion, frame: int) -> tuple[Numbers, Numbers]:
    """Ends ``[N, S, 2, 3]`` [m] and colours ``[N, S, 3]`` (0 to 255) of muscle segments."""
    paths: MusclePaths = motion.muscles
    ends = []
    for k in range(2):
        position, quaternion = _body(motion, frame, paths.body[:, k])
        ends.append(position + rotate(quaternion, paths.pos[None, :, k]))
    active = np.clip(motion.activation[frame][:, paths.muscle, None], 0.0, 1.0)
    return np.stack(ends, axis=2), (_RELAXED + active * (_TENSE - _RELAXED)).astype(np.uint8)


def rotate(quaternion: Numbers, vector: Numbers) -> Numbers:
    """Vectors ``[..., 3]`` rotated by unit quaternions ``[..., 4]``."""
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    vector = np.broadcast_to(vector, xyz.shape)
    twice = 2.0 * np.cross(xyz, vector)
    return vector + w * twice + np.cross(xyz, twice)


def multiply(a: Numbers, b: Numbers) -> Numbers:
    """Hamilton products of quaternions ``[..., 4]``."""
    w, v = a[..., :1], a[..., 1:]
    u, x = b[..., :1], np.broadcast_to(b[..., 1:], v.shape)
    scalar = w * u - (v * x).sum(axis=-1, keepdims=True)
    return np.concatenate([scalar, w * x + u * v + np.cross(v, x)], axis=-1)


def followed_point(motion: Motion, frame: int, world: int) -> Numbers:
    """What a camera follows ``[3]``: soft bodies, or else the first rigid one [m]."""
    if motion.deformables:
        return motion.deformables[0].position[frame, world].mean(axis=0)
    return motion.position[frame, world, 0] if motion.bodies else np.zeros(3)


def _body(motion: Motion, frame: int, body: Numbers) -> tuple[Numbers, Numbers]:
    """Positions ``[N, k, 3]`` and attitudes ``[N, k, 4]`` of bodies; -1 is the world."""
    N = motion.num_worlds
    position = np.zeros((N, len(body), 3))
    quaternion = np.tile([1.0, 0.0, 0.0, 0.0], (N, len(body), 1))
    moving = body >= 0
    position[:, moving] = motion.position[frame][:, body[moving]]
    quaternion[:, moving] = motion.quaternion[frame][:, body[moving]]
    return position, quaternion
