"""The part of a packed model that ``_source/contact_tables.h`` reads."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from diffsim_core.rigid._pack_pairs import pair_reals, pair_tables
from diffsim_core.rigid._quat import rotation
from diffsim_core.rigid.contacts import HeightField, PointKind, tangents
from diffsim_core.rigid.model import RigidModel

LARGE = 12
"""Points of one shape that are worth a sphere about them; a box has eight."""


class _Points(NamedTuple):
    """Contact points in the engine's order: one by one, then in groups."""

    order: Any
    groups: list[tuple[int, int]]
    """First place and number of each group."""


def _plain(model: RigidModel) -> Any:
    """Which contact points ``[nc]`` are spheres or corners over a level ground: the engine's fast path."""
    round_ = np.asarray(model.contact_kind) == PointKind.ROUND
    return round_ & (model.ground_field is None) & (np.asarray(model.contact_plane) < 0)


def _ordered(model: RigidModel, chosen: Any) -> _Points:
    """The chosen points; a group are those of a shape of many points."""
    shapes: dict[tuple[int, str, int], list[int]] = {}
    for c in np.flatnonzero(chosen).tolist():
        key = int(model.contact_link[c]), model.contact_geom[c], int(model.contact_plane[c])
        shapes.setdefault(key, []).append(c)
    large = [shape for shape in shapes.values() if len(shape) >= LARGE]
    grouped = {c for shape in large for c in shape}
    alone = [c for c in np.flatnonzero(chosen).tolist() if c not in grouped]
    first = np.cumsum([len(alone), *(len(shape) for shape in large)]).tolist()
    order = np.array([*alone, *(c for shape in large for c in shape)], dtype=np.int64)
    return _Points(order, [(start, len(shape)) for start, shape in zip(first, large, strict=False)])


def plain_points(model: RigidModel) -> Any:
    """Indices of the contact points on the engine's fast path, in its order."""
    return _ordered(model, _plain(model)).order


def surface_points(model: RigidModel) -> Any:
    """Indices of the others, in the engine's order."""
    return _ordered(model, ~_plain(model)).order


def has_groups(model: RigidModel) -> bool:
    """Whether a shape has so many points that they are a group."""
    return any(_ordered(model, chosen).groups for chosen in (_plain(model), ~_plain(model)))


def point_rows(model: RigidModel, chosen: Any) -> Any:
    """Position, radius and gains of the chosen points, a row each."""
    names = ("radius", "kn", "kd", "kt", "mu")
    columns = [model.contact_pos.reshape(-1, 3)] + [getattr(model, f"contact_{n}").reshape(-1, 1) for n in names]
    return np.column_stack(columns)[chosen]


def touch_rows(model: RigidModel) -> Any:
    """Position, radius and gains of the points off the fast path; and the gains of pairs, in the same columns."""
    pairs = model.pairs
    gains = np.column_stack([np.zeros((len(pairs), 4)), pairs.kn, pairs.kd, pairs.kt, pairs.mu])
    return np.concatenate([point_rows(model, surface_points(model)), gains])


def pack_contacts(model: RigidModel, backward_smoothing: float) -> tuple[Any, Any]:
    """``(integers, reals)`` of smoothing, surface points, pairs and height field."""
    plain, off_path = (_ordered(model, chosen) for chosen in (_plain(model), ~_plain(model)))
    surface = off_path.order
    field = model.ground_field
    heights = np.zeros((0, 0)) if field is None else field.heights
    pairs = model.pairs
    integers = np.concatenate(
        [
            [len(surface), len(pairs), heights.shape[1], heights.shape[0], len(plain.groups), len(off_path.groups)],
            [len(model.ground_planes)],
            np.column_stack([getattr(model, f"contact_{name}")[surface] for name in ("link", "kind", "plane")]).ravel(),
            *(
                np.array([first, count, model.contact_link[order[first]], model.contact_plane[order[first]]])
                for order, groups in (plain, off_path)
                for first, count in groups
            ),
            pair_tables(pairs).ravel(),
        ]
    )
    grid = np.zeros(4) if field is None else np.concatenate([field.origin, 1 / field.spacing])
    reals = np.concatenate(
        [
            [model.contact_smoothing, backward_smoothing],
            grid,
            [1.0 if field is None else _steepest(field)],
            _surface_rows(model, surface).ravel(),
            *(
                _sphere(model, order[first : first + count])
                for order, groups in (plain, off_path)
                for first, count in groups
            ),
            *(np.array([*plane, *tangents(plane[:3])[1]]) for plane in model.ground_planes),
            heights.ravel(),
            pair_reals(pairs),
        ]
    )
    return integers, reals


def _sphere(model: RigidModel, points: Any) -> Any:
    """Centre and radius of a sphere that holds points with all that is about them."""
    places = model.contact_pos[points]
    centre = (places.min(axis=0) + places.max(axis=0)) / 2
    sizes = model.contact_radius[points] + model.contact_size[points].max(axis=1)
    return np.array([*centre, np.max(np.linalg.norm(places - centre, axis=1) + sizes)])


def _steepest(field: HeightField) -> float:
    """A bound of ``1 / n_z`` over a field's normals.

    Along a row the slope is a quadratic, within its three Bezier points; across rows, weights mix them whose sizes add
    up to 1.25 at most.
    """
    slopes = []
    for heights, spacing in ((field.heights, field.spacing[0]), (field.heights.T, field.spacing[1])):
        rise = np.diff(np.pad(heights, ((0, 0), (2, 2)), mode="edge"), axis=1)
        tangent = (rise[:, :-1] + rise[:, 1:]) / 2
        middle = 3 * rise[:, 1:-1] - tangent[:, :-1] - tangent[:, 1:]
        slopes.append(1.25 * max(np.abs(tangent).max(), np.abs(middle).max()) / spacing)
    return float(np.sqrt(1 + np.sum(np.square(slopes))))


def _surface_rows(model: RigidModel, chosen: Any) -> Any:
    rows = np.zeros((len(chosen), 13))
    rows[:, :3] = model.contact_size[chosen] ** 2
    for row, quat in zip(rows, model.contact_quat[chosen], strict=True):
        row[3:12] = rotation(quat).T.ravel()
    rows[:, 12] = model.contact_ratio[chosen]
    return rows
