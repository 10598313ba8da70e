"""Mesh files by name, below a folder, and as bytes that MuJoCo reads."""

from __future__ import annotations

import io
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np

from diffsim_core.io._scan import MAX_BYTES, is_inside, outside, slashes

MAX_FILES = 200_000
"""Most files below a folder among which a mesh is looked for."""
_OF_MUJOCO = (".stl", ".obj", ".msh")
_OF_TRIMESH = (".dae", ".stl", ".ply", ".off", ".glb")
"""Formats that name no other files, or whose names are not followed."""
_INSTALL = "pip install 'diffsim-core[meshes]', or convert the mesh to STL or OBJ"


class MeshError(Exception):
    """Why there is no mesh, and what to do about it."""


@dataclass
class MeshFolder:
    """Where meshes are looked for: beside a model, and everywhere below ``root``."""

    folder: Path
    """The model's."""
    root: Path | None
    """Folder that files must lie in; default ``folder``."""
    meshdir: str = ""
    """The file's ``meshdir``, relative to ``folder``."""
    _by_name: dict[str, list[str]] | None = None

    def find(self, name: str) -> Path:
        """The file that a name means: as it says, else the one below ``root`` whose path ends most like it.

        Raises:
            MeshError: there is none, several are as good, or it lies outside.
        """
        parts = [part for part in re.sub(r"^\w+://", "", slashes(name)).split("/") if part not in ("", ".", "..")]
        if not parts:
            raise MeshError("give the name of a file")
        root = self.root or self.folder
        plain = re.sub(r"^file://", "", slashes(name))
        direct = [os.path.abspath(os.path.join(self.folder, base, plain)) for base in (slashes(self.meshdir), "")]
        present = [path for path in direct if os.path.isfile(path)]
        if inside := [path for path in present if is_inside(path, root)]:
            return Path(inside[0])
        found = self._ending_like(parts)
        if not found:
            if present:
                raise MeshError(outside(self.root))
            raise MeshError(
                f'no file below "{root}" ends like it; put it there, or load with root=FOLDER that holds it'
            )
        if len(found) > 1:
            shown = " and ".join(f'"{os.path.relpath(path, root)}"' for path in found[:2])
            raise MeshError(f"it may be {shown}: load with root=FOLDER that holds one of them")
        return Path(found[0])

    def _ending_like(self, parts: list[str]) -> list[str]:
        """Files whose paths share the longest tail with ``parts``; of those with the same bytes the first."""
        folded = [part.casefold() for part in parts]
        candidates = self._files().get(folded[-1], [])
        lengths = [_shared_tail(path, folded) for path in candidates]
        best = [path for path, length in zip(candidates, lengths, strict=True) if length == max(lengths)]
        exact = [path for path in best if _shared_tail(path, parts, fold=False) == max(lengths)]
        different: dict[bytes, str] = {}
        for path in exact or best:
            different.setdefault(read_mesh(Path(path)) if len(best) > 1 else b"", path)
        return list(different.values())

    def _files(self) -> dict[str, list[str]]:
        """Paths below ``root`` by their last part, in the order of their names."""
        if self._by_name is None:
            self._by_name = {}
            count = 0
            for folder, folders, names in os.walk(self.root or self.folder):
                folders.sort()
                count += len(names) + len(folders)
                if count > MAX_FILES:
                    raise MeshError(
                        f'over {MAX_FILES} files lie below "{self.root or self.folder}": name a smaller one'
                    )
                for name in sorted(names):
                    self._by_name.setdefault(name.casefold(), []).append(os.path.join(folder, name))
        return self._by_name


def _shared_tail(path: str, parts: list[str], fold: bool = True) -> int:
    """How many of the last parts of a path are ``parts``'."""
    own = [part.casefold() if fold else part for part in slashes(path).split("/")]
    pairs = zip(reversed(own), reversed(parts), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(own), len(parts)))


def read_mesh(path: Path) -> bytes:
    """Contents of a file of at most ``MAX_BYTES``.

    Raises:
        MeshError: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise MeshError(f"it cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise MeshError(f"it has over {MAX_BYTES} bytes, the most that are read")
    return data


def for_mujoco(data: bytes, suffix: str) -> tuple[bytes, str]:
    """A mesh in a format that MuJoCo reads: its own are left as they are, all others become binary STL.

    Raises:
        MeshError: it cannot be read, or the library that reads it is missing.
    """
    suffix = suffix.lower()
    if suffix in _OF_MUJOCO and not (suffix == ".stl" and _is_text(data)):
        return data, suffix
    if suffix not in _OF_TRIMESH:
        known = ", ".join(dict.fromkeys((*_OF_MUJOCO, *_OF_TRIMESH)))
        raise MeshError(f'a file of type "{suffix}" is not read ({known} are): convert it to STL or OBJ')
    if suffix == ".dae":
        _check_xml(data)
    vertices, faces = _triangles(data, suffix.removeprefix("."))
    if not len(faces):
        raise MeshError("it has no triangles")
    return _binary_stl(vertices[faces]), ".stl"


def _check_xml(data: bytes) -> None:
    """Raise unless ``data`` is plain XML; entities could name files, or grow without bound."""
    parser = expat.ParserCreate()

    def entity(*_: object) -> None:
        raise MeshError("it declares an XML entity: write the text out")

    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except (expat.ExpatError, ValueError) as error:
        raise MeshError(f"it is not well-formed XML ({error}): convert it to STL or OBJ") from None


def _is_text(data: bytes) -> bool:
    """Whether an STL is text; a binary one may begin with ``solid`` too, but its size agrees with its count."""
    if len(data) >= 84 and len(data) == 84 + 50 * struct.unpack("<I", data[80:84])[0]:
        return False
    return data.lstrip()[:5].lower() == b"solid"


def _triangles(data: bytes, kind: str) -> tuple[Any, Any]:
    """Vertices ``[n, 3]`` in metres and triangles ``[m, 3]``; no file but the one given is read."""
    try:
        import trimesh

        if kind == "dae":
            import collada  # noqa: F401 # pyright: ignore
    except ImportError as error:
        raise MeshError(f"{error.name} is needed to read it: {_INSTALL}") from None
    try:
        loaded: Any = trimesh.load(io.BytesIO(data), file_type="stl_ascii" if kind == "stl" else kind, process=False)
        mesh: Any = loaded.to_mesh() if isinstance(loaded, trimesh.Scene) else loaded
        scale = _metres(loaded)
        return np.asarray(mesh.vertices, dtype=np.float64) * scale, np.asarray(mesh.faces, dtype=np.int64)
    except Exception as error:
        words = " ".join(str(error).split())[:200]
        raise MeshError(f"trimesh cannot read it ({type(error).__name__}: {words}): convert it to STL or OBJ") from None


def _metres(loaded: Any) -> float:
    """Of a length in the file; COLLADA says which."""
    words = str(getattr(loaded, "units", None) or "")
    number = re.match(r"([\d.eE+-]+) \* meters$", words)
    return float(number[1]) if number else 1.0


def _binary_stl(corners: Any) -> bytes:
    """Triangles ``[m, 3, 3]``."""
    rows = np.zeros(len(corners), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")])
    rows["corners"] = corners
    return b"\0" * 80 + struct.pack("<I", len(rows)) + rows.tobytes()
