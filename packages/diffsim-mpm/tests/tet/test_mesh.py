"""Meshes: volumes, surfaces and orientation against geometry; every broken mesh is refused by name."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffsim_mpm.tet import (
    TetMesh,
    box,
    cell_mesh,
    check_closed,
    cylinder,
    ellipsoid,
    enclosed_volume,
    oriented,
    read_mesh,
    table,
    write_mesh,
)  # fmt: skip

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
ONE = [[0, 1, 2, 3]]


@pytest.mark.parametrize("split", [5, 6])
def test_a_box_is_filled(split):
    mesh = box((1.0, 2.0, 3.0), (2, 3, 4), split=split)
    assert (mesh.num_nodes, mesh.num_tets) == (3 * 4 * 5, 24 * split)
    assert mesh.volumes.sum() == pytest.approx(6.0, rel=1e-13)
    assert enclosed_volume(mesh.x, mesh.surface) == pytest.approx(6.0, rel=1e-13)
    assert len(mesh.surface) == 2 * 2 * (2 * 3 + 3 * 4 + 2 * 4)


def test_the_table_has_the_size_of_soft_jumper():
    """As many nodes and tetrahedra as the released mesh has, in a box as large."""
    mesh = table()
    assert (mesh.num_nodes, mesh.num_tets) == (204, 444)
    np.testing.assert_allclose(mesh.x.max(axis=0) - mesh.x.min(axis=0), [2.48, 2.48, 1.773])
    pairs = mesh.tets.reshape(-1, 2, 4)
    assert all(len(set(a) & set(b)) == 3 for a, b in pairs)  # the two of a pair share a face
    cells = 5 * 5 * 2 + 4 * 6
    assert enclosed_volume(mesh.x, mesh.surface) == pytest.approx(cells * 0.496**2 * 1.773 / 8, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "volume"),
    [
        (lambda cells: cylinder(0.5, 2.0, cells=cells, layers=4), math.pi * 0.25 * 2),
        (lambda cells: ellipsoid((1.0, 2.0, 3.0), cells=cells), 8 * math.pi),
    ],
)
def test_round_shapes_converge_with_the_square_of_the_cell(make, volume):
    errors = [1 - make(cells).volumes.sum() / volume for cells in (8, 16)]
    assert 0 < errors[1] < errors[0]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.1)
    mesh = make(8)
    check_closed(mesh.surface)
    assert mesh.volumes.min() > 0.1 * mesh.volumes.max()  # no slivers


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), split=st.sampled_from([5, 6]))
def test_any_cells_give_a_mesh_with_their_volume(seed, split):
    random = np.random.default_rng(seed)
    filled = random.uniform(size=random.integers(1, 5, 3)) < 0.6
    if not filled.any():
        return
    mesh = cell_mesh(filled, (1.0, 1.0, 1.0), split=split)
    assert mesh.num_tets == split * filled.sum()
    assert mesh.volumes.sum() == pytest.approx(filled.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("x", "tets", "message"),
    [
        (CORNERS[:, :2], ONE, r"x has shape \(5, 2\)"),
        (CORNERS[:4], [[0, 1, 2]], "tets has shape"),
        (CORNERS[:4], [[0.0, 1, 2, 3]], "tets has shape .* of float64"),
        (CORNERS[:4], np.zeros((0, 4), int), "at least 1 tetrahedron"),
        (np.where(CORNERS == 0, np.nan, CORNERS)[:4], ONE, "node 0 .*nan"),
        (CORNERS[:4], [[0, 1, 2, 4]], r"names nodes outside 0..3: tetrahedron 0 \(0, 1, 2, 4\)"),
        (CORNERS[:4], [[0, 1, 2, -1]], "names nodes outside"),
        (CORNERS[:4], [[0, 1, 2, 2]], "names a node twice"),
        (CORNERS[:4] * [1, 1, 0], ONE, "is degenerate"),
        (CORNERS[:4], [[1, 0, 2, 3]], "is inverted; diffsim_mpm.tet.oriented turns it round: tetrahedron 0"),
        (CORNERS, ONE, r"belongs to no tetrahedron; leave it out: node 4 \(1, 1, 1\)"),
        (
            np.concatenate([CORNERS, [[2, 2, 2]]]),
            [[1, 2, 3, 4], [1, 2, 3, 5], [0, 1, 2, 3]],
            r"belongs to more than two tetrahedra: face \d+ \(1, 2, 3\)",
        ),
    ],
)
def test_broken_meshes_are_refused_by_name(x, tets, message):
    with pytest.raises(ValueError, match=message):
        TetMesh(x, tets)


def test_only_the_first_few_are_listed():
    mesh = box((1, 1, 1), (2, 2, 2))
    with pytest.raises(ValueError, match=r"48 of 48: .* tetrahedron 4 \(.*\) and 43 more"):
        TetMesh(mesh.x, mesh.tets[:, [1, 0, 2, 3]])
    assert (oriented(mesh.x, mesh.tets[:, [1, 0, 2, 3]]) != mesh.tets).any()
    TetMesh(mesh.x, oriented(mesh.x, mesh.tets[:, [1, 0, 2, 3]]))


def test_open_and_tangled_surfaces_are_refused():
    surface = box((1, 1, 1), (1, 1, 1)).surface
    check_closed(surface)
    with pytest.raises(ValueError, match=r"3 of 18: .* one side only: the surface is open: edge"):
        check_closed(surface[1:])
    with pytest.raises(ValueError, match="turned differently"):
        check_closed(np.concatenate([surface[:1, ::-1], surface[1:]]))
    with pytest.raises(ValueError, match="not a manifold"):  # two cubes that meet at an edge
        check_closed(cell_mesh([[[1], [0]], [[0], [1]]], (1, 1, 1)).surface)
    with pytest.raises(ValueError, match="k at least 1"):
        check_closed(np.zeros((0, 3), int))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: box((1, 1, 0), (1, 1, 1)), "size=.* must be positive metres"),
        (lambda: box((1, 1, 1), (1, 0, 1)), "cells=.* whole numbers of at least 1"),
        (lambda: box((1, 1, 1), (1, 1, 1), split=7), "split=7 must be 5 or 6"),
        (lambda: table(cells=2), "so that the legs are apart"),
        (lambda: cylinder(1.0, 1.0, cells=5), "even numbers"),
        (lambda: ellipsoid((1.0, 1.0, np.nan)), "semi_axes=.* must be positive metres"),
        (lambda: cell_mesh(np.zeros((2, 2, 2)), (1, 1, 1)), "0 cells"),
        (lambda: cell_mesh(np.ones((3, 2, 2)), (1, 1, 1), centred=True), "even numbers of cells"),
    ],
)
def test_shapes_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("name", ["body.vtk", "body.msh", "body.vtu"])
def test_files_there_and_back(tmp_path, name):
    pytest.importorskip("meshio")
    mesh = table(cells=3, top=1, legs=2)
    write_mesh(tmp_path / name, mesh)
    again = read_mesh(tmp_path / name, scale=2.0)
    np.testing.assert_allclose(again.x, 2 * mesh.x, atol=1e-12)
    assert np.array_equal(again.tets, mesh.tets)


def test_files_that_hold_no_body_are_refused(tmp_path):
    meshio = pytest.importorskip("meshio")
    mesh = box((1, 1, 1), (1, 1, 1))
    meshio.Mesh(mesh.x, [("triangle", mesh.surface)]).write(tmp_path / "surface.vtk")
    with pytest.raises(ValueError, match=r"surface.vtk: holds no four-node tetrahedra but 12 triangle"):
        read_mesh(tmp_path / "surface.vtk")
    (tmp_path / "noise.msh").write_bytes(b"$MeshFormat\nnothing of the kind")
    with pytest.raises(ValueError, match=r"noise.msh: meshio cannot read it"):
        read_mesh(tmp_path / "noise.msh")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_mesh(tmp_path / "missing.vtk")
    with pytest.raises(ValueError, match="scale=0"):
        read_mesh(tmp_path / "surface.vtk", scale=0)
    with pytest.raises(ValueError, match="x has shape"):
        write_mesh(tmp_path / "body.vtk", mesh, x=mesh.x[1:])
    spare = np.concatenate([[[9.0, 9, 9]], mesh.x])  # a node that nothing uses, and tetrahedra inside out
    meshio.Mesh(spare, [("tetra", mesh.tets[:, [1, 0, 2, 3]] + 1)]).write(tmp_path / "spare.vtk")
    again = read_mesh(tmp_path / "spare.vtk")
    assert again.num_nodes == mesh.num_nodes and again.volumes.sum() == pytest.approx(1.0)
