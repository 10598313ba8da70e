"""The order of the sparse mass matrix: which entries of ``M + dt C`` a row keeps, so that its factor fits in it.

``M`` couples a degree of freedom with its ancestors in the tree of links alone. An implicit force between two branches
(a loop's, a tendon's) adds a *clique*: degrees of freedom that ``C`` couples with each other. Rows are eliminated
from the last to the first. What fills in then is known beforehand (Liu, The role of elimination trees in sparse
factorization, 1990): the row of ``d`` is a part of the path from ``d`` to its root in the *elimination tree*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from diffsim_core.rigid.joints import JOINTS
from diffsim_core.rigid.model import RigidModel

Indices = np.ndarray[Any, np.dtype[np.int64]]


class Rows(NamedTuple):
    """Rows of the lower triangle, each from its root to the diagonal.

    The row of ``parent[d]`` is the beginning of the row of ``d``. So ``a``, wherever it occurs, is entry ``depth[a]``.
    """

    parent: Indices
    """``[nv]`` parent in the elimination tree, -1 for a root."""
    depth: Indices
    """``[nv]`` number of entries before the diagonal."""
    row: Indices
    """``[nv]`` first entry."""
    ancestor: Indices
    """``[entries]`` degree of freedom of each entry."""


def sparse_rows(model: RigidModel) -> Rows:
    """The rows of a model's ``M + dt C``."""
    return rows_of(elimination_tree(tree_of_dofs(model), dof_cliques(model)))


def fills_in(model: RigidModel) -> bool:
    """Whether a row holds more than the ancestors in the tree of links, so that the kernels must leave room."""
    tree = tree_of_dofs(model)
    return not np.array_equal(elimination_tree(tree, dof_cliques(model)), tree)


def dof_cliques(model: RigidModel) -> list[tuple[int, ...]]:
    """Sets of degrees of freedom that ``C`` couples, one for each implicit force between branches."""
    loops = [tuple(sorted(a + b)) for a, b in (own_dofs(model, *links) for links in model.loops.link.tolist())]
    tendons = model.tendons
    sums = [tendons.term_joint[list(tendons.terms(int(i)))] for i in np.flatnonzero(tendons.sums)]
    return [*loops, *(tuple(sorted(set(model.joint_dof[joints].tolist()))) for joints in sums)]


def own_dofs(model: RigidModel, a: int, b: int) -> tuple[list[int], list[int]]:
    """Degrees of freedom that move link ``a`` but not ``b``, and ``b`` but not ``a``; -1 is the world."""
    moving = [set(_moving(model, link)) for link in (a, b)]
    return sorted(moving[0] - moving[1]), sorted(moving[1] - moving[0])


def _moving(model: RigidModel, link: int) -> Iterator[int]:
    while link >= 0:
        first = int(model.joint_dof[link])
        yield from range(first, first + JOINTS.at(int(model.joint_type[link])).nv)
        link = int(model.link_parent[link])


def tree_of_dofs(model: RigidModel) -> Indices:
    """The parent ``[nv]`` of each degree of freedom in the tree of links, -1 for a root."""
    parents: list[int] = []
    last = {-1: -1}
    for i, (parent, kind, dof) in enumerate(zip(model.link_parent, model.joint_type, model.joint_dof, strict=True)):
        if int(dof) != len(parents):
            raise ValueError("joint_dof must number the degrees of freedom in the order of the links")
        last[i] = last[int(parent)]
        for _ in range(JOINTS.at(int(kind)).nv):
            parents.append(last[i])
            last[i] = len(parents) - 1
    return np.array(parents, dtype=np.int64)


def elimination_tree(tree: Indices, cliques: Iterable[Sequence[int]]) -> Indices:
    """The parent ``[nv]`` of each degree of freedom where ``cliques`` are coupled in addition to a tree's ancestors.

    Eliminating ``d`` couples all its remaining neighbours with each other. The nearest of them, its parent, inherits
    the rest. Without cliques this is the tree itself.
    """
    remaining: list[set[int]] = [{int(p)} if p >= 0 else set() for p in tree]
    for clique in cliques:
        members = sorted(set(clique))
        for k, d in enumerate(members[1:], 1):
            remaining[d].add(members[k - 1])
    parents = np.full(len(tree), -1, np.int64)
    for d in reversed(range(len(tree))):
        if remaining[d]:
            parents[d] = nearest = max(remaining[d])
            remaining[nearest] |= remaining[d] - {nearest}
    return parents


def rows_of(parents: Indices) -> Rows:
    """Rows of an elimination tree, whose parents come before their children."""
    paths: list[list[int]] = []
    for d, parent in enumerate(parents):
        paths.append([*(paths[parent] if parent >= 0 else ()), d])
    lengths = np.array([len(path) for path in paths], dtype=np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    return Rows(parents, lengths - 1, ends - lengths, np.array([d for path in paths for d in path], dtype=np.int64))
