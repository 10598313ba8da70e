"""The tables of pairs of solids that the kernels read (columns: ``_source/contact_tables.h``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid.contacts import ContactPairs
from diffsim_core.rigid.solids import Solid


def pair_tables(pairs: ContactPairs) -> Any:
    """Integers: the solids of each pair; then of each solid link, numbers of segments and planes, and first real."""
    sizes = [len(_solid_reals(solid)) for solid in pairs.solids]
    starts = 2 * len(pairs) + np.concatenate([[0], np.cumsum(sizes)[:-1]]) if sizes else []
    rows = [
        (solid.link, len(solid.segments), len(solid.planes), start)
        for solid, start in zip(pairs.solids, starts, strict=True)
    ]
    return np.concatenate([pairs.solid.ravel(), np.array(rows, dtype=np.int64).ravel()])


def pair_reals(pairs: ContactPairs) -> Any:
    """Reach and rounding of each pair; then the numbers of each solid."""
    own = [_solid_reals(solid) for solid in pairs.solids]
    return np.concatenate([np.column_stack([pairs.reach, pairs.rounding]).ravel(), *own])


def _solid_reals(solid: Solid) -> Any:
    half = solid.segments[:, 1]
    square = np.einsum("si,si->s", half, half)
    per_square = np.divide(1.0, square, out=np.zeros_like(square), where=square > 0)
    edges = np.column_stack([solid.segments.reshape(-1, 6), solid.shrink.reshape(-1, 6), per_square])
    return np.concatenate([solid.centre, [solid.radius, solid.bound], edges.ravel(), solid.planes.ravel()])
