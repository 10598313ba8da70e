"""``TetMesh``: a body cut into tetrahedra, checked before anything is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

Numbers = np.ndarray[Any, Any]

FACES = ((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))
"""Corners of the faces of a tetrahedron of positive volume; their normals point out of it."""
_FEW = 5
_FLAT = 1e-9
"""A tetrahedron of less volume than this times its longest edge cubed is degenerate."""


@dataclass(frozen=True, eq=False)
class TetMesh:
    """Nodes and the tetrahedra between them.

    Args:
        x: positions of the nodes ``[n, 3]`` [m].
        tets: nodes of each tetrahedron ``[m, 4]``. Corners 1, 2 and 3 turn counterclockwise when seen from corner 0's
            far side, so that the volume is positive; :func:`oriented` turns those that are not so.

    Raises:
        ValueError: for wrong shapes, numbers that are not finite, an index out of range, a tetrahedron that names a
            node twice, is degenerate or inverted, a node that no tetrahedron uses, or a face that more than two
            tetrahedra share. The message lists the first few.
    """

    x: Numbers
    tets: Numbers

    def __post_init__(self) -> None:
        x, tets = np.array(self.x, dtype=np.float64), np.array(self.tets)
        if x.ndim != 2 or x.shape[1] != 3:
            raise ValueError(f"x has shape {x.shape}; it must be [n, 3], a position for each node")
        if tets.ndim != 2 or tets.shape[1] != 4 or tets.dtype.kind not in "iu":
            raise ValueError(f"tets has shape {tets.shape} of {tets.dtype}; it must be [m, 4] node numbers")
        if not len(tets):
            raise ValueError("tets is empty; a mesh needs at least 1 tetrahedron")
        _refuse(~np.isfinite(x).all(axis=1), "node", "has a position that is not finite", x)
        tets = tets.astype(np.int32)
        _refuse(
            ((tets < 0) | (tets >= len(x))).any(axis=1), "tetrahedron", f"names nodes outside 0..{len(x) - 1}", tets
        )
        in_order = np.sort(tets, axis=1)
        _refuse((in_order[:, 1:] == in_order[:, :-1]).any(axis=1), "tetrahedron", "names a node twice", tets)
        volumes, size = signed_volumes(x, tets), _longest_edge(x, tets) ** 3
        _refuse(abs(volumes) <= _FLAT * size, "tetrahedron", "is degenerate: its corners lie in a plane", tets)
        _refuse(volumes < 0, "tetrahedron", "is inverted; diffsim_mpm.tet.oriented turns it round", tets)
        used = np.zeros(len(x), dtype=bool)
        used[tets] = True
        _refuse(~used, "node", "belongs to no tetrahedron; leave it out", x)
        counts = faces_of(tets)[1]
        _refuse(counts > 2, "face", "belongs to more than two tetrahedra", faces_of(tets)[0])
        for name, array in (("x", x), ("tets", tets)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def num_nodes(self) -> int:
        return len(self.x)

    @property
    def num_tets(self) -> int:
        return len(self.tets)

    @cached_property
    def volumes(self) -> Numbers:
        """Volume of each tetrahedron ``[m]`` [m^3], all positive."""
        return signed_volumes(self.x, self.tets)

    @cached_property
    def surface(self) -> Numbers:
        """Triangles of the surface ``[k, 3]``, node numbers counterclockwise when seen from outside."""
        every = self.tets[:, FACES].reshape(-1, 3)
        _, first, counts = np.unique(np.sort(every, axis=1), axis=0, return_index=True, return_counts=True)
        return every[np.sort(first[counts == 1])]

    def moved(self, x: Any) -> TetMesh:
        """The same tetrahedra between nodes at ``x [n, 3]`` [m]."""
        return TetMesh(x, self.tets)


def oriented(x: Any, tets: Any) -> Numbers:
    """``tets`` ``[m, 4]`` with two corners swapped where the volume between nodes ``x [n, 3]`` is negative."""
    tets = np.array(tets)
    wrong = signed_volumes(np.asarray(x, dtype=np.float64), tets) < 0
    tets[wrong, 2], tets[wrong, 3] = tets[wrong, 3], tets[wrong, 2]
    return tets


def signed_volumes(x: Numbers, tets: Numbers) -> Numbers:
    """``[..., m]`` [m^3] of tetrahedra between nodes ``x [..., n, 3]``; negative where inverted."""
    corner = x[..., tets, :]
    return np.linalg.det(corner[..., 1:, :] - corner[..., :1, :]) / 6


def faces_of(tets: Numbers) -> tuple[Numbers, Numbers]:
    """Every face once ``[k, 3]``, node numbers ascending, and how many tetrahedra it belongs to ``[k]``."""
    every = np.sort(tets[:, FACES].reshape(-1, 3), axis=1)
    return np.unique(every, axis=0, return_counts=True)


def check_closed(triangles: Any) -> None:
    """Check that triangles ``[k, 3]`` enclose a volume: every edge has one triangle on each side, turned alike.

    Raises:
        ValueError: an edge has another number of triangles, or they are turned differently; the message lists the
            first few edges.
    """
    triangles = np.asarray(triangles)
    if triangles.ndim != 2 or triangles.shape[1:] != (3,) or not len(triangles):
        raise ValueError(f"triangles has shape {triangles.shape}; it must be [k, 3] node numbers, k at least 1")
    edges = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)])
    there, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    _refuse(counts == 1, "edge", "has a triangle on one side only: the surface is open", there)
    _refuse(counts > 2, "edge", "has more than two triangles: the surface is not a manifold", there)
    ways, counts = np.unique(edges, axis=0, return_counts=True)
    _refuse(counts > 1, "edge", "has two triangles that are turned differently", ways)


def enclosed_volume(x: Any, triangles: Any) -> float:
    """Volume inside a closed surface [m^3], by the divergence theorem.

    Args:
        x: positions of nodes ``[n, 3]`` [m].
        triangles: ``[k, 3]``, counterclockwise when seen from outside.

    Raises:
        ValueError: the surface is not closed, see :func:`check_closed`.
    """
    check_closed(triangles)
    return float(np.linalg.det(np.asarray(x, dtype=np.float64)[np.asarray(triangles)]).sum() / 6)


def _longest_edge(x: Numbers, tets: Numbers) -> Numbers:
    corner = x[tets]
    return np.linalg.norm(corner[:, :, None] - corner[:, None], axis=-1).max(axis=(1, 2))


def _refuse(wrong: Any, what: str, why: str, rows: Numbers) -> None:
    """Raise ``ValueError`` with the first few of ``rows`` that are wrong."""
    if not wrong.any():
        return
    at = np.flatnonzero(wrong)
    few = "; ".join(f"{what} {i} {_written(rows[i])}" for i in at[:_FEW])
    more = f" and {len(at) - _FEW} more" if len(at) > _FEW else ""
    raise ValueError(f"{len(at)} of {len(rows)}: a {what} {why}: {few}{more}")


def _written(row: Any) -> str:
    return "(" + ", ".join(f"{value:g}" for value in row) + ")"
