"""The part of a packed model that ``_source/contact_tables.h`` reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.contacts import ContactPairs, PointKind
from diffsim_core.rigid.model import RigidModel


def plain_points(model: RigidModel) -> Any:
    """Which contact points ``[nc]`` are spheres or corners over a level ground: the engine's fast path."""
    round_ = np.asarray(model.contact_kind) == PointKind.ROUND
    return round_ & (model.ground_field is None)


def point_rows(model: RigidModel, chosen: Any) -> Any:
    """Position, radius and gains of the chosen points, a row each."""
    names = ("radius", "kn", "kd", "kt", "mu")
    columns = [model.contact_pos.reshape(-1, 3)] + [getattr(model, f"contact_{n}").reshape(-1, 1) for n in names]
    return np.column_stack(columns)[chosen]


def touch_rows(model: RigidModel) -> Any:
    """Position, radius and gains of the points off the fast path, and of the first shape of each pair."""
    pairs = model.pairs
    columns = [pairs.pos[:, 0], pairs.radius[:, :1], np.column_stack([pairs.kn, pairs.kd, pairs.kt, pairs.mu])]
    return np.concatenate([point_rows(model, ~plain_points(model)), np.hstack(columns)])


def pack_contacts(model: RigidModel, backward_smoothing: float) -> tuple[Any, Any]:
    """``(integers, reals)`` of smoothing, surface points, pairs and height field."""
    surface = np.flatnonzero(~plain_points(model))
    field = model.ground_field
    heights = np.zeros((0, 0)) if field is None else field.heights
    pairs = model.pairs
    integers = np.concatenate(
        [
            [len(surface), len(pairs), heights.shape[1], heights.shape[0]],
            np.column_stack([model.contact_link[surface], model.contact_kind[surface]]).ravel(),
            np.column_stack([pairs.kind, pairs.link]).ravel(),
        ]
    )
    grid = np.zeros(4) if field is None else np.concatenate([field.origin, 1 / field.spacing])
    reals = np.concatenate(
        [
            [model.contact_smoothing, backward_smoothing],
            grid,
            _surface_rows(model, surface).ravel(),
            _pair_rows(pairs).ravel(),
            heights.ravel(),
        ]
    )
    return integers, reals


def _surface_rows(model: RigidModel, chosen: Any) -> Any:
    rows = np.zeros((len(chosen), 12))
    rows[:, :3] = model.contact_size[chosen] ** 2
    for row, quat in zip(rows, model.contact_quat[chosen], strict=True):
        row[3:] = rotation(quat).T.ravel()
    return rows


def _pair_rows(pairs: ContactPairs) -> Any:
    rows = np.zeros((len(pairs), 20))
    rows[:, 0:3], rows[:, 3:6] = pairs.half[:, 0], pairs.pos[:, 1]
    rows[:, 6], rows[:, 7:10] = pairs.radius[:, 1], pairs.half[:, 1]
    for row, quat in zip(rows, pairs.quat, strict=True):
        row[10:19] = rotation(quat).T.ravel()
    rows[:, 19] = pairs.radius.sum(axis=1) + np.linalg.norm(pairs.half, axis=2).sum(axis=1)
    return rows
