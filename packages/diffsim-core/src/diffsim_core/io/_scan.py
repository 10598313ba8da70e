"""A first reading of a model file, before MuJoCo's parser sees it.

MuJoCo builds some elements while it parses (composites, replicas) and opens files that a model names. The scan
refuses what would build without bound and what would be read from outside the model's folder, or from outside the
folder that the caller named. Files that MuJoCo opens later are judged when it has said which they are, see ``_files``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from diffsim_core.io._lenient import rewritten
from diffsim_core.io.errors import ModelError

MAX_BYTES = 64 << 20
MAX_ELEMENTS = 200_000
MAX_DEPTH = 200
MAX_COPIES = 1024
"""Most copies that nested replicas, or one composite or flexcomp, may make."""
MAX_INCLUDES = 100
MAX_SIZE = 999_999
"""Largest number in ``<size>``."""
MAX_GRID = 999
"""Most rows, and most columns, of a height field."""

_ROOTS = ("mujoco", "robot")
_DIRECTORIES = ("assetdir", "meshdir", "texturedir")
_LATER = ("mesh", "hfield", "texture", "skin")
"""Elements whose files MuJoCo opens when it compiles."""
_SIZES = ("nuserdata", "nkey", "nconmax", "njmax", "nstack", "memory")


Bases = tuple[Path | None, ...]
"""Folders that a document's names are relative to, in the order in which MuJoCo tries them."""


@dataclass
class _Scan:
    label: str
    folder: Path | None
    """The model's folder; ``None`` for an XML string, which may name no files."""
    root: Path | None
    """Folder that files must lie in, if it is not the model's."""
    problems: list[str] = field(default_factory=list)
    directories: list[str] = field(default_factory=list)
    assets: list[tuple[str, str, Bases]] = field(default_factory=list)
    seen: list[Path] = field(default_factory=list)
    elements: int = 0
    attached: bool = False
    """Whether the file names other models, whose folders MuJoCo does not tell."""

    def parts(self) -> tuple[list[str], list[str], list[tuple[str, str, Bases]], list[Path]]:
        return self.problems, self.directories, self.assets, self.seen


@dataclass(frozen=True)
class Scanned:
    """What a scan found."""

    kind: str
    """The root element's tag, ``mujoco`` or ``robot``."""
    text: bytes
    """The document as a strict reader of XML takes it."""
    attached: bool
    """Whether it names other models; all files were judged then, as far as their folders are known."""


def scan(text: bytes, label: str, folder: Path | None, root: Path | None = None) -> Scanned:
    """Read a document and all that it includes.

    Raises:
        ModelError: the text is not XML, grows without bound, or names files outside ``root`` (default: ``folder``).
    """
    state = _Scan(label, folder, root)
    kind, text = _scan_document(state, text, label, (folder,))
    if kind not in _ROOTS:
        raise ModelError(label, [f"its root element is <{kind}>: expected <mujoco> (MJCF) or <robot> (URDF)"])
    for tag, name, bases in state.assets:
        own = [(base, directory) for base in (folder, *bases) for directory in state.directories or [""]]
        places = [*dict.fromkeys([*own, *((base, "") for base in bases if base != folder)])]
        found = [_outside(state, name, base, directory) for base, directory in places]
        # which of the places MuJoCo opens later it will say itself; of others it says nothing, so that all must do
        judge = all if tag in _LATER and folder is not None and not state.attached else any
        if judge(found):
            state.problems.append(f'<{tag}> names the file "{name}": {next(filter(None, found))}')
    if state.problems:
        raise ModelError(label, state.problems)
    return Scanned(kind, text, state.attached)


def _scan_document(state: _Scan, text: bytes, label: str, bases: Bases) -> tuple[str, bytes]:
    """The root element's tag, and the text, rewritten if only a lenient reader takes it."""
    if len(text) > MAX_BYTES:
        raise ModelError(state.label, [f"{label} has {len(text)} bytes: at most {MAX_BYTES} are read"])
    before, lengths = state.elements, [len(part) for part in state.parts()]
    try:
        return _scan_text(state, text, label, bases), text
    except expat.ExpatError as error:
        if (again := rewritten(text)) is None:
            raise ModelError(state.label, [f"{label} is not well-formed XML: {error}"]) from None
        state.elements = before
        for part, length in zip(state.parts(), lengths, strict=True):
            del part[length:]
        try:
            return _scan_text(state, again, label, bases), again
        except expat.ExpatError:
            raise ModelError(state.label, [f"{label} is not well-formed XML: {error}"]) from None


def _scan_text(state: _Scan, text: bytes, label: str, bases: Bases) -> str:
    parser = expat.ParserCreate()
    stack: list[str] = []
    copies = [1]
    roots: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        state.elements += min(copies[-1], MAX_COPIES)
        if state.elements > MAX_ELEMENTS or len(stack) >= MAX_DEPTH:
            limit = f"{MAX_ELEMENTS} elements, {MAX_DEPTH} levels deep"
            raise ModelError(state.label, [f"line {parser.CurrentLineNumber}: at most {limit} are read"])
        if not stack:
            roots.append(tag)
        stack.append(tag)
        copies.append(copies[-1] * (_copies(attributes) if tag == "replicate" else 1))
        made = _copies(attributes) if tag in ("composite", "flexcomp") else copies[-1]
        if made > MAX_COPIES:
            state.problems.append(f"<{tag}> makes {made} copies: at most {MAX_COPIES} are built")
        _check_sizes(state, tag, attributes)
        if stack[0] != "robot" or tag in ("include", "model"):  # the meshes of a URDF are not opened by MuJoCo
            _collect_files(state, tag, attributes, bases)

    def end(tag: str) -> None:
        stack.pop()
        copies.pop()

    def entity(*_: object) -> None:
        raise ModelError(state.label, [f"{label} declares an XML entity: write the text out"])

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(text, True)
    except ValueError as error:
        raise error if isinstance(error, ModelError) else ModelError(state.label, [f"{label}: {error}"]) from None
    return roots[0]


def _copies(attributes: dict[str, str]) -> int:
    """Product of the numbers of ``count``; what is not a number counts as one and is left to MuJoCo to refuse."""
    product = 1
    for word in attributes.get("count", "").split():
        number = re.match(r"[+-]?\d+", word)
        product *= max(abs(int(number[0][:12])), 1) if number else 1
    return product


def _check_sizes(state: _Scan, tag: str, attributes: dict[str, str]) -> None:
    """MuJoCo allots what ``<size>`` asks for; the simulator needs none of it, so only absurd numbers are refused."""
    if tag == "size":
        for name in (*_SIZES, *(a for a in attributes if a.startswith("nuser_"))):
            digits = re.sub(r"\D", "", attributes.get(name, ""))
            if name != "memory" and len(digits) > len(str(MAX_SIZE)):
                state.problems.append(f'<size> has {name}="{attributes[name]}": remove it')
    if tag == "hfield":
        for name in ("nrow", "ncol"):
            if len(re.sub(r"\D", "", attributes.get(name, ""))) > len(str(MAX_GRID)):
                state.problems.append(f'<hfield> has {name}="{attributes[name]}": remove the height field')


def _collect_files(state: _Scan, tag: str, attributes: dict[str, str], bases: Bases) -> None:
    for name, value in attributes.items():
        if name in _DIRECTORIES:
            state.directories.append(value)
        elif name.startswith("file") and value:
            state.attached = state.attached or tag == "model"
            if tag in ("include", "model"):
                _scan_include(state, tag, value, bases)
            else:
                state.assets.append((tag, value, bases))


def _scan_include(state: _Scan, tag: str, name: str, bases: Bases) -> None:
    paths = []
    name = slashes(name)
    for base in bases:
        if (problem := _outside(state, name, base, "")) is not None:
            state.problems.append(f'<{tag}> names the file "{name}": {problem}')
            return
        paths.append(Path(os.path.normpath(os.path.join(base or "", name))))
    path = next((path for path in paths if path.is_file()), paths[0])
    if path in state.seen or len(state.seen) >= MAX_INCLUDES:
        state.problems.append(f'<{tag}> names the file "{name}" twice, or over {MAX_INCLUDES} files are included')
        return
    state.seen.append(path)
    try:
        text = read_bytes(path, state.label)
    except OSError as error:
        state.problems.append(f'<{tag}> names the file "{name}": {error.strerror}')
        return
    # an attached model names files relative to its own folder, an included file relative to the main model's or its own
    _scan_document(state, text, name, (path.parent,) if tag == "model" else (bases[0], path.parent))


def read_bytes(path: Path, label: str) -> bytes:
    """Contents of a regular file of at most ``MAX_BYTES``."""
    if not path.is_file():
        raise ModelError(label, [f'"{path}": no such file'])
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _outside(state: _Scan, name: str, base: Path | None, directory: str) -> str | None:
    """Why a file may not be read, or ``None``."""
    if base is None or state.folder is None:
        return NO_FOLDER
    relative = re.sub(r"^\w+://", "", name)
    target = os.path.abspath(os.path.join(base, slashes(directory), slashes(relative)))
    return None if is_inside(target, state.root or state.folder) else outside(state.root)


NO_FOLDER = "an XML string has no folder to read files from; load it from a path"


def outside(root: Path | None) -> str:
    """What to do about a file that may not be read."""
    if root is None:
        return "it lies outside the model's folder; put it there, or load with root=FOLDER that holds both"
    return f"it lies outside root={str(root)!r}; put it there, or name a folder that holds it"


def slashes(name: str) -> str:
    """A path as MuJoCo reads it: a backslash parts folders on every system."""
    return name.replace("\\", "/")


def is_inside(path: str | Path, folder: str | Path) -> bool:
    """Whether a path lies in a folder, by its words: links are not followed."""
    path, folder = os.path.abspath(path), os.path.abspath(folder)
    return os.path.splitdrive(path)[0] == os.path.splitdrive(folder)[0] and os.path.commonpath([folder, path]) == folder
