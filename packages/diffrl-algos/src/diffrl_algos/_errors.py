"""Errors that a user can act on; the command line prints them as one line."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable


class UsageError(ValueError):
    """Something asked for does not exist or does not make sense. The message names it and a remedy."""


class RunError(RuntimeError):
    """A run folder cannot be used: not writable, not a run, no space. The message names it and a remedy."""


class WriteError(RunError):
    """A file of a run could not be written while it was under way. What was saved before is intact."""


class LostProcessError(RunError):
    """Another process of the same run ended while they were training together. What was saved before is intact."""


class CheckpointError(RunError):
    """A checkpoint is corrupted, truncated or foreign. Nothing in it was executed or used."""


def require(package: str, extra: str) -> None:
    """Raise ``UsageError`` with the extra that brings ``package``, unless it is installed."""
    try:
        importlib.import_module(package)
    except ImportError:
        raise UsageError(f"{package} is not installed; pip install 'diffrl-algos[{extra}]'") from None


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """An error for a name that is not known, with the nearest ones."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(names) or 'none'}"
    return UsageError(f"unknown {kind} {name!r}; {hint}")
