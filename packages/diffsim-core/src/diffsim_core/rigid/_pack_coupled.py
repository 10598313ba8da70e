"""``Couplings`` as flat arrays (columns: ``_source/coupled_tables.h``), and the rows of the reduced mass matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffsim_core.rigid._elimination import Indices, Rows, elimination_tree, rows_of, sparse_rows
from diffsim_core.rigid.coupled import order, uncoupled
from diffsim_core.rigid.model import RigidModel

_HEADER = 8


def own_rows(model: RigidModel) -> Rows:
    """Rows of ``G^T M G``: what shares a row of M of all joints is coupled."""
    tree = sparse_rows(uncoupled(model))
    if not len(model.couplings):
        return tree
    own = _owners(model)
    cliques = [{int(a) for a in own[_row(tree, d)] if a >= 0} for d in range(len(tree.row))]
    return rows_of(elimination_tree(np.full(model.nv, -1, np.int64), [sorted(clique) for clique in cliques]))


def pack_coupled(model: RigidModel) -> tuple[Any, Any]:
    """Integers and reals."""
    c, rows = model.couplings, own_rows(model)
    if not len(c):
        return np.zeros(0, np.int64), np.zeros(0)
    places = order(model)
    new_q, new_dof = np.argsort(places.q), np.argsort(places.dof)
    led = c.leader >= 0
    law = np.full((len(c), 4), -1, np.int64)
    law[:, 0] = new_q[model.joint_q[c.link]]
    law[:, 1] = new_dof[model.joint_dof[c.link]]
    law[led, 2] = new_q[model.joint_q[c.leader[led]]]
    law[led, 3] = new_dof[model.joint_dof[c.leader[led]]]
    references = np.concatenate([model.q_ref, c.q_ref])
    zero = np.where(led, references[model.joint_q[c.leader]], 0.0)
    reals = np.column_stack([zero, c.q_ref, c.coefficients])
    header = [len(c), model.nq, model.nv, len(rows.ancestor), c.curved, 0]
    parts = [new_q[: model.nq], new_dof[: model.nv], rows.depth, rows.row, rows.ancestor, _targets(model, rows)]
    integers = [*header, *[0] * (_HEADER - len(header)), *law.ravel(), *np.concatenate(parts)]
    return np.array(integers, dtype=np.int64), reals.ravel()


def _owners(model: RigidModel) -> Indices:
    """Which of the model's own degrees of freedom moves each joint's, in the order of the links; -1 where none does."""
    owner = list(range(model.nv))
    for leader in model.couplings.leader:
        owner.append(owner[model.joint_dof[leader]] if leader >= 0 else -1)
    return np.array(owner, dtype=np.int64)[order(model).dof]


def _row(rows: Rows, d: int) -> Indices:
    return rows.ancestor[rows.row[d] : rows.row[d] + rows.depth[d] + 1]


def _targets(model: RigidModel, rows: Rows) -> Indices:
    """Where each entry of the rows of all joints adds to the own ones: twice the place, plus one where an entry off the
    diagonal adds to it twice; -1 where a joint is held."""
    tree, own = sparse_rows(uncoupled(model)), _owners(model)
    targets: list[int] = []
    for d in range(len(tree.row)):
        for a in _row(tree, d):
            i, j = max(own[d], own[a]), min(own[d], own[a])
            targets.append(-1 if j < 0 else int(2 * (rows.row[i] + rows.depth[j]) + (i == j and d != a)))
    return np.array(targets, dtype=np.int64)
