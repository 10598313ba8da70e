"""URDF as it lies on disk: its meshes found and handed to MuJoCo in memory, what it only shows left out."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from xml.etree import ElementTree as ET
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from diffsim_core.io._mesh_files import MeshError, MeshFolder, for_mujoco, read_mesh
from diffsim_core.io._scan import slashes
from diffsim_core.io.errors import ModelError

_MOMENTS = {"ixx": (0, 0), "iyy": (1, 1), "izz": (2, 2), "ixy": (0, 1), "ixz": (0, 2), "iyz": (1, 2)}
_ROUNDING = 1e-6
"""Part of the largest moment by which the digits of a file may make one negative that is zero."""
_NOT_ZERO = 1e-12
"""[kg m^2]"""


def prepared(
    text: bytes, label: str, folder: Path | None, root: Path | None, boundinertia: float | None = None
) -> tuple[str, dict[str, bytes], list[str]]:
    """A URDF that names meshes in memory only, these meshes by name, and sentences about what was left out.

    A name is looked up as it stands, from the model's folder, and then by the tail of its path among all files below
    ``root`` (default: the model's folder). Visuals go, unless the file has ``discardvisual="false"``.

    Raises:
        ModelError: naming every mesh that something may touch and that cannot be found, or not be read.
    """
    robot, lines = _parsed(text)
    if robot.find(".//include") is not None:
        raise ModelError(label, ["<include> is not read in URDF: write the elements out"])
    shown = _settings(robot, "discardvisual") == "false"
    files = None if folder is None else MeshFolder(folder, root, _settings(robot, "meshdir", "assetdir"))
    for compiler in robot.iterfind("./mujoco/compiler"):
        for name in ("meshdir", "assetdir", "texturedir"):
            compiler.attrib.pop(name, None)
    _complete_inertias(robot, boundinertia or 0.0)
    if not shown:
        _drop(robot, "material")
    problems: list[str] = []
    notes: list[str] = []
    assets: dict[str, bytes] = {}
    taken: dict[tuple[str, str], str] = {}
    for link in robot.iter("link"):
        label_of = f'of link "{link.get("name", "")}"'
        if not shown:
            _drop(link, "visual")
        notes += [f"{kind} {label_of} has no size and touches nothing" for kind in _drop_points(link)]
        for part in [*link.findall("visual"), *link.findall("collision")]:
            for mesh in part.findall("./geometry/mesh[@filename]")[:1]:
                name = mesh.get("filename", "")
                try:
                    mesh.set("filename", _in_memory(name, mesh.get("scale", ""), files, assets, taken))
                except MeshError as error:
                    if part.tag == "visual":
                        link.remove(part)
                        notes.append(f'mesh "{name}" {label_of} is not shown: {error}')
                    else:
                        problems.append(f'mesh "{name}" {label_of}: {error}')
    if problems:
        raise ModelError(label, problems)
    return _written(robot, lines), assets, notes


def _drop(parent: ET.Element, tag: str) -> None:
    for element in parent.findall(tag):
        parent.remove(element)


def _drop_points(link: ET.Element) -> list[str]:
    """Leave out spheres and cylinders without radius, which MuJoCo refuses; their kinds."""
    dropped = []
    for part in [*link.findall("visual"), *link.findall("collision")]:
        for kind in ("sphere", "cylinder"):
            shape = part.find(f"./geometry/{kind}[@radius]")
            if shape is not None and part in link and _is_zero(shape.get("radius", "")):
                link.remove(part)
                dropped += [kind] if part.tag == "collision" else []
    return dropped


def _is_zero(number: str) -> bool:
    try:
        return float(number) == 0.0
    except ValueError:
        return False


def _complete_inertias(robot: ET.Element, least: float) -> None:
    """What is missing of a link's ``inertial`` is zero: a point mass, or nothing."""
    for inertial in robot.iterfind("./link/inertial"):
        for name, attributes in (("mass", {"value": "0"}), ("inertia", dict.fromkeys(_MOMENTS, "0"))):
            if inertial.find(name) is None:
                ET.SubElement(inertial, name, attributes)
        for inertia in inertial.iterfind("inertia"):
            _make_positive(inertia, least)


def _in_memory(
    name: str, scale: str, files: MeshFolder | None, assets: dict[str, bytes], taken: dict[tuple[str, str], str]
) -> str:
    """The name of a mesh among ``assets``, where it is put: one for each file and scale."""
    if files is None:
        raise MeshError("an XML string has no folder to read files from; load it from a path")
    path = files.find(name)
    if (key := (str(path), " ".join(scale.split()))) in taken:
        return taken[key]
    data, suffix = for_mujoco(read_mesh(path), path.suffix)
    stem, used = PurePosixPath(slashes(name)).stem, {PurePosixPath(other).stem for other in assets}
    free = next(word for word in (stem, *(f"{stem}_{k}" for k in range(len(used) + 1))) if word not in used)
    taken[key] = free + suffix
    assets[free + suffix] = data
    return taken[key]


def _make_positive(inertia: ET.Element, least: float) -> None:
    """Principal moments of at least ``least``, and not zero, which MuJoCo refuses: a point mass or a rod has them."""
    try:
        xx, yy, zz, xy, xz, yz = (float(inertia.get(name, "0")) for name in _MOMENTS)
    except ValueError:
        return  # MuJoCo says what is wrong with it
    matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if not np.isfinite(matrix).all():
        return
    moments, axes = np.linalg.eigh(matrix)
    if moments[0] < -max(_ROUNDING * moments[2], _NOT_ZERO) and not least > 0:
        return
    raised = np.maximum(moments, max(least, _NOT_ZERO))
    if (raised == moments).all():
        return
    matrix = (axes * raised) @ axes.T
    for name, (i, j) in _MOMENTS.items():
        inertia.set(name, repr(float(matrix[i, j])))


def _settings(robot: ET.Element, *names: str) -> str:
    """The last value that MuJoCo's own element gives one of its compiler's settings."""
    found = [
        value for one in robot.iterfind("./mujoco/compiler") for name in names if (value := one.get(name)) is not None
    ]
    return found[-1] if found else ""


def _parsed(text: bytes) -> tuple[ET.Element, dict[ET.Element, int]]:
    """The document and the lines of its elements, with names as they are written: prefixes mean nothing to MuJoCo."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    lines: dict[ET.Element, int] = {}

    def start(tag: str, attributes: dict[str, str]) -> None:
        lines[builder.start(tag, attributes)] = parser.CurrentLineNumber

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.Parse(text, True)
    return builder.close(), lines


def _written(robot: ET.Element, lines: dict[ET.Element, int]) -> str:
    """The document with each element on its line, which MuJoCo's messages name."""
    parts: list[str] = []
    at = 1

    def write(element: ET.Element) -> None:
        nonlocal at
        blank = max(lines.get(element, at) - at, 0)
        at += blank
        attributes = "".join(f" {name}={quoteattr(value)}" for name, value in element.items())
        parts.append("\n" * blank + f"<{element.tag}{attributes}>")
        for child in element:
            write(child)
        parts.append(f"</{element.tag}>")

    write(robot)
    return "".join(parts)
