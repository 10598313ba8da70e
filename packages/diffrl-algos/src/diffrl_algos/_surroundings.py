"""On what a run ran: versions, commit, machine and command."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ._imports import imported

_PACKAGES = ("diffrl-algos", "gradest", "diffsim-core", "torch", "numpy", "warp-lang", "mujoco", "safetensors")
_OF_JAX = ("jax", "flax", "optax")


def surroundings() -> dict[str, Any]:
    """On what a run ran: for people, not part of its identity."""
    return {
        "precision": "float32",
        "versions": package_versions(),
        "commit": _commit(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "command": sys.argv,
        "imports": imported(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def package_versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on."""
    installed = {name: found for name in _OF_JAX if (found := _version(name)) is not None}
    return {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}, **installed}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the checkout this package is run from, with ``+changes`` where files differ; None if installed."""
    here = Path(__file__).parent
    try:
        # An installed copy inside somebody's checkout is not of that checkout.
        _git(here, "ls-files", "--error-unmatch", Path(__file__).name)
        head = _git(here, "rev-parse", "HEAD")
        return head + ("+changes" if _git(here, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=5, check=True)
    return done.stdout.strip()
