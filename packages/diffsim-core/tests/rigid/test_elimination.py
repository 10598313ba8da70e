"""Rows of the sparse mass matrix: an elimination tree leaves room for all that fills in, and for no other order."""

from __future__ import annotations

import numpy as np
import pytest

from diffsim_core.io import load_model
from diffsim_core.rigid import RigidDynamics, _elimination, twin

from .host import random_states
from .trees import random_tree


def random_system(seed, cliques=3):
    """A tree, cliques of its degrees of freedom, and a positive definite matrix that couples both."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 15))
    tree = np.array([rng.integers(-1, d) if d else -1 for d in range(n)])
    sets = [sorted(rng.choice(n, rng.integers(2, min(n, 5) + 1), replace=False).tolist()) for _ in range(cliques)]
    A = np.zeros((n, n))
    for path in (ancestors(tree, d) for d in range(n)):
        A[path, path[-1]] = A[path[-1], path] = rng.normal(size=len(path))
    for clique in sets:
        A[np.ix_(clique, clique)] += rng.normal(size=(len(clique), len(clique)))
    A = A + A.T
    return tree, sets, A + (1 + np.abs(A).sum()) * np.eye(n), rng.normal(size=n)


def ancestors(tree, d):
    return [*(ancestors(tree, tree[d]) if tree[d] >= 0 else ()), d]


def row_of(rows, d):
    return rows.ancestor[rows.row[d] : rows.row[d] + rows.depth[d] + 1]


def factorise(rows, A):
    """``L^T D L`` in the rows that there are, as ``dynamics.h`` works; what has no place in them is dropped."""
    found = [A[d, row_of(rows, d)].copy() for d in range(len(A))]
    for k in reversed(range(len(A))):
        path = row_of(rows, k)[:-1]
        scaled = found[k][:-1] / found[k][-1]
        for e, i in enumerate(path):
            found[i] -= scaled[e] * found[k][: e + 1]
        found[k][:-1] = scaled
    return found


def solve(rows, found, b):
    x = b.copy()
    paths = [row_of(rows, d)[:-1] for d in range(len(b))]
    for k in reversed(range(len(b))):
        x[paths[k]] -= found[k][:-1] * x[k]
    for k in range(len(b)):
        x[k] = x[k] / found[k][-1] - found[k][:-1] @ x[paths[k]]
    return x


@pytest.mark.parametrize("seed", range(60))
def test_the_factor_fits_in_the_rows(seed):
    tree, cliques, A, b = random_system(seed)
    rows = _elimination.rows_of(_elimination.elimination_tree(tree, cliques))
    np.testing.assert_allclose(solve(rows, factorise(rows, A), b), np.linalg.solve(A, b), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(60))
def test_rows_begin_with_the_row_of_their_parent(seed):
    tree, cliques, A, _ = random_system(seed)
    rows = _elimination.rows_of(_elimination.elimination_tree(tree, cliques))
    for d, p in enumerate(rows.parent):
        row = row_of(rows, d).tolist()
        start = row_of(rows, p).tolist() if p >= 0 else []
        assert row == [*start, d] and p < d
        assert [rows.depth[a] for a in row] == list(range(len(row)))
        coupled = np.flatnonzero(A[d, :d])
        assert set(coupled.tolist()) <= set(row)


@pytest.mark.parametrize("seed", range(20))
def test_without_cliques_rows_hold_the_ancestors(seed):
    tree = random_system(seed)[0]
    rows = _elimination.rows_of(_elimination.elimination_tree(tree, []))
    assert np.array_equal(rows.parent, tree)
    assert rows.ancestor.tolist() == [a for d in range(len(tree)) for a in ancestors(tree, d)]


@pytest.mark.parametrize("seed", range(12))
def test_engine_puts_the_mass_matrix_into_longer_rows(seed, monkeypatch):
    m = load_model(random_tree(seed))
    rng = np.random.default_rng(seed)
    cliques = [sorted(rng.choice(m.nv, min(m.nv, 4), replace=False).tolist()) for _ in range(2)]
    monkeypatch.setattr(_elimination, "dof_cliques", lambda model: cliques)
    monkeypatch.setattr("diffsim_core.rigid.dynamics.fills_in", lambda model: True)
    dynamics = RigidDynamics(m, dt=1e-3, substeps=1, dtype="float64")
    q, qd, u = random_states(m, 3, seed)
    mass, _, qdd, _ = dynamics.probe(q, qd, u)
    for i in range(len(q)):
        expected = twin.forward_dynamics(m, q[i], qd[i], u[i])
        np.testing.assert_allclose(mass[i], twin.mass_matrix(m, twin.kinematics(m, q[i])), atol=1e-11)
        np.testing.assert_allclose(qdd[i], expected, atol=1e-9 * np.abs(expected).max())
