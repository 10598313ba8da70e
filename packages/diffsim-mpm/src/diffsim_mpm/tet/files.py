"""Meshes from and to files, through meshio (the extra ``mesh``): ``.msh``, ``.vtk`` and whatever else it reads."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from diffsim_mpm.tet.mesh import Numbers, TetMesh, oriented


def read_mesh(path: str | Path, *, scale: float = 1.0) -> TetMesh:
    """The tetrahedra of a file. Nodes that none of them uses are left out, and inverted ones are turned round.

    Args:
        path: a file with four-node tetrahedra.
        scale: metres of a unit of the file.

    Raises:
        ImportError: meshio is not installed; the message names the extra.
        FileNotFoundError: there is no such file.
        ValueError: meshio cannot read the file, it holds no tetrahedra, or the mesh is broken, see :class:`TetMesh`.
    """
    meshio, path = _meshio(), Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale!r} must be positive metres for each unit of the file")
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            mesh = meshio.read(path)
    except (Exception, SystemExit) as error:  # it leaves the process where no reader of its own succeeds
        why = " ".join(f"{'' if isinstance(error, SystemExit) else error} {said.getvalue()}".split())
        raise ValueError(f"{path}: meshio cannot read it: {why or type(error).__name__}") from error
    tets = mesh.cells_dict.get("tetra")
    if tets is None or not len(tets):
        found = ", ".join(f"{len(block.data)} {block.type}" for block in mesh.cells) or "nothing"
        raise ValueError(f"{path}: holds no four-node tetrahedra but {found}; mesh the volume, not its surface")
    tets = np.asarray(tets)
    points = np.asarray(mesh.points, dtype=np.float64) * scale
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"{path}: its points have shape {points.shape}, not [n, 3]")
    if tets.min() < 0 or tets.max() >= len(points):
        raise ValueError(f"{path}: tetrahedra name nodes up to {tets.max()} of {len(points)}")
    used, numbers = np.unique(tets, return_inverse=True)
    x, tets = points[used], numbers.reshape(-1, 4)
    try:
        return TetMesh(x, oriented(x, tets))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_mesh(path: str | Path, mesh: TetMesh, *, x: Numbers | None = None) -> None:
    """Write a mesh in the format that the name of the file asks for.

    Args:
        path: for instance ``body.vtk`` or ``body.msh``; a file that is there is replaced.
        mesh: the tetrahedra.
        x: positions of the nodes ``[n, 3]`` [m]; by default the mesh's own.

    Raises:
        ImportError: meshio is not installed; the message names the extra.
        ValueError: ``x`` has another shape, or meshio knows no format of that name.
    """
    meshio = _meshio()
    points = mesh.x if x is None else np.asarray(x, dtype=np.float64)
    if points.shape != mesh.x.shape:
        raise ValueError(f"x has shape {points.shape}; the mesh needs {mesh.x.shape}")
    try:
        meshio.Mesh(points, [("tetra", np.asarray(mesh.tets))]).write(path)
    except meshio.WriteError as error:
        raise ValueError(f"{path}: {error}") from error


def _meshio() -> Any:
    try:
        import meshio
    except ImportError as error:
        raise ImportError("meshio is not installed: pip install 'diffsim-mpm[mesh]'") from error
    return meshio
