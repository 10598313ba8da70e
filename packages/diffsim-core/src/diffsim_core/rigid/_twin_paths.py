"""Lengths of muscles and tendons in the twin, and how joints change them."""

from __future__ import annotations

import numpy as np

from diffsim_core.rigid._twin_wrapping import around
from diffsim_core.rigid.coupled import uncoupled
from diffsim_core.rigid.model import FloatArray, RigidModel
from diffsim_core.rigid.paths import NO_SIDE, Paths, WrapKind


def lengths_and_moments(
    model: RigidModel,
    rotation: FloatArray,
    position: FloatArray,
    S: FloatArray,
    q: FloatArray | None = None,
    paths: Paths | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Lengths ``[n]`` [m] of all units, and their derivatives by joint motion ``[n, nv]``: moment arms [m].

    Args:
        model: The model.
        rotation: Axes of the links ``[nl, 3, 3]``.
        position: Origins of the links ``[nl, 3]`` [m].
        S: Motion of a link by each degree of freedom ``[6, nv]`` about the world's origin.
        q: Coordinates of all joints; needed for lengths that contain joint coordinates.
        paths: The units; by default the model's muscles.
    """
    paths, model = model.muscles if paths is None else paths, uncoupled(model)
    n = len(paths.first) - 1
    lengths, moments = np.zeros(n), np.zeros((n, model.nv))
    moves = moved_by(model)
    for i in range(n):
        for s in paths.segments(i):
            ends, jacobians = [], []
            for link, pos in zip(paths.segment_link[s], paths.segment_pos[s], strict=True):
                p = position[link] + rotation[link] @ pos if link >= 0 else pos
                ends.append(p)
                jacobians.append(point_jacobian(S, p) * moves[link])
            wrap = int(paths.segment_wrap[s])
            if wrap >= 0:
                length, moment = _wrapped(paths, wrap, rotation, position, S, moves, ends, jacobians)
            else:
                d = ends[1] - ends[0]
                length = float(np.linalg.norm(d))
                moment = (d / max(length, 1e-300)) @ (jacobians[1] - jacobians[0])
            lengths[i] += paths.segment_scale[s] * length
            moments[i] += paths.segment_scale[s] * moment
        for t in paths.terms(i):
            joint, scale = paths.term_joint[t], paths.term_scale[t]
            lengths[i] += scale * (np.nan if q is None else q[model.joint_q[joint]])
            moments[i, model.joint_dof[joint]] += scale
    return lengths, moments


def _wrapped(
    paths: Paths, w: int, rotation: FloatArray, position: FloatArray, S: FloatArray, moves: np.ndarray,
    ends: list[FloatArray], jacobians: list[FloatArray],
) -> tuple[float, FloatArray]:  # fmt: skip
    """Length of a segment around a shape, and its derivative by joint motion ``[nv]``."""
    link, side_link = int(paths.wrap_link[w]), int(paths.wrap_side_link[w])
    turn, place = (rotation[link], position[link]) if link >= 0 else (np.eye(3), np.zeros(3))
    centre, side = place + turn @ paths.wrap_pos[w], None
    if side_link != NO_SIDE:
        side = paths.wrap_side_pos[w]
        side = (position[side_link] + rotation[side_link] @ side if side_link >= 0 else side) - centre
    kind, radius, axis = WrapKind(int(paths.wrap_kind[w])), float(paths.wrap_radius[w]), turn @ paths.wrap_axis[w]
    length, *towards = around(kind, radius, axis, ends[0] - centre, ends[1] - centre, side)
    moment = np.zeros(S.shape[1])
    for end, jacobian, other in zip(ends, jacobians, towards, strict=True):
        n = end - (centre + other)
        # the length changes as the end moves against the shape
        moment += n / max(float(np.linalg.norm(n)), 1e-300) @ (jacobian - point_jacobian(S, end) * moves[link])
    return length, moment


def moved_by(model: RigidModel) -> np.ndarray:
    """``[nl + 1, nv]`` whether a degree of freedom moves a link; the last row is the world's."""
    moves = np.zeros((model.nl + 1, model.nv), dtype=bool)
    for i, parent in enumerate(model.link_parent):
        moves[i] = moves[parent] if parent >= 0 else False
        end = model.joint_dof[i + 1] if i + 1 < model.nl else model.nv
        moves[i, model.joint_dof[i] : end] = True
    return moves


def point_jacobian(S: FloatArray, p: FloatArray) -> FloatArray:
    """Velocity ``[3, nv]`` of a point at ``p`` by each degree of freedom, if it moved with all of them."""
    return S[3:] + np.cross(S[:3].T, p).T
