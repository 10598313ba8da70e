"""Errors that a user can act on; the command line prints them as one line."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable


class UsageError(ValueError):
    """A request that names something unknown or makes no sense. The message names it and a remedy."""


class RunError(RuntimeError):
    """A run folder cannot be used: it is not writable, not a run, or full. The message names it and a remedy."""


class WriteError(RunError):
    """A file could not be written during a run. Everything saved before is intact."""


class LostProcessError(RunError):
    """Another process of the same run ended during training. Everything saved before is intact."""


class CheckpointError(RunError):
    """A checkpoint is corrupted, truncated or of another run. Nothing in it was executed or used."""


def require(package: str, extra: str) -> None:
    """Raise ``UsageError`` that names the extra with ``package``, unless the package is installed."""
    try:
        importlib.import_module(package)
    except ImportError:
        raise UsageError(f"{package} is not installed; pip install 'diffrl-algos[{extra}]'") from None


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An error for an unknown name; it suggests the nearest known ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")
