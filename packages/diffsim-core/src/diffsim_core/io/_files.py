"""The files that MuJoCo will open when it compiles a parsed model: whether it may, and what is not needed of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diffsim_core.io._mujoco import mujoco
from diffsim_core.io._scan import MAX_GRID, NO_FOLDER, is_inside, outside, slashes
from diffsim_core.io.errors import ModelError


def check_files(spec: Any, label: str, folder: Path | None, root: Path | None) -> list[str]:
    """Refuse files outside of ``root`` (default: ``folder``); leave out shapes that only show a missing mesh.

    Returns a sentence for each shape left out.

    Raises:
        ModelError: naming every file that may not be read.
    """
    problems, missing = [], []
    for kind, element, path in _named(spec, folder):
        if path is None:
            problems.append(f'<{kind}> names the file "{element.file}": {NO_FOLDER}')
        elif not is_inside(path, root or folder or path):
            problems.append(f'<{kind}> names the file "{element.file}": {outside(root)}')
        elif kind == "mesh" and not os.path.isfile(path):
            missing.append(element)
        elif kind == "hfield" and (size := _png_size(path)) and max(size) > MAX_GRID:
            problems.append(f'hfield "{element.name}" has {size[1]} x {size[0]} heights: at most {MAX_GRID} each way')
    if problems:
        raise ModelError(label, problems)
    return [note for mesh in missing for note in _without(spec, mesh)]


def _png_size(path: str) -> tuple[int, int] | None:
    """Columns and rows of a PNG file, or ``None`` of any other."""
    try:
        with open(path, "rb") as file:
            head = file.read(24)
    except OSError:
        return None  # MuJoCo says so
    is_png = len(head) == 24 and head.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", head[16:]) if is_png else None


def _named(spec: Any, folder: Path | None) -> Iterator[tuple[str, Any, str | None]]:
    """Kind, element and path of every file that will be opened; what is in memory is no file."""
    for kind, elements in (("mesh", spec.meshes), ("hfield", spec.hfields)):
        for element in elements:
            if not element.file or element.file in spec.assets:
                continue
            name = slashes(element.file)
            if spec.strippath:
                name = name.rsplit("/", 1)[-1]
            path = os.path.join(slashes(element.compiler.meshdir), name)
            path = None if folder is None else os.path.abspath(os.path.join(spec.modelfiledir or folder, path))
            yield kind, element, path


def _without(spec: Any, mesh: Any) -> list[str]:
    """Leave a mesh out with the shapes that show it, if nothing else needs it."""
    shapes = [geom for geom in spec.geoms if geom.meshname == mesh.name]
    if not shapes or not all(_only_shown(spec, geom) for geom in shapes):
        return []
    name, file = mesh.name, mesh.file
    for geom in shapes:
        spec.delete(geom)
    spec.delete(mesh)
    return [f'mesh "{name}" is not shown: its file "{file}" is missing']


def _only_shown(spec: Any, geom: Any) -> bool:
    """Whether a shape neither touches anything nor gives its body mass."""
    if geom.contype or geom.conaffinity:
        return False
    named = bool(geom.name) and any(geom.name in (pair.geomname1, pair.geomname2) for pair in spec.pairs)
    always = int(spec.compiler.inertiafromgeom) == int(mujoco.mjtInertiaFromGeom.mjINERTIAFROMGEOM_TRUE)
    weightless = geom.mass == 0 or geom.density == 0
    return not named and (weightless or (bool(geom.parent.explicitinertial) and not always))
